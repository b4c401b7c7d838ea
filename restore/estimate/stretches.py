"""Finds readings that tell nothing of the specimen: a detector stuck, a converter ran full, samples came as zeros.

Each repeats one value exactly. So does a specimen: ground clipped to black, a count of no electrons, a particle that
saturates. What tells them apart is chance (in noise nobody reads the same value ten times running) and what was read
nearby at another time: black ground is black on the next turn of the path too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from restore.estimate.neighbours import across, nearest
from restore.gridding import FrameGeometry

__all__ = ["least_step", "lost_readings", "runs", "saturated_readings"]

_LONG = 8  # equal readings in a row that are looked into
_CHANCE = 1e-3  # that such a run is found anywhere in a frame of readings which repeat as often as short runs do
_VALUES = 8  # different repeated values that are looked into, the most frequent first
_FEW = 0.1  # of the readings of a value that fills places of lost ones, this share at most stands in short runs
_TOLD = 30  # single readings of one value that are enough to see whether they are strewn by chance
_MOST = 0.7  # of the readings are never judged to be none: they are the ground
_TOGETHER = 0.15  # of the way from chance to always: how often a specimen's even parts lie beside each other, at least
_ABRUPT = 4.0  # times the usual step along the path
_STREWN = 1.6  # times as many equal neighbours as chance gives; a specimen's ground has far more
_TIED = 0.2  # from this share of repeated readings on, they are counts of few electrons: any value is frequent
_MANY = 0.02  # of the readings, where repeated ones are frequent anyway
_SPREADS = 6.0  # that single lost readings then differ from their neighbours by
_CLOSE = 0.25  # of the other readings' spread
_AMID = 0.05  # of the readings at least are below a value, and above it, that a specimen is not clipped to
_SATURATED = 0.005  # of the readings at the highest value


def runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Which run of equal readings each of (n,) stands in, counted from 0, and how long that is, (n,) each."""
    new = torch.ones_like(values, dtype=torch.bool)
    new[1:] = values[1:] != values[:-1]
    number = new.cumsum(0) - 1
    return number, number.bincount()[number]


