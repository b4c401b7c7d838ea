"""Grids whose points are moved at random: one sample in each cell."""

from __future__ import annotations

import math
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas, finite
from scancontrol.paths.pattern import FLYBACK, JUMP, FunctionLayout, Layout, Pattern, Samples, check_points, check_seed
from scancontrol.paths.patterns.hashing import uniform

__all__ = ["JitteredGrid"]


class JitteredGrid(Pattern, frozen=True, kw_only=True, tag="jittered_grid"):
    """One pixel drawn independently in each of ``points`` cells of equal area, visited row by row, back and forth.

    The cells lie in rows of as equal numbers as whole numbers allow, so that any number of points is met exactly.
    ``jitter`` 1 draws from the whole cell, 0 takes its centre.
    """

    points: int | None = None
    jitter: float = 1.0
    seed: int = 0
    seed_per_frame: bool = False

    def __post_init__(self) -> None:
        finite("jitter", self.jitter)
        if not 0 <= self.jitter <= 1:
            raise InvalidInput("jitter", self.jitter, "is outside 0 to 1", "1 draws from the whole cell")
        check_points(self.points, self.coverage)
        check_seed(self.seed)

    @property
    def solved(self) -> bool:
        return self.points is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, points=max(1, round(density * canvas.pixels)))

    def lay(self, canvas: Canvas) -> Layout:
        count = self.points or 1
        rows = min(max(1, round(math.sqrt(count * canvas.height_px / canvas.width_px))), count)
        height, width = max(1, round(canvas.height_px)), max(1, round(canvas.width_px))
        rows = min(max(rows, math.ceil(count / width)), height)

        def stretch(first: int, n: int) -> Samples:
            index = np.arange(first, first + n)
            row = ((index + 1) * rows - 1) // count  # the row whose stretch of indices holds this one
            start = row * count // rows
            in_row = (row + 1) * count // rows - start
            column = index - start
            turned = row % 2 == 1
            column = np.where(turned, in_row - 1 - column, column)
            fractions = np.empty((n, 2))
            fractions[:, 0] = self._pixel(row, np.full(n, rows), height, uniform(self.seed, index, 0)) / height
            fractions[:, 1] = self._pixel(column, in_row, width, uniform(self.seed, index, 1)) / width
            move = np.full(n, JUMP, dtype=np.uint8)
            if first == 0:
                move[:1] = FLYBACK
            return Samples(fractions, None, move)

        return FunctionLayout(count, stretch)

    def _pixel(
        self, cell: NDArray[np.int64], cells: NDArray[np.int64], pixels: int, draw: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The centre of a whole pixel inside each cell, so that no two cells share one."""
        low = cell * pixels // cells
        size = np.maximum((cell + 1) * pixels // cells - low, 1)
        chosen = np.floor((0.5 + (draw - 0.5) * self.jitter) * size)
        pixel: NDArray[np.float64] = np.minimum(low + chosen, pixels - 1) + 0.5
        return pixel
