"""Polar curves about the region's centre, with the parts outside the region left out.

The samples that stay are counted once, block by block, so that any stretch can be found again without keeping
the curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, Layout, Samples
from scancontrol.paths.patterns.blocks import KEEP, BlockLayout
from scancontrol.paths.patterns.turns import sin_cos_turns

__all__ = ["clipped"]

BLOCK = 1 << 14

Array = NDArray[np.float64]
MAX_RAW_SAMPLES = 1 << 29
"""More than any path that a microscope takes; to count as many takes seconds, and no recipe may take longer."""

Function = Callable[[Array], Array]


def clipped(
    raw_count: int,
    radius_px: Function,
    turns: Function,
    canvas: Canvas,
    first_turn: float = 0.0,
    backwards: bool = False,
) -> Layout:
    """The layout of ``raw_count`` samples at ``radius_px(turns(i))``, less those outside the canvas.

    ``turns`` is the angle in whole turns, counted from ``first_turn``, from x towards y or ``backwards``. The radius
    has to grow with the index.
    """
    if raw_count > MAX_RAW_SAMPLES:
        remedy = "widen the turns or the steps, or ask for less coverage"
        raise InvalidInput("samples", raw_count, f"is above {MAX_RAW_SAMPLES}", remedy)
    half_y, half_x = canvas.height_px / 2, canvas.width_px / 2

    def curve(start: int, stop: int) -> tuple[Array, NDArray[np.int64] | None]:
        """Fractions (n, 2) of the region inside it, and their indices after ``start``; None where all are inside."""
        turn = turns(np.arange(start, stop, dtype=np.float64))
        radius = radius_px(turn)
        if backwards:
            turn = first_turn - turn
        elif first_turn:
            turn = turn + first_turn
        kept = None
        if len(radius) and radius[-1] >= min(half_y, half_x) * (1 - 1e-9):
            kept = np.flatnonzero(_perhaps_inside(turn, half_y / max(radius[0], 1e-9), half_x / max(radius[0], 1e-9)))
            turn, radius = turn[kept], radius[kept]
        sine, cosine = sin_cos_turns(turn)
        points = np.empty((len(turn), 2))
        np.multiply(sine, radius / canvas.height_px, out=points[:, 0])
        np.multiply(cosine, radius / canvas.width_px, out=points[:, 1])
        points += 0.5
        if kept is None:
            return points, None
        y, x = points[:, 0], points[:, 1]
        inside = (y >= 0) & (y < 1) & (x >= 0) & (x < 1)
        if inside.all():
            return points, kept
        return points[inside], kept[inside]

    def block(k: int) -> Samples:
        start, stop = k * BLOCK, min((k + 1) * BLOCK, raw_count)
        points, kept = curve(start, stop)
        move = np.full(len(points), CONTINUOUS, dtype=np.uint8)
        if kept is not None and len(kept):
            move[1:][np.diff(kept) > 1] = JUMP
            if kept[0] > 0 or (start and not len(curve(start - 1, start)[0])):
                move[0] = JUMP
        if start == 0:
            move[:1] = FLYBACK
        return Samples(points, None, move)

    def counted(k: int) -> int:
        return len(curve(k * BLOCK, min((k + 1) * BLOCK, raw_count))[0])

    blocks = -(-raw_count // BLOCK)
    if raw_count <= KEEP:
        stored = [block(k) for k in range(blocks)]
        return BlockLayout(np.array([len(b.move) for b in stored]), stored.__getitem__)
    return BlockLayout(np.array([counted(k) for k in range(blocks)]), block)


def _perhaps_inside(turn: Array, sine_limit: float, cosine_limit: float) -> NDArray[np.bool_]:
    """Where |sin| and |cos| may be within limits that are no smaller than the true ones; cheap, before any sine."""
    from_x_axis = np.abs(turn - np.rint(turn * 2) * 0.5)  # 0 to a quarter of a turn
    most = math.asin(min(sine_limit, 1.0)) / (2 * math.pi) + 1e-9
    least = 0.25 - math.asin(min(cosine_limit, 1.0)) / (2 * math.pi) - 1e-9
    return (from_x_axis <= most) & (from_x_axis >= least)
