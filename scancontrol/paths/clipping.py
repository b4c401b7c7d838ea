"""Polar curves about the region's centre, with the parts outside the region left out.

The number of samples that stay is counted once, block by block, so that any stretch can be found again
without keeping the curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, Layout, Samples

__all__ = ["clipped"]

BLOCK = 1 << 16
KEEP = 1 << 22
"""Curves of up to this many samples are kept whole (96 MB at most); longer ones are computed block by block."""

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def clipped(raw_count: int, radius_px: Function, angle: Function, canvas: Canvas) -> Layout:
    """The layout of ``raw_count`` samples at ``radius_px(angle(i))``, less those outside the canvas.

    The radius has to grow with the index.
    """
    return _PolarLayout(raw_count, radius_px, angle, canvas)


class _PolarLayout:
    def __init__(self, raw_count: int, radius_px: Function, angle: Function, canvas: Canvas) -> None:
        self._raw_count, self._radius_px, self._angle, self._canvas = raw_count, radius_px, angle, canvas
        self._inside_px = min(canvas.height_px, canvas.width_px) / 2 * (1 - 1e-12)
        self._kept: Samples | None = None
        if raw_count <= KEEP:
            blocks = [self._block(start) for start in range(0, raw_count, BLOCK)]
            self._kept = Samples(
                np.concatenate([b.fractions for b in blocks]), None, np.concatenate([b.move for b in blocks])
            )
            self._starts = np.array([0, len(self._kept.move)])
        else:
            counts = [self._count(start) for start in range(0, raw_count, BLOCK)]
            self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.count = int(self._starts[-1])

    def samples(self, first: int, count: int) -> Samples:
        """See :class:`Layout`."""
        if self._kept is not None:
            return Samples(self._kept.fractions[first : first + count], None, self._kept.move[first : first + count])
        low = int(np.searchsorted(self._starts, first, side="right")) - 1
        high = int(np.searchsorted(self._starts, first + count, side="left"))
        blocks = [self._block(b * BLOCK) for b in range(low, max(high, low + 1))]
        skip = first - int(self._starts[low])
        return Samples(
            np.concatenate([b.fractions for b in blocks])[skip : skip + count], None,
            np.concatenate([b.move for b in blocks])[skip : skip + count],
        )

    def _index(self, start: int) -> NDArray[np.float64]:
        return np.arange(start, min(start + BLOCK, self._raw_count), dtype=np.float64)

    def _points(self, index: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Fractions (n, 2) of the region and which of them are inside; None where all are."""
        theta = self._angle(index)
        radius = self._radius_px(theta)
        points = np.empty((len(index), 2))
        np.multiply(np.sin(theta), radius / self._canvas.height_px, out=points[:, 0])
        np.multiply(np.cos(theta), radius / self._canvas.width_px, out=points[:, 1])
        points += 0.5
        if len(radius) == 0 or radius[-1] < self._inside_px:
            return points, None
        return points, ((points >= 0) & (points < 1)).all(axis=1)

    def _count(self, start: int) -> int:
        index = self._index(start)
        if math.isfinite(self._inside_px) and self._radius_px(self._angle(index[-1:]))[0] < self._inside_px:
            return len(index)
        inside = self._points(index)[1]
        return len(index) if inside is None else int(inside.sum())

    def _block(self, start: int) -> Samples:
        index = self._index(start)
        points, inside = self._points(index)
        move = np.full(len(index), CONTINUOUS, dtype=np.uint8)
        if inside is not None:
            before = self._points(np.array([max(start - 1, 0)], dtype=np.float64))[1]
            previous = np.concatenate([[True if before is None else bool(before[0])], inside[:-1]])
            move[~previous] = JUMP
            points, move = points[inside], move[inside]
        if start == 0:
            move[:1] = FLYBACK
        return Samples(points, None, move)
