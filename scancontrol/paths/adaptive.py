"""Where a second look is worth most: positions drawn by how little is known there, in an order that coils can follow.

A first pass is restored with the half-width of its interval on every pixel. What is not known well, and far from every
sample, is worth a sample of the second pass. Positions are drawn along a Hilbert curve at equal steps of the summed
worth (systematic sampling): neighbours keep their distance as in a jittered grid, no pixel is drawn twice, and the
curve is nearly the tour.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Region
from scancontrol.paths.path import ScanPath
from scancontrol.paths.patterns.hilbert import hilbert_cells
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.tours import shortened
from scancontrol.paths.solving import expand

__all__ = ["drawn", "joined", "second_pass", "worth"]

Array = NDArray[np.float64]


def worth(interval: NDArray[np.floating], positions: Array, power: float = 1.0) -> Array:
    """What a further sample is worth on each pixel (rows, cols): (interval × distance to the path) to the ``power``.

    Args:
        interval: (rows, cols), half-width of the interval.
        positions: (n, 2), (y, x) of the samples so far in fractions of the field.
        power: 1 follows the error that is expected; lower spreads the samples more evenly.
    """
    from scipy.ndimage import distance_transform_edt  # slow to load, and few paths are drawn so

    rows, cols = interval.shape
    free = np.ones((rows, cols), dtype=np.bool_)
    at = np.minimum((positions * (rows, cols)).astype(np.int64), (rows - 1, cols - 1))
    free[at[:, 0], at[:, 1]] = False
    distance = distance_transform_edt(free)
    found: Array = np.power(np.maximum(np.asarray(interval, dtype=np.float64), 0.0) * distance, power)
    return found


def drawn(worth: Array, count: int, seed: int = 0) -> Array:
    """``count`` pixel centres (n, 2), (y, x) in fractions, in the order of a Hilbert curve, no pixel twice.

    A pixel is drawn with a probability in proportion to its worth, at most once.

    Raises:
        InvalidInput: fewer pixels than that are worth anything.
    """
    rows, cols = worth.shape
    if not 1 <= count <= np.count_nonzero(worth):
        limit = f"is outside 1 to the {np.count_nonzero(worth)} pixels that are worth a look"
        raise InvalidInput("samples of the second pass", count, limit, "ask for fewer")
    cells = hilbert_cells(np.arange(rows * cols), rows, cols)
    along = worth[cells[:, 0], cells[:, 1]]
    share = _shares(along, count)
    steps = np.arange(count) + np.random.default_rng(seed).random()
    summed = np.cumsum(share)
    index = np.searchsorted(summed * (count / summed[-1]), steps, side="right")
    return (cells[np.minimum(index, len(cells) - 1)] + 0.5) / (rows, cols)


def second_pass(
    interval: NDArray[np.floating], positions: Array, count: int, *, power: float = 1.0, seed: int = 0
) -> Array:
    """``count`` further positions (n, 2) in the order of a short tour, for what ``interval`` leaves open.

    Raises:
        InvalidInput: fewer pixels than that are not visited yet.
    """
    points = drawn(worth(interval, positions, power), count, seed)
    return points[shortened(points * interval.shape)]


def joined(first: ScanPath, second: ScanPath) -> ScanPath:
    """Both paths as one, first one then the other: what a frame that looks again is restored along.

    Raises:
        InvalidInput: together they are too long.
    """
    points = Points.from_array(np.concatenate([first.positions, second.positions]))
    recipe = msgspec.structs.replace(second.recipe, pattern=points, region=Region(), rotation_deg=0.0)
    return expand(recipe)


def _shares(along: Array, count: int) -> Array:
    """The probability of each pixel: in proportion to its worth, at most 1, ``count`` in all."""
    share = np.zeros_like(along)
    open_ = along > 0
    while True:
        left = count - np.count_nonzero(share >= 1)
        scaled = along * (left / along[open_].sum())
        over = open_ & (scaled >= 1)
        if not over.any():
            share[open_] = scaled[open_]
            return share
        share[over] = 1.0
        open_ &= ~over
        if not open_.any():
            return share
