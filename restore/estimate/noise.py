"""The noise of readings: counted electrons and the converter, as a microscope states them, or as few counts show."""

from __future__ import annotations

import numpy as np

from restore.estimate.neighbours import nearest
from restore.gridding import FrameGeometry
from scancontrol.capabilities import DetectorChannel

__all__ = ["counted_variance", "stated_variance"]

_FEW = 12.0  # electrons a sample on average, up to which single ones show
_GROUPS = 3  # of samples, by brightness
_LIKE_COUNTS = 0.6  # of a count's variance that neighbours differ by at least, in every group


def stated_variance(detector: DetectorChannel, readings: np.ndarray, dwell_us: float) -> float | None:
    """Variance of a reading about the specimen in counts², for the mean of these readings (n,) in counts.

    None for a detector of which nothing is stated: its readings are no counts of electrons.

    ``n`` electrons are counted as ``offset + gain·n`` with variance ``gain²·n``, and the converter adds its own. One
    that averages over ``dwell_us`` reads ``offset + gain·n/dwell`` with variance ``gain²·n/dwell²``: the longer it
    looks, the less noise.
    """
    nothing = DetectorChannel(
        name=detector.name,
        adc_bits=detector.adc_bits,
        decay_us=detector.decay_us,
        decay_sd_us=detector.decay_sd_us,
        averages=detector.averages,
    )
    if detector == nothing:
        return None
    gain = detector.counts_per_electron / (dwell_us if detector.averages else 1.0)
    electrons = max(0.0, (float(np.nanmean(readings.astype(np.float64))) - detector.offset_counts) / gain)
    return gain**2 * electrons + detector.read_noise_counts**2 + 1 / 12  # and it rounds


def counted_variance(values: np.ndarray, geometry: FrameGeometry) -> float | None:
    """Variance of readings (n,), NaN where lost, that are plainly counts of few electrons; None if they are not.

    They are whole multiples of one step, from none on, and neighbours differ at least by as much as counts do,
    whether bright or dark.
    """
    known = np.isfinite(values)
    readings = values[known].astype(np.float64)
    levels = np.unique(readings[:: max(1, len(readings) // 4096)])
    if len(levels) < 2 or len(levels) > 16 * _FEW or levels[0] < 0:
        return None
    step = float(np.diff(levels).min())
    mean = float(readings.mean())
    off_step = readings / step - np.rint(readings / step)
    if not 0 < mean <= _FEW * step or np.abs(off_step).max() > 1e-3:
        return None
    beside = nearest(geometry)[:, 0].numpy()
    both = known & known[beside]
    one, other = values[both].astype(np.float64), values[beside[both]].astype(np.float64)
    level, square = 0.5 * (one + other), 0.5 * (one - other) ** 2
    around = _smoothed(level)
    for group in np.array_split(np.argsort(around, kind="stable"), _GROUPS):
        if square[group].mean() < _LIKE_COUNTS * step * level[group].mean():
            return None
    return step * mean


def _smoothed(values: np.ndarray, width: int = 33) -> np.ndarray:
    """Mean over neighbours along the path, so that who is called bright is not who counted many by chance."""
    return np.convolve(values, np.full(width, 1 / width), "same")
