"""A pattern that crosses itself on purpose: straight strokes over the whole region first, then the pattern.

A place that is read twice at different times tells what a single visit cannot: how late the readings come, and how the
detector's baseline wanders. One stroke costs 4 to 5 % of the samples of a 1/20 scan of 512² pixels.
"""

from __future__ import annotations

from typing import Self

import msgspec
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import CONTINUOUS, JUMP, Layout, Pattern, Samples
from scancontrol.paths.patterns.hilbert import Hilbert
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.lissajous import Lissajous
from scancontrol.paths.patterns.rasters import Interlaced, Raster, Serpentine
from scancontrol.paths.patterns.scattered import UniformRandom
from scancontrol.paths.patterns.spirals import Archimedean, Fermat
from scancontrol.paths.patterns.walks import LineHop, MomentumWalk

__all__ = ["Crossable", "Crossed"]

Crossable = (
    Raster
    | Serpentine
    | Interlaced
    | Archimedean
    | Fermat
    | JitteredGrid
    | MomentumWalk
    | LineHop
    | UniformRandom
    | Hilbert
    | Lissajous
)


class Crossed(Pattern, frozen=True, kw_only=True, tag="crossed"):
    """``crossings`` strokes from corner to corner, one or both diagonals, before ``pattern``.

    The coverage that is asked for is of both together.
    """

    pattern: Crossable
    crossings: int = 1

    def __post_init__(self) -> None:
        if self.crossings not in (1, 2):
            raise InvalidInput("crossings", self.crossings, "is neither 1 nor 2", "draw one diagonal, or both")
        if self.coverage is None and self.pattern.coverage is not None:
            msgspec.structs.force_setattr(self, "coverage", self.pattern.coverage)

    @property
    def solved(self) -> bool:
        return self.pattern.solved

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, pattern=self.pattern.at_density(density, canvas))

    def geometric_coverage(self, canvas: Canvas) -> float:
        strokes = self.crossings * _stroke_samples(canvas) / canvas.pixels
        return min(1.0, self.pattern.geometric_coverage(canvas) + strokes)

    def in_any_order(self) -> Self:
        return msgspec.structs.replace(self, pattern=self.pattern.in_any_order())

    @property
    def changes_per_frame(self) -> bool:
        return self.pattern.changes_per_frame

    def for_frame(self, frame: int) -> Self:
        return msgspec.structs.replace(self, pattern=self.pattern.for_frame(frame))

    def lay(self, canvas: Canvas) -> Layout:
        return _CrossedLayout(self.pattern.lay(canvas), self.crossings, _stroke_samples(canvas))


def _stroke_samples(canvas: Canvas) -> int:
    """So many that they lie a pixel apart along the diagonal."""
    return max(2, round(float(np.hypot(canvas.height_px, canvas.width_px))))


class _CrossedLayout:
    """The strokes' samples, then those of the pattern's layout."""

    def __init__(self, layout: Layout, crossings: int, each: int) -> None:
        self._layout, self._each, self._strokes = layout, each, crossings * each
        self.count = self._strokes + layout.count

    def samples(self, first: int, count: int) -> Samples:
        """See :class:`scancontrol.paths.pattern.Layout`."""
        last = first + count
        parts = []
        if first < self._strokes:
            parts.append(self._stroke(np.arange(first, min(last, self._strokes))))
        if last > self._strokes:
            begin = max(first, self._strokes) - self._strokes
            found = self._layout.samples(begin, last - self._strokes - begin)
            if begin == 0:
                move = found.move.copy()
                move[0] = JUMP
                found = found._replace(move=move)
            parts.append(found)
        if len(parts) == 1:
            return parts[0]
        weights = [np.ones(len(part.fractions)) if part.weight is None else part.weight for part in parts]
        weighted = any(part.weight is not None for part in parts)
        return Samples(
            np.concatenate([part.fractions for part in parts]),
            np.concatenate(weights) if weighted else None,
            np.concatenate([part.move for part in parts]),
        )

    def _stroke(self, index: np.ndarray) -> Samples:
        along = (index % self._each + 0.5) / self._each
        second = index >= self._each
        fractions = np.stack([along, np.where(second, 1 - along, along)], 1)
        move = np.where((index % self._each == 0) & (index > 0), JUMP, CONTINUOUS).astype(np.uint8)
        return Samples(fractions, None, move)
