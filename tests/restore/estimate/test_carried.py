"""A process that begins where the frame before ended: moved exactly, and in few steps as good as one of many rounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore.estimate.carried import Learnt
from restore.estimate.process import SpectralProcess
from restore.restorer import Movement


def _field(size: int, moved: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """A smooth field with waves of many lengths and a fine lattice, unit spread, moved down and right by pixels."""
    y, x = torch.meshgrid(torch.arange(float(size)) - moved[0], torch.arange(float(size)) - moved[1], indexing="ij")
    draw = torch.Generator().manual_seed(5)
    total = torch.zeros(size, size)
    for _ in range(60):
        ky, kx, phase = (torch.rand(3, generator=draw) - 0.5).tolist()
        total += torch.cos(0.5 * ky * y + 0.5 * kx * x + 6 * phase) / (0.1 + (ky**2 + kx**2) ** 0.5)
    total = total / total.std() + torch.cos(0.7 * x + 0.2 * y) + torch.cos(0.7 * y - 0.2 * x)
    return total / total.std()


def _learnt(field: Tensor) -> Learnt:
    one = torch.ones(1)
    spectrum = torch.fft.rfft2(field, norm="forward")
    return Learnt(spectrum, spectrum.abs().square(), None, one, one, one, one, field.shape[-1])


@pytest.mark.parametrize("by", [(3.0, -5.0), (0.25, 0.6)])
def test_what_was_learnt_moves_by_any_fraction_of_a_pixel_and_into_other_units(by: tuple[float, float]) -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")

    def wave(dy: float, dx: float) -> Tensor:
        return torch.cos(2 * torch.pi * (3 * (y - dy) / 40 + 5 * (x - dx) / 48))[None]

    learnt = _learnt(wave(0, 0))
    moved = learnt.moved(Movement(*by, gain=2.0, shift=-0.5))
    found = torch.fft.irfft2(moved.spectrum, s=(40, 48), norm="forward")
    torch.testing.assert_close(found, 2 * wave(*by) - 0.5, atol=1e-4, rtol=0)
    torch.testing.assert_close(moved.power, 4 * learnt.power)
    torch.testing.assert_close(moved.noise, 4 * learnt.noise)


def test_movements_that_follow_each_other_are_one() -> None:
    first, second = Movement(1.0, 2.0, gain=2.0, shift=3.0), Movement(-0.5, 0.25, gain=0.5, shift=1.0)
    assert second.after(first) == Movement(0.5, 2.25, gain=1.0, shift=2.5)


def test_a_frame_that_follows_is_as_good_in_few_steps_as_one_that_begins_anew() -> None:
    size, drift = 128, (0.8, -1.3)
    draw = torch.Generator().manual_seed(1)
    masks = [(torch.rand(size, size, generator=draw) < 0.15).float() for _ in range(2)]
    fields = [_field(size), _field(size, drift)]

    def process(number: int) -> SpectralProcess:
        weight = masks[number][None, None]
        return SpectralProcess(fields[number][None, None] * weight, weight)

    first, alone, following = process(0), process(1), process(1)
    first.start((3, 4, 4, 7), (3, 6))
    anew = alone.start((3, 4, 4, 7), (3, 6))
    found = following.follow(first.carried().moved(Movement(*drift)))
    unmoved = process(1).follow(first.carried())

    def error(estimate: Tensor) -> float:
        return float((estimate[0, 0] - fields[1]).square().mean().sqrt())

    assert error(found.full) < 1.02 * error(anew.full)
    assert error(unmoved.full) > 1.2 * error(found.full)
