"""What the networks look at: each plane in its own channels, and nothing about the path when that is switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from restore.estimate.process import spectral_start
from restore.generator.planes import (
    FULL_CHANNELS,
    HALF_CHANNELS,
    _least_energy,
    _planes_by_cached_rows,
    _planes_by_few_kernels,
    network_planes,
)


def _scene(batch: int = 2, rows: int = 48, cols: int = 80) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    weight = (torch.rand(batch, 1, rows, cols) < 0.2).float() * (1 + torch.rand(batch, 1, rows, cols))
    return torch.randn_like(weight) * (weight > 0), weight, torch.rand_like(weight) * 9


def test_full_planes_are_the_fill_the_misfit_the_dwell_and_what_the_full_size_added() -> None:
    mean, weight, distance = _scene()
    start = spectral_start(mean, weight)
    start = replace(start, full=start.plain + torch.randn_like(start.plain))
    half, full = network_planes(weight, distance, start)
    fill = start.full
    stacked = torch.cat([fill, (mean - fill) * (weight > 0), weight.log1p(), fill - start.plain], 1)
    torch.testing.assert_close(full, F.pixel_unshuffle(stacked, 4))
    assert full.shape[1] == FULL_CHANNELS
    assert half.shape == (2, HALF_CHANNELS, 12, 20)
    assert full.is_contiguous(memory_format=torch.channels_last)
    assert half.is_contiguous(memory_format=torch.channels_last)


def test_half_planes_hold_the_starts_rounds_the_misfit_and_the_path() -> None:
    mean, weight, distance = _scene()
    start = spectral_start(mean, weight)
    half, _ = network_planes(weight, distance, start)
    planes = F.pixel_shuffle(half, 2)
    torch.testing.assert_close(planes[:, :1], start.estimate)
    torch.testing.assert_close(planes[:, 1:2], start.estimate - start.before)
    torch.testing.assert_close(planes[:, 2:3], start.estimate - start.fill)
    touched = (weight > 0).float()
    count = F.avg_pool2d(touched, 2)
    misfit = F.avg_pool2d((mean - start.full) * touched, 2) / count.clamp_min(0.25)
    torch.testing.assert_close(planes[:, 3:4], misfit)
    torch.testing.assert_close(planes[:, 4:5], count)
    torch.testing.assert_close(planes[:, 5:6], F.avg_pool2d(distance, 2).log1p() - 1)
    around = F.avg_pool2d(misfit.square(), 9, stride=1, padding=4, count_include_pad=False)
    torch.testing.assert_close(planes[:, 6:], (around + 1e-4).log() * 0.25 + 1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("plane", ["dwell", "count", "distance"])
def test_without_path_information_no_plane_tells_where_the_beam_was(plane: str) -> None:
    mean, weight, distance = _scene()
    half, full = network_planes(weight, distance, spectral_start(mean, weight), path_information=False)
    half, full = F.pixel_shuffle(half, 2), F.pixel_shuffle(full, 4)
    found = {"dwell": full[:, 2], "count": half[:, 4], "distance": half[:, 5]}[plane]
    assert not found.any()


@pytest.mark.parametrize("path_information", [True, False])
def test_a_gpu_makes_the_same_planes_by_fewer_kernels(path_information: bool) -> None:
    mean, weight, distance = _scene()
    start = spectral_start(mean, weight)
    start = replace(start, full=start.plain + torch.randn_like(start.plain))
    here = _planes_by_cached_rows(weight, distance, start, path_information)
    there = _planes_by_few_kernels(weight, distance, start, path_information, _least_energy(weight.device))
    for found, expected in zip(there, here, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert found.is_contiguous(memory_format=torch.channels_last)
