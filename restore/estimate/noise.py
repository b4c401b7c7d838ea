"""The noise of readings: counted electrons and the converter, as a microscope states them."""

from __future__ import annotations

import numpy as np

from scancontrol.capabilities import DetectorChannel

__all__ = ["stated_variance"]


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
