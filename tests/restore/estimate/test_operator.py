"""How samples read a field, and the transpose of that."""

from __future__ import annotations

import pytest
import torch

from restore.estimate.operator import HalfReading, PixelReading, Reading


def _readings(kind: str) -> tuple[Reading, Reading]:
    """One with values read, and the same without."""
    torch.manual_seed(5)
    masks = (torch.rand(2, 4, 24, 20, dtype=torch.float64) < 0.3).double()
    values = torch.randn_like(masks) * masks
    if kind == "half":
        return HalfReading(masks, values), HalfReading(masks, 0 * values)
    return PixelReading(masks[:, 0], values[:, 0]), PixelReading(masks[:, 0], 0 * values[:, 0])


@pytest.mark.parametrize("kind", ["half", "pixel"])
def test_reading_has_its_exact_transpose_and_their_product_is_the_normal_operator(kind: str) -> None:
    reading, plain = _readings(kind)
    u, v = torch.randn(2, 2, 24, 20, dtype=torch.float64)
    read_u, read_v = plain.missed(u), plain.missed(v)
    inner = sum((a * b).sum() for a, b in zip(read_u, read_v, strict=True))
    torch.testing.assert_close(inner, (plain.transposed(read_u) * v).sum(), msg="⟨Au, Av⟩ = ⟨AᵀAu, v⟩")
    torch.testing.assert_close(reading.normal(u.clone()), plain.transposed(read_u))


@pytest.mark.parametrize("kind", ["half", "pixel"])
def test_what_a_field_misses_is_counted_where_samples_fell_only(kind: str) -> None:
    reading, plain = _readings(kind)
    u = torch.randn(2, 24, 20, dtype=torch.float64)
    unread = [seen - missed for seen, missed in zip(plain.missed(u), reading.missed(u), strict=True)]
    torch.testing.assert_close(reading.energy(unread), reading.energy(reading.missed(0 * u)))
