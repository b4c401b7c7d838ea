"""A path that follows a drifting specimen while it is scanned: how far each of its samples is moved, and when.

The region moves evenly with the time, about where it lies in the middle of the frame. Times are those of the straight
path, so that bending changes where the beam dwells and not when or for how long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.geometry import LAST_FRACTION

__all__ = ["Bend"]

_BLOCK = 1 << 14
"""Times are summed from the beginning of their block, so that a stretch of a path has those of the whole to the bit."""

Array = NDArray[np.float64]


class Bend:
    """Of one path.

    Args:
        bend_px: (y, x) by which the region moves from the first sample to the end of the last one.
        shape: (rows, cols) of the frame.
        count: of samples.
        timing: of so many samples from one on: dwell and the blanked time before each, in µs, (n,).
    """

    def __init__(
        self,
        bend_px: tuple[float, float],
        shape: tuple[int, int],
        count: int,
        timing: Callable[[int, int], tuple[Array, Array]],
    ) -> None:
        self._way = np.array(bend_px) / shape  # in fractions of the field
        self._count, self._timing = count, timing

    def moved(self, first: int, count: int) -> Array:
        """(y, x) by which ``count`` samples from ``first`` on are moved, in fractions of the field, (count, 2)."""
        starts, end = self._blocks
        begins = np.empty(count)
        at = first
        while at < first + count:
            block = at // _BLOCK
            start, stop = block * _BLOCK, min(first + count, (block + 1) * _BLOCK)
            dwell, move = self._timing(start, stop - start)
            inside = starts[block] + np.cumsum(dwell + move) - dwell
            begins[at - first : stop - first] = inside[at - start :]
            at = stop
        return np.asarray((begins / end - 0.5)[:, None] * self._way)

    @cached_property
    def _blocks(self) -> tuple[list[float], float]:
        """When each block begins after the first sample does, and when the last sample ends, in µs."""
        _, move = self._timing(0, 1)
        starts = [-float(move[0])]
        for first in range(0, self._count, _BLOCK):
            dwell, move = self._timing(first, min(_BLOCK, self._count - first))
            starts.append(starts[-1] + float(np.cumsum(dwell + move)[-1]))
        return starts[:-1], starts[-1]

    def undone(self, positions: Array, first: int) -> Array:
        """Beam ``positions`` (n, 2) of samples from ``first`` on, where they are on the specimen as it lay mid-frame.

        What was inside the field stays inside.
        """
        straight = positions - self.moved(first, len(positions))
        inside = (positions >= 0) & (positions < 1)
        return np.where(inside, np.clip(straight, 0.0, LAST_FRACTION), straight)
