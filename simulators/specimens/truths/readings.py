"""Electrons counted on a noise-free specimen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["draw_reading"]


def draw_reading(truth: ArrayLike, electrons_per_sample: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Readings of ``truth`` (any shape; negative values count as 0), in its own units: Poisson counts over the dose.

    Args:
        truth: the noise-free signal where the samples fall; 1 is a signal of ``electrons_per_sample``.
        electrons_per_sample: that a sample of signal 1 counts on average.
        rng: draws the counts.
    """
    expected = np.maximum(np.asarray(truth, np.float64), 0.0) * electrons_per_sample
    return np.asarray(rng.poisson(expected) / electrons_per_sample, np.float32)
