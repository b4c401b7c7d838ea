"""Positions given one by one: from a file, or from a program.

The positions travel inside the recipe as bytes, so that a recipe is complete wherever it is expanded.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import LAST_FRACTION, Canvas
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, FunctionLayout, Layout, Pattern, Samples

__all__ = ["MAX_POINTS", "Points"]

MAX_POINTS = 1 << 22
"""The most points that a recipe carries: 64 MiB as float64 pairs, the limit of a message on the wire."""


class Points(Pattern, frozen=True, kw_only=True, tag="points"):
    """Positions in the order given: rows of ``y, x`` in fractions of the region, and optionally a relative dwell.

    ``data`` holds little-endian float64, ``columns`` (2 or 3) to a row. In a plan, ``file`` names a file of positions,
    which is read when the plan is loaded (:mod:`scancontrol.plan.positions`). A step longer than ``jump_px`` is made
    with the beam blanked.
    """

    data: bytes = b""
    columns: int = 2
    file: str | None = None
    jump_px: float = 1.5

    @classmethod
    def from_array(cls, points: NDArray[np.float64], *, jump_px: float = 1.5) -> Self:
        """From an array (n, 2) of (y, x), or (n, 3) with the relative dwell."""
        points = np.ascontiguousarray(points, dtype="<f8")
        return cls(data=points.tobytes(), columns=points.shape[1] if points.ndim == 2 else 0, jump_px=jump_px)

    @property
    def rows(self) -> NDArray[np.float64]:
        """The points as an array (n, columns), read-only."""
        return np.frombuffer(self.data, dtype="<f8").reshape(-1, self.columns)

    def __post_init__(self) -> None:
        if self.coverage is not None:
            raise InvalidInput(
                "coverage",
                self.coverage.value,
                "cannot be asked of points from a file",
                "leave coverage out: the points are what they are",
            )
        if not math.isfinite(self.jump_px) or self.jump_px <= 0:
            raise InvalidInput("jump_px", self.jump_px, "is not a finite number above 0", "1.5 suits pixel paths")
        if self.file is not None:
            return  # to be read when the plan is loaded; a recipe takes no pattern that was not
        if self.columns not in (2, 3):
            raise InvalidInput(
                "points",
                f"{self.columns} columns",
                "is not 2 or 3 columns",
                "give y, x and optionally a relative dwell",
            )
        if len(self.data) == 0:
            raise InvalidInput("points", 0, "is an empty path", "give at least one position")
        if len(self.data) % (8 * self.columns):
            raise InvalidInput(
                "points",
                f"{len(self.data)} bytes",
                "is not a whole number of rows",
                f"give rows of {self.columns} float64",
            )
        rows = self.rows
        if len(rows) > MAX_POINTS:
            raise InvalidInput("points", len(rows), f"is above {MAX_POINTS}", "thin the path, or use a pattern")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise InvalidInput(
                f"points[{bad[0]}]",
                rows[bad[0]].tolist(),
                "is not finite",
                f"mend the {len(bad)} row(s) with NaN or infinity",
            )
        outside = np.flatnonzero(((rows[:, :2] < 0) | (rows[:, :2] >= 1)).any(axis=1))
        if len(outside):
            at = rows[outside, :2]
            by = float(np.maximum(-at, at - 1).max())
            how_far = f"by up to {by:.3g}" if by > 0 else "by exactly nothing: 1 is the first position outside"
            raise InvalidInput(
                f"points[{outside[0]}]",
                rows[outside[0], :2].tolist(),
                f"is outside the field of view, [0, 1), and {len(outside)} of {len(rows)} position(s) are, {how_far}",
                "move them inside; or name the columns' unit, if these are no fractions of the field",
            )
        if self.columns == 3 and (rows[:, 2] <= 0).any():
            first = int(np.flatnonzero(rows[:, 2] <= 0)[0])
            raise InvalidInput(
                f"points[{first}] dwell", float(rows[first, 2]), "is not above 0", "leave out positions without dwell"
            )

    def lay(self, canvas: Canvas) -> Layout:
        rows = self.rows
        size = np.array([canvas.height_px, canvas.width_px])

        def stretch(first: int, count: int) -> Samples:
            fractions = np.minimum(rows[first : first + count, :2], LAST_FRACTION)
            before = rows[max(first - 1, 0) : first + count - 1, :2]
            if first == 0:
                before = np.concatenate([rows[:1, :2], before])[:count]
            distance = np.hypot(*((fractions - before) * size).T)
            move = np.where(distance > self.jump_px, JUMP, CONTINUOUS).astype(np.uint8)
            if first == 0:
                move[:1] = FLYBACK
            weight = rows[first : first + count, 2].copy() if self.columns == 3 else None
            return Samples(fractions.astype(np.float64), weight, move)

        return FunctionLayout(len(rows), stretch)
