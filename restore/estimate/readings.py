"""What every frame goes through before anything restores it: which readings to believe, and in which numbers.

A reading is the specimen through an instrument, and now and then it is nonsense: a spike, a stuck or saturated
converter, samples that were lost on the way. :func:`judge` finds them from what lies beside them on the path and
across it, gives them no weight, and says so. What is left leaves here centred and scaled in double precision, so that
neither a large offset nor a tiny gain costs a digit, and within bounds, so that no reading can do harm in what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore.estimate.neighbours import in_field, nearest
from restore.estimate.stretches import least_step, lost_readings, saturated_readings
from restore.gridding import MIN_SAMPLES, FrameGeometry, Normalisation
from scancontrol.errors import InvalidInput

__all__ = ["BOUND", "Judged", "judge", "outlying"]

BOUND = 24.0  # spreads from the centre; what lies beyond goes round the networks. Micrographs reach 6
_HUGE = 1e100  # units: larger readings are this large
_SPREADS = 5.0  # from the median of its neighbours that make a reading suspicious
_NOISE_RANGE = 12.0  # spreads between the highest and lowest of a frame's readings if all is noise
_BEYOND = 0.5  # of the frame's range that a suspicious reading must lie outside it, if not all is noise
_JUST_BEYOND = 0.3  # likewise in any case: a reading so near the range does little harm, and may be a column's top
_STEP = 0.25  # of the frame's range in which so many suspicious readings follow that they are of the specimen:
_FILLED = 3
_AGREES = 0.4  # of a reading's deviation that a neighbour must share to agree with it
_BY_CHANCE = 12.0  # times the squared share of suspicious readings: how many of them may agree by chance
_RARELY = 0.12  # of the readings; what is more frequent than this is specimen


@dataclass(frozen=True)
class Judged:
    """The readings of one frame, judged.

    Attributes:
        values: (n,) float32, centred and scaled: about unit size, and bounded. Where ``weights`` is 0, what the
            neighbours read.
        weights: (n,) float32, 1 for a reading, 0 for one that is left out.
        excess: (n,) float32, what was cut off ``values`` to bound them; None where nothing was.
        centre, scale: a reading is ``centre + scale · value``.
        outliers: readings that all their neighbours deny.
        lost: readings that are none: not a number, or a value repeated where one was lost.
        saturated: readings at the converter's highest value, which are believed.
    """

    values: Tensor
    weights: Tensor
    excess: Tensor | None
    centre: float
    scale: float
    outliers: int = 0
    lost: int = 0
    saturated: int = 0

    @property
    def all_used(self) -> bool:
        """Whether no reading was left out."""
        return not (self.outliers or self.lost)

    @property
    def estimate_dtype(self) -> torch.dtype:
        """float32 where that tells a thousandth of the readings' spread apart and does not overflow, else float64."""
        level, reach = abs(self.centre), 2 * BOUND * self.scale
        fine = level < 2.0**13 * self.scale and level + reach < 1e38 and self.scale > 1e-30
        return torch.float32 if fine else torch.float64

    @property
    def notices(self) -> tuple[str, ...]:
        """What to tell of the readings, a sentence each."""
        count = len(self.values)
        found = []
        if self.lost:
            found.append(f"{self.lost} of {count} readings were lost (repeated or no number) and left out")
        if self.outliers:
            found.append(f"{self.outliers} of {count} readings were outliers that their neighbours deny, and left out")
        if self.saturated:
            found.append(f"{self.saturated} of {count} readings are saturated: the specimen is brighter there")
        return tuple(found)


def judge(samples: np.ndarray, geometry: FrameGeometry, suspect: bool = True) -> Judged:
    """Judge the readings (n,) of any real dtype that were taken along ``geometry``.

    Without ``suspect`` every number is believed, however large.

    Raises:
        InvalidInput: the samples are complex, are not the path's, or hardly any of them is a reading.
    """
    if np.iscomplexobj(samples):
        raise InvalidInput("samples", samples.dtype, "is complex", "give its real part, or its magnitude")
    if samples.shape != (geometry.count,):
        raise InvalidInput("samples", samples.shape, f"is not ({geometry.count},)", "give one reading for each sample")
    values = torch.from_numpy(samples.astype(np.float64))
    finite = values.isfinite()
    inside = in_field(geometry)
    _enough(finite & inside)
    # Powers of two change no digit; first by what most readings are, so that no square overflows or underflows.
    unit = _unit(values[finite & inside])
    values = torch.where(finite, values / unit, 0.0).clamp(-_HUGE, _HUGE)
    lost = ~finite
    if suspect:
        lost |= lost_readings(torch.where(finite, values, torch.nan), geometry)
    _enough(~lost & inside)
    centre, spread = _level(values[~lost & inside])
    values = (values - centre) / spread
    around = _among_neighbours(values, lost, geometry)
    left_out = lost.clone()
    if suspect:
        left_out |= outlying(values, around, nearest(geometry), ~lost & inside)
    if bool((left_out & ~lost).any()):  # where several fell together, they hid each other
        around = _among_neighbours(values, left_out, geometry)
        left_out |= outlying(values, around, nearest(geometry), ~left_out & inside)
    _enough(~left_out & inside)
    weights = (~left_out).float()
    saturated = int(saturated_readings(values, weights).sum())
    within, relative = _level(values[~left_out & inside])  # once more, without what was found
    values = torch.where(left_out, around, values)
    values = ((values - within) / relative).nan_to_num(0.0)
    bounded = values.clamp(-BOUND, BOUND) if suspect else values
    excess = None if bool((bounded == values).all()) else (values - bounded).clamp(-1e30, 1e30).float()
    scale = relative * spread * unit
    return Judged(
        bounded.float(),
        weights,
        excess,
        (centre + spread * within) * unit,
        scale,
        int((left_out & ~lost & inside).sum()),
        int((lost & inside).sum()),
        saturated,
    )


