"""The waves that stand out of a frame's samples: found one after another, each against what the others leave.

Irregular samples smear every wave over all frequencies, and drawn paths into rings. So the strongest is taken first,
all waves are fitted anew to the samples, and what they leave is searched again (matching pursuit, the CLEAN of radio
astronomers). A wave counts only if its power is above what chance makes of its surroundings: slow undulation has broad
humps at low frequencies, a crystal has points.

References: Högbom 1974, Astron. Astrophys. Suppl. 15, 417 (CLEAN); Pati, Rezaiifar, Krishnaprasad 1993 (orthogonal
matching pursuit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.model import Readings
from restore.estimate.lattice.splines import Splines
from restore.fills.variogram import fast_size

__all__ = ["Waves", "find_waves", "without_trend"]

_PADDING = 1.5  # of the transform: peaks are read between its bins
_CHANCE = 18.0  # times the mean of its surroundings: e^−18 · 10^5 bins is rarer than one frame in 500
_RING_BINS = 96
_SLOWEST = 6.0  # waves over the frame; what is slower is undulation
_FASTEST = 0.5  # cycles per pixel
_TREND_POINTS = 8  # control points of a trend along a side
_AT_ONCE = 4
_NEXT_STRONGEST = 0.6


@dataclass(frozen=True)
class Waves:
    """Frequencies (k, 2) in cycles per pixel along (y, x), in one half plane, and the power of each (k,).

    Power is in units of the samples' variance, strongest first.
    """

    frequency: Tensor
    power: Tensor


def find_waves(values: Tensor, positions: Tensor, shape: tuple[int, int], weights: Tensor, most: int = 24) -> Waves:
    """Waves that stand out of samples without their trend.

    Args:
        values: (n,) about zero; positions: (n, 2) in pixels; weights: (n,), 0 for samples that do not count.
        most: ends the search.
    """
    size = [fast_size(math.ceil(_PADDING * n)) for n in shape]
    sums = _Transform(positions, size, shape)
    left, found = values, values.new_zeros(0, 2)
    while len(found) < most:
        before = len(found)
        for peak in sums.peaks(left * weights):
            # Where the transform meets its own mirror image, a wave is seen twice.
            apart = torch.minimum((found - peak).norm(dim=1), (found + peak).norm(dim=1))
            if not bool((apart * min(shape) < 0.7).any()):
                found = torch.cat([found, peak[None]])
        if len(found) == before:
            break
        left, amplitude = _leave(values, positions, found, weights)
    if not len(found):
        return Waves(found, values.new_zeros(0))
    power = 0.5 * amplitude.square().sum(1) / (values.square() * weights).sum() * weights.sum()
    order = power.argsort(descending=True)
    return Waves(found[order], power[order])


def without_trend(readings: Readings) -> Tensor:
    """What a smooth field leaves of the readings, (n,)."""
    splines = Splines(readings.shape, _TREND_POINTS)
    design = splines.at(readings.positions)
    weighted = design * readings.weights[:, None]
    normal = (weighted.T @ design).double()
    normal.diagonal().add_(1e-2 * normal.diagonal().mean())
    trend = torch.linalg.solve(normal, (weighted.T @ readings.values).double()).to(design.dtype)
    return readings.values - design @ trend


def _leave(values: Tensor, positions: Tensor, frequency: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """What waves leave of the samples (n,), and their amplitudes (k, 2) for cosine and sine."""
    phase = 2 * math.pi * (positions @ frequency.T)
    design = torch.cat([phase.cos(), phase.sin()], 1)
    weighted = design * weights[:, None]
    normal = weighted.T @ design
    normal.diagonal().add_(1e-3 * normal.diagonal().mean())
    solved = torch.linalg.solve(normal.double(), (weighted.T @ values).double()).to(values.dtype)
    return values - design @ solved, solved.unflatten(0, (2, -1)).T


class _Transform:
    """The transform of samples on a padded grid, and where it stands out of its surroundings."""

    def __init__(self, positions: Tensor, size: list[int], shape: tuple[int, int]) -> None:
        self._size = size
        pixel = (positions + 0.5).floor().long()
        self._index = pixel[:, 0].clamp(0, shape[0] - 1) * size[1] + pixel[:, 1].clamp(0, shape[1] - 1)
        y = torch.fft.fftfreq(size[0], device=positions.device)[:, None]
        x = torch.fft.rfftfreq(size[1], device=positions.device)
        radius = (y.square() + x.square()).sqrt()
        self._ring = (radius * 2 * _RING_BINS).long().clamp_max(int(1.42 * _RING_BINS))
        self._allowed = (radius > _SLOWEST / min(shape)) & (radius < _FASTEST)
        order = self._ring.flatten().argsort()
        self._order, self._ends = order, self._ring.flatten().bincount().cumsum(0).tolist()

    def peaks(self, values: Tensor) -> Tensor:
        """Frequencies (k, 2) of at most a few peaks of about the strongest's power; none if chance explains all."""
        grid = values.new_zeros(self._size[0] * self._size[1]).index_add_(0, self._index, values)
        power = torch.fft.rfft2(grid.reshape(self._size)).abs().square()
        flat = power.flatten()[self._order]
        starts = [0, *self._ends[:-1]]
        # The median of a ring, for the mean is the peaks' own; of an exponential distribution it is ln 2 of the mean.
        level = torch.stack(
            [flat[a:b].median() if b > a else flat.new_zeros(()) for a, b in zip(starts, self._ends, strict=True)]
        )
        excess = power / (level[self._ring] / math.log(2)).clamp_min(1e-30)
        highest = torch.nn.functional.max_pool2d(torch.cat([power[-2:], power, power[:2]])[None], 5, 1, padding=(0, 2))[
            0
        ]
        candidates = torch.where((power >= highest) & self._allowed & (excess > _CHANCE), power, 0.0)
        best, where = candidates.flatten().topk(_AT_ONCE)
        where = where[(best > 0) & (best >= _NEXT_STRONGEST * best[0])]
        return self._between_bins(power.sqrt(), where)

    def _between_bins(self, height: Tensor, where: Tensor) -> Tensor:
        rows, cols = height.shape
        i, j = where // cols, where % cols
        found = []
        for axis, (centre, size) in enumerate(((i, self._size[0]), (j, self._size[1]))):
            step = [(-1, 0), (0, -1)][axis]
            low = height[(i + step[0]) % rows, (j + step[1]).abs()]
            high = height[(i - step[0]) % rows, (j - step[1]).clamp_max(cols - 1)]
            middle = height[i, j]
            shift = 0.5 * (high - low) / (2 * middle - low - high).clamp_min(1e-20)
            at = (centre + shift.clamp(-0.5, 0.5)) / size
            found.append(torch.where(at > 0.5, at - 1, at) if axis == 0 else at)
        return torch.stack(found, 1)