def lost_readings(values: Tensor, geometry: FrameGeometry) -> Tensor:
    """Which readings (n,) stand where one was lost, bool (n,): those that are NaN, and repeated ones."""
    lost = values.isnan()
    number, length = runs(values)
    long = (length >= _LONG) & ~lost
    repeats = torch.zeros_like(lost)
    repeats[1:] = values[1:] == values[:-1]
    usual = _share(repeats, ~long & ~lost)
    if bool(long.any()):
        known = values[~lost]
        low, high = (known.kthvalue(1 + int(part * (len(known) - 1))).values for part in (_AMID, 1 - _AMID))
        amid = long & (length >= _longest(usual, len(values))) & (values > low) & (values < high)
        medium = (length >= _LONG // 2) & ~amid & ~lost
        # Each stretch of a converter that sticks repeats another value; a specimen has runs of any length.
        if float((medium & (values > low) & (values < high)).sum()) <= _FEW * float(amid.sum()) and float(
            amid.sum()
        ) < _MOST * len(values):
            lost |= amid
        for value in _frequent(values[long & ~lost]):
            stretch = (values == value) & long
            stretch &= length >= _longest(_share(repeats, (values != value) & ~lost), len(values))
            few = float(((values == value) & ~stretch).sum()) <= _FEW * float(stretch.sum())
            if few and bool(stretch.any()) and _is_denied(value, stretch, values, number, geometry):
                lost |= stretch
    step = least_step(values[~lost])
    for value in _frequent(values[~lost]):
        single = (values == value) & ~lost
        least = _TOLD if usual < _TIED else max(_TOLD, _MANY * len(values))
        if int(single.sum()) < least or not _stands_out(value, values, step):
            continue
        if _is_strewn(value, single, values, geometry, None if usual < _TIED else step):
            lost |= single
    return lost


def _counted(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each value that is read, rising, and how often; as ``unique``, which takes twice as long."""
    found, count = np.unique(values.numpy(), return_counts=True)
    return torch.from_numpy(found), torch.from_numpy(count)


def least_step(values: Tensor) -> float:
    """The converter's step, or one electron where few are counted; 0 where most values are read only once."""
    found, count = _counted(values)
    repeated = count > 1
    if int(repeated.sum()) < 2 or int(count[repeated].sum()) < 0.5 * len(values):
        return 0.0
    return float(found[repeated].diff().min())


def _share(repeats: Tensor, among: Tensor) -> float:
    return (float((repeats & among).sum()) + 1) / (float(among.sum()) + 2)


def _longest(repeated: float, count: int) -> float:
    """How long a run by chance hardly ever is where readings repeat that often."""
    return math.log(_CHANCE / count) / math.log(min(repeated, 0.9999))


def saturated_readings(values: Tensor, weights: Tensor) -> Tensor:
    """Which readings (n,) are as high as this frame's converter goes, bool (n,); none unless many are and adjoin."""
    full = (values == values[weights > 0].max()) & (weights > 0)
    share = float(full.sum()) / len(values)
    if not _SATURATED < share < 0.5 or int(runs(values)[1][full].max()) < 4:
        return torch.zeros_like(full)
    return full


def _frequent(values: Tensor) -> list[float]:
    found, count = _counted(values)
    return found[count.argsort(descending=True)[:_VALUES]].tolist()


def _stands_out(value: float, values: Tensor, step: float) -> bool:
    """Whether a value is far more frequent than those close to it, as none of an even ground in noise is."""
    others = values[(values != value) & ~values.isnan()]
    if len(others) < _TOLD:
        return False
    close = ((others - value).abs() < max(_CLOSE * float(others.std()), 1.5 * step)).sum()
    return bool(close < _FEW * (values == value).sum())


def _is_denied(value: float, stretch: Tensor, values: Tensor, number: Tensor, geometry: FrameGeometry) -> bool:
    """Whether long runs of a value begin and end abruptly, and what was read beside them knows nothing of it.

    Along a curve a specimen turns black or white within some samples; from turn to turn, or line to line, it is that
    value oftener there than elsewhere. Where turns are too far apart, only the first is asked.
    """
    by_chance = float((values == value).double().mean())
    if by_chance > _MOST or (geometry.is_drawn and not _is_abrupt(stretch, values)):
        return False
    beside = across(geometry, stretch.nonzero()[:, 0])
    apart = (number[beside] != number[stretch][:, None]) & ~values[beside].isnan()
    if float(apart.any(1).double().mean()) < 0.5:
        return geometry.is_drawn
    apart &= apart.cumsum(1) <= 2
    equal = float(((values[beside] == value) & apart).sum()) / float(apart.sum())
    return equal < by_chance + _TOGETHER * (1 - by_chance) + 2 * (by_chance * _LONG / float(stretch.sum())) ** 0.5


def _is_abrupt(stretch: Tensor, values: Tensor) -> bool:
    """Whether steps into and out of most stretches are far larger than elsewhere on the path, or as large as any."""
    step = values.diff().abs()
    ends = stretch[1:] != stretch[:-1]
    usual = step[~ends & ~(stretch[1:] & stretch[:-1])]
    spread = 0.8 * values[~values.isnan()].std()
    return bool(step[ends].nanmedian() > torch.minimum(_ABRUPT * usual.nanmedian(), spread))


def _is_strewn(
    value: float, single: Tensor, values: Tensor, geometry: FrameGeometry, step: float | None = None
) -> bool:
    """Whether readings of a value lie anywhere, and not together as a specimen's dark or bright parts do.

    With ``step``, also whether they are far from what is read beside them.
    """
    near = nearest(geometry)
    equal = values[near] == value
    by_chance = float(single.sum()) / len(values)
    share = float(equal[single].double().mean())
    if by_chance > _MOST or share > _STREWN * by_chance + 2 * (by_chance / (8 * float(single.sum()))) ** 0.5:
        return False
    if step is None:
        return True
    missed = (torch.where(equal, torch.nan, values[near]).nanmedian(1).values - values).abs()
    return bool(missed[single].nanmedian() > _SPREADS * missed[~single].nanmedian().clamp_min(step))
