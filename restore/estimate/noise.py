"""The noise of readings: counted electrons and the converter, as a microscope states them."""

from __future__ import annotations

import numpy as np

from scancontrol.capabilities import DetectorChannel

__all__ = ["stated_variance"]


def stated_variance(detector: DetectorChannel, readings: np.ndarray) -> float | None:
    """Variance of a reading about the specimen in counts², for the mean of these readings (n,) in counts.

    None for a detector of which nothing is stated: its readings are no counts of electrons.

    ``n`` electrons are counted as ``offset + gain·n`` with variance ``gain²·n``, and the converter adds its own.
    """
    nothing = DetectorChannel(name=detector.name, adc_bits=detector.adc_bits, decay_us=detector.decay_us)
    if detector == nothing:
        return None
    gain, offset = detector.counts_per_electron, detector.offset_counts
    electrons = max(0.0, (float(np.nanmean(readings.astype(np.float64))) - offset) / gain)
    return gain**2 * electrons + detector.read_noise_counts**2 + 1 / 12  # and it rounds
