"""Lissajous figures: both axes swing as sines, which any coil can follow."""

from __future__ import annotations

import math
from typing import Self

import msgspec
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas, finite
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, CoverageGoal, FunctionLayout, Layout, Pattern, Samples
from scancontrol.paths.patterns.turns import sin_cos_turns

__all__ = ["Lissajous"]


class Lissajous(Pattern, frozen=True, kw_only=True, tag="lissajous"):
    """``x = sin(2π·cycles·t)``, ``y = sin(2π·(cycles + beats)·t)`` for t from 0 to 1, from edge to edge.

    ``step_px`` is the longest way between samples; the beam slows towards the edges, so the dose rises there.
    """

    cycles: float | None = None
    beats: float = 1.0
    step_px: float = 1.0

    def __post_init__(self) -> None:
        for name in ("cycles", "beats", "step_px"):
            value = getattr(self, name)
            if value is None:
                continue
            finite(name, value)
            if not 0 < value <= 1e6:
                raise InvalidInput(name, value, "is outside 0 to 1e6", "give a value above 0")
        if self.cycles is None and self.coverage is None:
            raise InvalidInput("cycles", None, "is missing", "give it, or the coverage to solve it for")

    @property
    def solved(self) -> bool:
        return self.cycles is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        # Whole cycles close the figure, and are coarse: their number follows from what is asked, and the way between
        # samples alone from the density. A figure touches about 2.16 pixels to a pixel of the diagonal and cycle.
        goal = self.coverage or CoverageGoal(value=density)
        per_cycle = math.hypot(canvas.height_px, canvas.width_px) / canvas.pixels
        cycles = max(1, math.ceil(goal.value / per_cycle / (math.pi if goal.by == "dose" else 2.16) - self.beats / 2))
        whole_px = math.pi * math.hypot(cycles * canvas.width_px, (cycles + self.beats) * canvas.height_px)
        step_px = whole_px / (density * canvas.pixels * (1.0 if goal.by == "dose" else 1.46))
        return msgspec.structs.replace(self, cycles=float(cycles), step_px=min(max(step_px, 1e-3), 1e6))

    def lay(self, canvas: Canvas) -> Layout:
        x_cycles = self.cycles or 1.0
        y_cycles = x_cycles + self.beats
        # From the centre of the first pixel to the centre of the last.
        swing_y, swing_x = 0.5 - 0.5 / canvas.height_px, 0.5 - 0.5 / canvas.width_px
        fastest_px = (
            2 * math.pi * math.hypot(x_cycles * swing_x * canvas.width_px, y_cycles * swing_y * canvas.height_px)
        )
        count = max(1, math.ceil(fastest_px / self.step_px))

        def stretch(first: int, n: int) -> Samples:
            t = np.arange(first, first + n) / count
            fractions = np.empty((n, 2))
            fractions[:, 0] = 0.5 + swing_y * sin_cos_turns(y_cycles * t)[0]
            fractions[:, 1] = 0.5 + swing_x * sin_cos_turns(x_cycles * t)[0]
            move = np.full(n, CONTINUOUS, dtype=np.uint8)
            if first == 0:
                move[:1] = FLYBACK
            return Samples(fractions, None, move)

        return FunctionLayout(count, stretch)
