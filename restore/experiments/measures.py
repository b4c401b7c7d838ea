"""What is compared between experiments beside their error: pure functions of a look or of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from restore.experiments.looks import Look

__all__ = ["by_distance", "error_growth", "explained_by_distance", "fine_power", "spike_steps", "transformed"]

_BEFORE = 100  # steps, from which a spike stands out
_SIGMAS = 3.0
_FINE = 0.25  # cycles a pixel: above are details of less than 4 px


def by_distance(square: NDArray[np.floating], distance_px: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """(distance in px, mean squared error there, pixels), in classes of one pixel's width."""
    classes = np.round(distance_px).astype(np.int64).ravel()
    count = np.bincount(classes)
    total = np.bincount(classes, weights=square.ravel().astype(np.float64))
    there = count > 0
    return np.flatnonzero(there).astype(np.float64), total[there] / count[there], count[there].astype(np.float64)


def error_growth(look: Look) -> float:
    """Mean squared error of the quarter of pixels farthest from the path, over that of the nearest quarter."""
    near, far = np.quantile(look.distance_px, (0.25, 0.75))
    return float(look.square[look.distance_px >= far].mean() / look.square[look.distance_px <= near].mean())


def explained_by_distance(look: Look, *, raw: bool = True) -> float:
    """Share of the error map's variance that lies between classes of distance to the path (η²), 0 to 1.

    ``raw`` takes the errors of pictures as they are, with their noise; else the low-passed ones.
    """
    square = look.raw_square if raw else look.square
    _, means, count = by_distance(square, look.distance_px)
    between = float((count * np.square(means - square.mean(dtype=np.float64))).sum())
    return between / float(np.square(square - square.mean(dtype=np.float64)).sum())


def fine_power(look: Look) -> float:
    """Power of the restorations above 1/4 cycle a pixel, over the truths': 1 if noise and detail are kept."""
    fine = look.frequency > _FINE
    return float(look.power[fine].sum() / look.power_truth[fine].sum())


def transformed(square: NDArray[np.floating], like: NDArray[np.floating]) -> NDArray[np.float64]:
    """An error map, taken linearly to the mean and variance of another, as the poster shows them side by side."""
    spread = float(square.std()) or 1.0
    return (square - square.mean()) * (float(like.std()) / spread) + float(like.mean())


def spike_steps(errors: Sequence[float]) -> NDArray[np.int64]:
    """Steps, counted from 0, whose training error is above mean and three standard deviations of the 100 before."""
    values = np.asarray(errors, dtype=np.float64)
    if len(values) <= _BEFORE:
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, _BEFORE)[:-1]
    limit = windows.mean(1) + _SIGMAS * windows.std(1)
    return np.flatnonzero(values[_BEFORE:] > limit) + _BEFORE
