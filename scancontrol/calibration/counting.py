"""A detector's gain and dark level, from two scans of one place: variance against mean of what differs by chance alone.

Counted electrons vary by as much as there are of them, so that the variance of readings grows with their mean by the
gain. Two scans along one path see the same specimen through the same lag and afterglow; what differs between them is
noise, once what moved in between, and what both together gained or lost, is taken off.

Reference: Janesick, Photon Transfer, SPIE 2007 (variance against mean of pairs of frames).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from scancontrol.afterglow import Afterglow
from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.errors import InvalidInput

__all__ = ["Counting", "counting"]

Array = NDArray[np.float64]

_GROUPS = 24  # of samples, by brightness
_PIECES = 32  # of the scan, each left out once for the uncertainty
_ROUNDING = 1 / 12  # variance in counts² of a converter that rounds
_TOLD = 0.15  # of the gain: the largest standard deviation with which it counts as measured
_FLAT = 0.9  # of the samples are used: where the specimen changes fastest, they differ by what no shift explains


@dataclass(frozen=True)
class Counting:
    """A reading is ``offset_counts + counts_per_electron · electrons``; of a converter that averages, a microsecond's.

    ``offset_counts`` is where variance would be that of the stated read noise. ``*_sd`` are one standard deviation.
    """

    counts_per_electron: float
    counts_per_electron_sd: float
    offset_counts: float
    offset_sd_counts: float
    samples: int


def counting(
    one: CalibrationScan,
    other: CalibrationScan,
    width: int,
    *,
    decay_us: float = 0.0,
    decay_sd_us: float = 0.0,
    read_noise_counts: float = 0.0,
    averages: bool = False,
) -> Counting:
    """Gain and dark level of the detector that took both scans, one after the other along the same raster.

    Args:
        width: samples in a line.
        decay_us, decay_sd_us: of its afterglow, which evens out noise: the less it is known, the less is the gain.
        read_noise_counts: standard deviation that the converter adds.
        averages: whether a reading is the mean over the dwell, not the sum.

    Raises:
        InvalidInput: the scans are not along one raster, or do not tell the gain.
    """
    if len(one.values) != len(other.values) or len(one.values) % width or len(one.values) < 16 * width:
        raise InvalidInput("scans of a detector's noise", len(other.values), "are not two of one raster", "scan again")
    lines = np.stack([one.values, other.values]).reshape(2, -1, width)
    level = _around(lines.mean(0))
    dwell_us = float(one.dwell_us[0])
    square = _by_chance(lines, level).ravel() ** 2 / 2
    steep = np.hypot(*np.gradient(level)).ravel()
    used = np.flatnonzero(steep <= np.quantile(steep, _FLAT))
    groups = np.array_split(used[np.argsort(level.ravel()[used], kind="stable")], _GROUPS)
    piece = np.arange(level.size) * _PIECES // level.size

    def with_decay(decay_us: float) -> tuple[Array, Array]:
        """Gain and dark level, and their standard deviations by chance."""
        noisy, evened = _noisy(lines.mean(0).ravel(), dwell_us, decay_us)
        sums = np.zeros((_PIECES, _GROUPS, 3))
        for at, group in enumerate(groups):
            for k, summand in enumerate((np.ones(len(group)), noisy[group], square[group])):
                sums[:, at, k] = np.bincount(piece[group], summand, _PIECES)
        slope, dark, misfit = _line(sums.sum(0), read_noise_counts)
        without = np.array([_line(sums.sum(0) - left_out, read_noise_counts)[:2] for left_out in sums])
        unit = np.array([dwell_us if averages else 1.0, 1 / evened])
        return unit * (slope, dark), unit * np.sqrt((_PIECES - 1) * without.var(0)) * max(1.0, misfit)

    found, by_chance = with_decay(decay_us)
    others = [with_decay(max(0.0, decay_us + turn * decay_sd_us))[0] for turn in (-1, 1) if decay_sd_us > 0]
    sd = np.hypot(by_chance, np.max([np.abs(other - found) for other in others], axis=0) if others else 0.0)
    (gain, dark), (gain_sd, dark_sd) = found.tolist(), sd.tolist()
    if not (gain > 0 and gain_sd < _TOLD * gain and math.isfinite(dark)):
        raise InvalidInput(
            "counts per electron",
            f"{gain:.3g} ± {gain_sd:.2g}",
            "is not told by two scans of one place",
            "scan more pixels, or choose a place with bright and dark parts",
        )
    return Counting(gain, gain_sd, dark, dark_sd, len(used))


def _by_chance(lines: Array, level: Array) -> Array:
    """Differences between two scans (2, rows, width) less what a shift and a change of brightness explain of them."""
    apart = lines[0] - lines[1]
    down, right = np.gradient(level)
    explained = np.stack([np.ones(level.size), level.ravel(), down.ravel(), right.ravel()], axis=1)
    found, *_ = np.linalg.lstsq(explained, apart.ravel(), rcond=None)
    return np.asarray(apart - (explained @ found).reshape(apart.shape))


def _around(image: Array) -> Array:
    """Mean of the six pixels above and below each: who is called bright is not who counted many by chance.

    Those beside it are left out, whose light may linger in it.
    """
    padded = np.pad(image, 1, mode="reflect")
    rows, cols = image.shape
    return np.asarray(np.mean([padded[y : y + rows, x : x + cols] for y in (0, 2) for x in range(3)], axis=0))


def _noisy(mean: Array, dwell_us: float, decay_us: float) -> tuple[Array, float]:
    """What the variance of each reading (n,) is proportional to, beyond the converter's, and its ratio to an even mean.

    Light that lingers comes with the noise of its own electrons, in the square of its share.
    """
    if decay_us <= 0:
        return mean, 1.0
    fades = math.exp(-dwell_us / decay_us)
    left = decay_us / dwell_us * (1 - fades)
    own, next_one = (1 - left) ** 2, (left * (1 - fades)) ** 2
    evened = own + next_one / (1 - fades**2)
    dwells = np.full(len(mean), dwell_us)
    about = mean - mean.mean()
    electrons = Afterglow(decay_us, dwells, np.zeros(len(mean))).undone(about)
    noisy = lfilter([own, next_one - own * fades**2], [1.0, -(fades**2)], electrons)
    return np.asarray(noisy + evened * mean.mean()), evened


def _line(sums: Array, read_noise_counts: float) -> tuple[float, float, float]:
    """Slope of variance over signal, the signal at which only the converter is left, and how badly a line fits.

    Args:
        sums: of 1, signal and square in each group, (groups, 3).
    """
    count, signal, variance = sums[:, 0], sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
    middle = np.average(signal, weights=count)
    model = np.stack([np.ones_like(signal), signal - middle], axis=1)
    weight = count
    for _ in range(3):  # the variance of a variance is twice its square
        level, slope = np.linalg.solve(model.T @ (weight[:, None] * model), model.T @ (weight * variance))
        expected = level + slope * (signal - middle)
        weight = count / np.maximum(expected, 0.05 * abs(level) + 1e-12) ** 2
    misfit = math.sqrt(float(np.sum(weight * (variance - expected) ** 2)) / 2 / (len(signal) - 2))
    if slope <= 0:
        return float(slope), math.nan, misfit
    return float(slope), float(middle - (level - read_noise_counts**2 - _ROUNDING) / slope), misfit