def _enough(used: Tensor) -> None:
    if int(used.sum()) < MIN_SAMPLES:
        raise InvalidInput(
            "readings",
            int(used.sum()),
            f"is below {MIN_SAMPLES} that are believed",
            "look at the detector and its link",
        )


def _unit(values: Tensor) -> float:
    """About the size of nearly all readings; of those that differ from the middle one if most are that."""
    middle = values.median()
    size = (values - middle).abs()
    count = len(size)
    nearly_all = float(size.kthvalue(count - count // 64).values)
    return _power_of_two(max(nearly_all or float(size.max()), abs(float(middle)) * 2.0**-40))


def _power_of_two(size: float) -> float:
    return math.ldexp(1.0, max(-1000, min(1000, math.frexp(size)[1]))) if size > 0 else 1.0


def _level(values: Tensor) -> tuple[float, float]:
    """Centre and spread of readings, rounded so that to centre and to scale costs no digit of ordinary ones."""
    found = Normalisation.of(values[None])
    spread = _power_of_two(float(found.scale))
    return round(float(found.centre) / spread) * spread, spread


def _among_neighbours(values: Tensor, lost: Tensor, geometry: FrameGeometry) -> Tensor:
    """What the neighbours of each sample read in the middle, (n,)."""
    near = nearest(geometry)
    beside = values.take(near)
    if not bool(lost.any()):
        return _middle(beside)
    unknown = lost.take(near)
    sizes = _rising(torch.where(unknown, torch.inf, beside))
    known = near.shape[1] - unknown.sum(1)
    found = sizes.gather(1, ((known - 1).clamp_min(0) // 2)[:, None])[:, 0]
    return torch.where(known == 0, values[~lost].median(), found)


def _middle(values: Tensor) -> Tensor:
    """The mean of the two middle ones of an even number in each row."""
    half = values.shape[1] // 2
    return _rising(values)[:, half - 1 : half + 1].mean(1)


def _rising(values: Tensor) -> Tensor:
    """Rows sorted; of short ones in a third of the time that PyTorch takes."""
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


def _reached(high: Tensor, low: Tensor, doubted: Tensor) -> Tensor:
    """How far the range from ``low`` to ``high`` reaches if doubted readings follow each other closely above it.

    Columns that samples hit once each deny their neighbours, one by one; together they fill the way to their tops. What
    is no reading of the specimen leaves a gap, or is too rare to fill it.

    Args:
        high, low: of what is believed.
        doubted: sorted, (k,).
    """
    while True:
        window = high + _STEP * (high - low)
        first, last = torch.searchsorted(doubted, torch.stack([high, window]), right=True).tolist()
        if last - first < _FILLED:
            return high
        high = doubted[last - 1]


def outlying(values: Tensor, around: Tensor, beside: Tensor, used: Tensor) -> Tensor:
    """Which readings are denied by all their neighbours and lie outside of what the frame reads elsewhere, bool (n,).

    A bright speck is no outlier: two readings beside one agree with it, or it is as bright as others that are agreed
    upon. If everything is noise, the frame's range is the noise's.

    Args:
        values, around: readings and what their neighbours read in the middle, (n,).
        beside: neighbours of each, nearest first, (n, k).
        used: which readings count, bool (n,).
    """
    deviation = values - around
    size = torch.where(used, deviation.abs(), 0.0)
    overall = size[used].median()
    spread = (1.4826 * torch.maximum(_rising(size.take(beside))[:, (beside.shape[1] - 1) // 2], overall)).clamp_min(
        least_step(values[used])
    )
    suspicious = used & (size > _SPREADS * spread)
    closest = beside[:, :2].contiguous()
    shared = (values.take(closest) - around[:, None]) / deviation[:, None]
    shared = (shared >= _AGREES) & suspicious.take(closest)
    agreed = shared.all(1)
    agreed |= (shared & agreed.take(closest)).any(1)
    # Outliers fall beside each other too, by chance: so many readings do not yet make a range.
    number = suspicious.sum()
    chance = (number * (_BY_CHANCE * (number / used.sum()).square() + 0.01)).long()
    believed = values[used & (~suspicious | agreed)].sort().values
    chance = chance.clamp_max((len(believed) - 1) // 2)
    doubted = values[suspicious].sort().values
    low, high = believed[chance], believed[len(believed) - 1 - chance]
    low, high = -_reached(-low, -high, -doubted.flip(0)), _reached(high, low, doubted)
    extent = high - low
    margin = torch.maximum(_BEYOND * (extent - _NOISE_RANGE * 1.4826 * overall), _JUST_BEYOND * extent)
    found = suspicious & ((values > high + margin) | (values < low - margin))
    # Where several fell together, each looks like its neighbours.
    found |= used & ((values > high + _BEYOND * extent) | (values < low - _BEYOND * extent))
    return found & bool(found.sum() <= _RARELY * used.sum())
