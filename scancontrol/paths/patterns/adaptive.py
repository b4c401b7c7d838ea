"""Pixels chosen while the scan runs: where the frame before leaves most open.

In a plan the pattern says how many; which ones is known once the frame before is restored
(:mod:`scancontrol.paths.adaptive`). They travel inside the recipe as numbers of pixels, so that a recipe is complete
wherever it is expanded.
"""

from __future__ import annotations

from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, within
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import (
    FLYBACK,
    JUMP,
    FunctionLayout,
    Layout,
    Pattern,
    Samples,
    check_points,
    check_seed,
    frame_seed,
)
from scancontrol.paths.patterns.jittered import JitteredGrid

__all__ = ["Adaptive"]

_MOST_PIXELS = 1 << 24  # of a frame whose pixels are numbered


class Adaptive(Pattern, frozen=True, kw_only=True, tag="adaptive"):
    """``points`` pixels in a short tour, where the frame before leaves most open: (interval × distance) ** ``power``.

    ``data`` holds their numbers, row by row, as little-endian uint32. Where it is empty nothing is known yet, and the
    samples are those of a jittered grid: so a frame is planned, and scanned where no restoration came in time.
    """

    points: int | None = None
    power: float = 1.0
    seed: int = 0
    data: bytes = b""

    def __post_init__(self) -> None:
        check_points(self.points, self.coverage)
        check_seed(self.seed)
        within("power", self.power, 0.0, 8.0, "1 follows the error that is expected")
        if self.data and len(self.data) != 4 * (self.points or 0):
            raise InvalidInput(
                "pixels", f"{len(self.data)} bytes", f"are not those of {self.points} points", "give 4 bytes a point"
            )

    @property
    def solved(self) -> bool:
        return self.points is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, points=max(1, round(density * canvas.pixels)))

    @property
    def changes_per_frame(self) -> bool:
        return not self.data

    def for_frame(self, frame: int) -> Self:
        return self if self.data else msgspec.structs.replace(self, seed=frame_seed(self.seed, frame))

    def at(self, points: NDArray[np.float64], shape: tuple[int, int]) -> Self:
        """With the pixels (n, 2) that were drawn, (y, x) in fractions of a field of ``shape``.

        Raises:
            InvalidInput: the field has more pixels than are numbered.
        """
        rows, cols = shape
        if rows * cols > _MOST_PIXELS:
            raise InvalidInput("shape", f"{rows} x {cols}", f"is above {_MOST_PIXELS} pixels", "scan a smaller frame")
        y, x = np.minimum((points * shape).astype(np.int64), (rows - 1, cols - 1)).T
        return msgspec.structs.replace(self, points=len(points), data=(y * cols + x).astype("<u4").tobytes())

    def lay(self, canvas: Canvas) -> Layout:
        if not self.data:
            return JitteredGrid(points=self.points, seed=self.seed).lay(canvas)
        numbers = np.frombuffer(self.data, dtype="<u4").astype(np.int64)
        rows, cols = max(1, round(canvas.height_px)), max(1, round(canvas.width_px))
        if numbers.max() >= rows * cols:
            raise InvalidInput(
                "pixel", int(numbers.max()), f"is outside the {rows * cols} of the frame", "draw them for this frame"
            )

        def stretch(first: int, count: int) -> Samples:
            y, x = np.divmod(numbers[first : first + count], cols)
            move = np.full(len(y), JUMP, dtype=np.uint8)
            if first == 0:
                move[:1] = FLYBACK
            return Samples((np.column_stack([y, x]) + 0.5) / (rows, cols), None, move)

        return FunctionLayout(len(numbers), stretch)
