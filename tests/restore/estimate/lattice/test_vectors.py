"""Two vectors index the waves of a lattice: the sparsest that do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.estimate.lattice.peaks import Waves, find_waves
from restore.estimate.lattice.vectors import reciprocal_pairs, reduced


def _waves(pair: Tensor, orders: list[tuple[int, int]]) -> Waves:
    frequency = torch.tensor(orders, dtype=pair.dtype) @ pair
    return Waves(frequency, torch.linspace(0.3, 0.02, len(orders)))


def test_the_sparsest_lattice_that_indexes_all_waves_is_taken() -> None:
    pair = torch.tensor([[0.10, 0.01], [-0.02, 0.12]])
    found = reciprocal_pairs(_waves(pair, [(1, 1), (1, -1), (1, 0), (0, 1), (2, 0)]), 256.0)[0]
    change = found @ torch.linalg.inv(pair.double())
    torch.testing.assert_close(change, change.round(), atol=1e-5, rtol=0)
    assert abs(round(float(torch.linalg.det(change)))) == 1


def test_waves_along_one_line_are_no_lattice() -> None:
    pair = torch.tensor([[0.10, 0.01], [-0.02, 0.12]])
    assert reciprocal_pairs(_waves(pair, [(1, 0), (2, 0), (3, 0)]), 256.0) == []


def test_a_wave_is_found_between_the_bins_of_the_transform() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(1500, 2, generator=generator) * 255
    frequency = torch.tensor([0.0733, 0.1217])
    noise = torch.randn(1500, generator=generator)
    waves = find_waves((2 * math.pi * positions @ frequency).cos() + noise, positions, (256, 256), torch.ones(1500))
    assert len(waves.power) == 1
    torch.testing.assert_close(waves.frequency[0], frequency, atol=3e-4, rtol=0)


def test_reduction_keeps_the_lattice_and_shortens_the_basis() -> None:
    pair = torch.tensor([[5.0, 1.0], [11.0, 3.0]])
    short = reduced(pair)
    change = short @ torch.linalg.inv(pair)
    torch.testing.assert_close(change, change.round(), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(change).abs(), torch.ones(()), atol=1e-4, rtol=0)
    assert float(short[0] @ short[1]) <= 0.5 * float(short.norm(dim=1).min()) ** 2 + 1e-6
