"""What the generator's two networks look at: the start, its misfit, and where the beam was, as stacked small planes.

Both networks work on space-to-depth planes (Shi et al. 2016, https://arxiv.org/abs/1609.05158). Every plane is written
straight to its place among the channels, channels last: to stack first and unshuffle then takes four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.process import SpectralStart

__all__ = ["FULL_CHANNELS", "HALF_CHANNELS", "Planes", "network_planes"]

HALF_CHANNELS = 7 * 2**2
FULL_CHANNELS = 4 * 4**2


class Planes(NamedTuple):
    """Inputs of both networks at a quarter of the frame's size, rows and cols multiples of 4.

    Attributes:
        half: of the inner network, seven planes of half size, (batch, 28, rows/4, cols/4).
        full: of the outer network, four planes of full size, (batch, 64, rows/4, cols/4).
    """

    half: Tensor
    full: Tensor


def network_planes(
    mean: Tensor, weight: Tensor, distance: Tensor, start: SpectralStart, path_information: bool = True
) -> Planes:
    """Planes from a normalised partial frame, its dwell and distance to the path, (batch, 1, rows, cols) each.

    Without ``path_information``, the planes that say where the beam was hold zeros.
    """
    fill = start.full
    touched = (weight > 0).to(mean.dtype)
    misfit = (mean - fill) * touched
    count = _pooled(touched)
    half_misfit = _pooled(misfit) / count.clamp_min(0.25)
    far = _pooled(distance).log1p_().sub_(1.0)
    known = torch.log1p(weight.clamp(0, 64))
    if not path_information:
        count, far, known = torch.zeros_like(count), torch.zeros_like(far), torch.zeros_like(known)
    half = [start.estimate, start.estimate - start.before, start.estimate - start.fill, half_misfit, count, far]
    return Planes(
        _unshuffled([*half, _local_energy(half_misfit)], 2), _unshuffled([fill, misfit, known, fill - start.plain], 4)
    )


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
    return (total / _pixels_in_reach(*misfit.shape[-2:], misfit.device) + 1e-4).log() * 0.25 + 1.0


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
