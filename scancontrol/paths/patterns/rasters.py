"""Scans in straight lines: raster, serpentine and interlaced.

All three visit ``lines`` × ``samples_per_line`` points at the centres of equal cells of the region, as many as
it has pixels unless stated or solved for.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, FunctionLayout, Layout, Pattern, Samples

__all__ = ["Interlaced", "Raster", "Serpentine"]


Ints = NDArray[np.int64]


class _Lines(Pattern, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the straight-line scans share."""

    line_start: ClassVar[int] = FLYBACK

    lines: int | None = None
    samples_per_line: int | None = None

    def __post_init__(self) -> None:
        for name in ("lines", "samples_per_line"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 1 << 20:
                raise InvalidInput(name, value, "is outside 1 to 1048576", "give a whole number of lines or samples")

    @property
    def solved(self) -> bool:
        return self.coverage is None or (self.lines is not None and self.samples_per_line is not None)

    def grid(self, canvas: Canvas) -> tuple[int, int]:
        """Lines and samples per line."""
        return (self.lines or max(1, round(canvas.height_px)), self.samples_per_line or max(1, round(canvas.width_px)))

    def at_density(self, density: float, canvas: Canvas) -> Self:
        # The grid nearest to square cells whose count is near enough: few whole numbers multiply to it.
        target = density * canvas.pixels
        square = math.sqrt(target * canvas.height_px / canvas.width_px)
        for stretch, near_enough in ((1.15, 0.003), (1.5, 0.003), (3.0, 0.0045), (8.0, 1.0)):
            candidates = []
            for lines in range(max(1, math.floor(square / stretch)), math.ceil(square * stretch) + 1):
                samples = max(1, round(target / lines))
                error = abs(lines * samples / target - 1)
                candidates.append((max(error, 5e-4), abs(math.log(lines / square)), lines, samples))
            error, _, lines, samples = min(candidates)
            if error < near_enough:
                break
        return msgspec.structs.replace(self, lines=lines, samples_per_line=samples)

    def _visit(self, line: Ints, lines: int) -> Ints:
        """Which row each line of the scan is drawn on."""
        return line

    def lay(self, canvas: Canvas) -> Layout:
        lines, samples = self.grid(canvas)
        step_px = max(1.0, canvas.width_px / samples)

        def stretch(first: int, count: int) -> Samples:
            lowest, skipped = divmod(first, samples)
            drawn = np.arange(lowest, -(-(first + count) // samples))
            part = slice(skipped, skipped + count)
            columns = np.arange(samples)[None]
            fractions = np.empty((count, 2))
            fractions[:, 0] = np.repeat((self._visit(drawn, lines) + 0.5) / lines, samples)[part]
            across = (self._column(drawn[:, None], columns, samples) + 0.5) / samples
            fractions[:, 1] = np.broadcast_to(across, (len(drawn), samples)).ravel()[part]
            move = np.full(count, CONTINUOUS if step_px < 1.5 else JUMP, dtype=np.uint8)
            move[-skipped % samples :: samples] = self.line_start
            if first == 0:
                move[:1] = FLYBACK
            return Samples(fractions, None, move)

        return FunctionLayout(lines * samples, stretch)

    def _column(self, line: Ints, column: Ints, samples: int) -> Ints:
        """Which column each sample of a line is drawn on."""
        return column


class Raster(_Lines, frozen=True, kw_only=True, tag="raster"):
    """Line by line, each from left to right, with a flyback between them."""


class Serpentine(_Lines, frozen=True, kw_only=True, tag="serpentine"):
    """Line by line, every other one from right to left: no flyback, but coil lag shifts odd lines against even."""

    line_start: ClassVar[int] = JUMP

    def _column(self, line: Ints, column: Ints, samples: int) -> Ints:
        return np.where(line % 2 == 0, column, samples - 1 - column)


class Interlaced(_Lines, frozen=True, kw_only=True, tag="interlaced"):
    """A raster that draws every ``fields``-th line, then the lines between: neighbours are never drawn in a row."""

    fields: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.fields <= 1024:
            raise InvalidInput("fields", self.fields, "is outside 2 to 1024", "give the number of interlaced fields")

    def _visit(self, line: Ints, lines: int) -> Ints:
        starts = np.cumsum([0] + [len(range(f, lines, self.fields)) for f in range(self.fields)])
        field = np.searchsorted(starts, line, side="right") - 1
        row: Ints = field + self.fields * (line - starts[field])
        return row
