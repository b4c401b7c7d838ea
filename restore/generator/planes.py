"""What the generator's two networks look at: the start, its misfit, and where the beam was, as stacked small planes.

Both networks work on space-to-depth planes (Shi et al. 2016, https://arxiv.org/abs/1609.05158). Every plane is written
straight to its place among the channels, channels last: on a processor, to stack first and unshuffle then takes four
times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.fused import chain
from restore.estimate.process import SpectralStart

__all__ = ["FULL_CHANNELS", "HALF_CHANNELS", "Planes", "network_planes"]

HALF_CHANNELS = 7 * 2**2
FULL_CHANNELS = 4 * 4**2
_LEAST_COUNT = 0.25  # of a half-size pixel's four that were touched
_LEAST_ENERGY = 1e-4
_ENERGY_UNIT = math.exp(4)  # a quarter of its logarithm is 1
_LONGEST = 64.0  # dwell in nominal samples


class Planes(NamedTuple):
    """Inputs of both networks at a quarter of the frame's size, rows and cols multiples of 4.

    Attributes:
        half: of the inner network, seven planes of half size, (batch, 28, rows/4, cols/4).
        full: of the outer network, four planes of full size, (batch, 64, rows/4, cols/4).
    """

    half: Tensor
    full: Tensor


def network_planes(weight: Tensor, distance: Tensor, start: SpectralStart, path_information: bool = True) -> Planes:
    """Planes from a partial frame's start, its dwell and distance to the path, (batch, 1, rows, cols) each.

    Without ``path_information``, the planes that say where the beam was hold zeros.
    """
    if start.full.device.type == "cpu":
        return _planes_by_cached_rows(weight, distance, start, path_information)
    return _planes_by_few_kernels(weight, distance, start, path_information, _least_energy(start.full.device))


def _planes_by_cached_rows(weight: Tensor, distance: Tensor, start: SpectralStart, path_information: bool) -> Planes:
    fill = start.full
    misfit = torch.addcmul(start.measured, fill, start.touched, value=-1)
    count = _pooled(start.touched)
    half_misfit = _pooled(misfit) / count.clamp_min(_LEAST_COUNT)
    far = _pooled(distance).log1p_().sub_(1.0)
    known = torch.log1p(weight.clamp(0, _LONGEST))
    if not path_information:
        count, far, known = torch.zeros_like(count), torch.zeros_like(far), torch.zeros_like(known)
    half = [start.estimate, start.estimate - start.before, start.estimate - start.fill, half_misfit, count, far]
    return Planes(
        _unshuffled([*half, _local_energy(half_misfit)], 2), _unshuffled([fill, misfit, known, fill - start.plain], 4)
    )


@chain
def _planes_by_few_kernels(
    weight: Tensor, distance: Tensor, start: SpectralStart, path_information: bool, least_energy: Tensor
) -> Planes:
    """The same for devices on which a launch costs more than memory: whole stacks at once, each plane in its place."""
    batch, _, rows, cols = weight.shape
    full = start.full.new_empty(batch, 6, rows, cols)  # four that a network sees, two that are only pooled
    fill, misfit, known, finer, touched, far = full.unbind(1)
    fill.copy_(start.full[:, 0])
    touched.copy_(start.touched[:, 0])
    far.copy_(distance[:, 0])
    torch.addcmul(start.measured[:, 0], fill, touched, value=-1, out=misfit)
    torch.sub(fill, start.plain[:, 0], out=finer)
    torch.log1p(weight[:, 0].clamp(0, _LONGEST), out=known)
    half = full.new_empty(batch, HALF_CHANNELS // 4, rows // 2, cols // 2)
    pooled = F.avg_pool2d(full[:, 1:], 2)
    half[:, 0].copy_(start.estimate[:, 0])
    torch.sub(start.estimate[:, 0], start.before[:, 0], out=half[:, 1])
    torch.sub(start.estimate[:, 0], start.fill[:, 0], out=half[:, 2])
    torch.div(pooled[:, 0], pooled[:, 3].clamp_min(_LEAST_COUNT), out=half[:, 3])
    half[:, 4].copy_(pooled[:, 3])
    torch.log1p(pooled[:, 4], out=half[:, 5]).sub_(1.0)
    scaled = torch.addcmul(least_energy, half[:, 3], half[:, 3], value=_ENERGY_UNIT)
    torch.mul(F.avg_pool2d(scaled, 9, 1, 4, count_include_pad=False).log_(), 0.25, out=half[:, 6])
    if not path_information:
        known.zero_()
        half[:, 4:6].zero_()
    return Planes(_stack_unshuffled(half, 2), _stack_unshuffled(full[:, : FULL_CHANNELS // 16], 4))


@lru_cache(maxsize=4)
def _least_energy(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept, and a later call may be training
        return torch.full((), _LEAST_ENERGY * _ENERGY_UNIT, device=device)


def _stack_unshuffled(planes: Tensor, factor: int) -> Tensor:
    """``pixel_unshuffle`` in channels-last memory."""
    batch, count, rows, cols = planes.shape
    cells = planes.view(batch, count, rows // factor, factor, cols // factor, factor).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(batch, rows // factor, cols // factor, count * factor**2).permute(0, 3, 1, 2)


def _pooled(x: Tensor) -> Tensor:
    """Mean of each 2×2 pixels, as ``avg_pool2d``, which takes three times as long with one channel."""
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _unshuffled(planes: Sequence[Tensor], factor: int) -> Tensor:
    """Planes (batch, 1, rows, cols) as ``pixel_unshuffle`` of their stack has them, in channels-last memory."""
    batch, _, rows, cols = planes[0].shape
    h, w, size = rows // factor, cols // factor, factor * factor
    out = planes[0].new_empty(batch, h, w, len(planes) * size)
    for n, plane in enumerate(planes):
        cells = plane.reshape(batch, h, factor, w, factor).permute(0, 1, 3, 2, 4)
        out[..., n * size : (n + 1) * size].view(batch, h, w, factor, factor).copy_(cells)
    return out.permute(0, 3, 1, 2)


def _local_energy(misfit: Tensor) -> Tensor:
    """Log of the misfit's local mean square over 16 full-size pixels: where the start is not to be trusted."""
    total = _nine(_nine(F.pad(misfit.square(), (4, 4, 4, 4)), -2), -1)
    return (total / _pixels_in_reach(*misfit.shape[-2:], misfit.device) + _LEAST_ENERGY).log() * 0.25 + 1.0


def _nine(x: Tensor, axis: int) -> Tensor:
    """Sums of nine neighbours along an axis, where they are all inside; four additions instead of eight."""
    sums, length = x, x.shape[axis]
    for reach in (1, 2, 4):
        length -= reach
        sums = sums.narrow(axis, 0, length) + sums.narrow(axis, reach, length)
    return sums.narrow(axis, 0, length - 1) + x.narrow(axis, 8, length - 1)


@lru_cache(maxsize=16)
def _pixels_in_reach(rows: int, cols: int, device: torch.device) -> Tensor:
    """How many of the 81 pixels around each lie inside, (rows, cols)."""
    with torch.inference_mode(False):  # kept, and a later call may be training
        return _nine(_nine(F.pad(torch.ones(rows, cols, device=device), (4, 4, 4, 4)), -2), -1)
