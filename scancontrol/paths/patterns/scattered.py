"""Pixels drawn uniformly at random, in an order that moves the beam little."""

from __future__ import annotations

from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import FLYBACK, JUMP, Layout, Pattern, Samples, check_points, check_seed
from scancontrol.paths.patterns.blocks import BlockLayout
from scancontrol.paths.patterns.hashing import uniform
from scancontrol.paths.patterns.hilbert import hilbert_cells
from scancontrol.paths.patterns.tours import shortened

__all__ = ["UniformRandom"]

BLOCK_POINTS = 1 << 13


class UniformRandom(Pattern, frozen=True, kw_only=True, tag="uniform_random"):
    """``points`` different pixels, each equally likely, visited along a short tour.

    ``order: curve`` visits them along a Hilbert curve, about 1.38 times the length of the best tour;
    ``order: tour`` improves that, stretch by stretch, to about 1.11 times, for some 100 µs of computing per point.
    """

    points: int | None = None
    order: Literal["tour", "curve"] = "tour"
    seed: int = 0
    seed_per_frame: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_points(self.points, self.coverage)

    @property
    def solved(self) -> bool:
        return self.points is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, points=max(1, round(density * canvas.pixels)))

    def in_any_order(self) -> Self:
        return msgspec.structs.replace(self, order="curve")

    def lay(self, canvas: Canvas) -> Layout:
        height, width = max(1, round(canvas.height_px)), max(1, round(canvas.width_px))
        pixels, points = height * width, self.points or 1
        if points > pixels:
            raise InvalidInput("points", points, f"is above the region's pixels, {pixels}", "ask for fewer")
        blocks = -(-points // BLOCK_POINTS)
        bounds = [k * pixels // blocks for k in range(blocks + 1)]
        counts = self._shares(points, bounds)

        def block(k: int) -> Samples:
            index = np.arange(bounds[k], bounds[k + 1])
            chosen = np.sort(np.argpartition(uniform(self.seed, index, 1), counts[k] - 1)[: counts[k]])
            cells: NDArray[np.float64] = hilbert_cells(index[chosen], height, width).astype(np.float64) + 0.5
            if self.order == "tour":
                cells = cells[shortened(cells)]
            move = np.full(len(cells), JUMP, dtype=np.uint8)
            if k == 0:
                move[:1] = FLYBACK
            return Samples(cells / (height, width), None, move)

        return BlockLayout(counts, block)

    def _shares(self, points: int, bounds: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """How many of the points fall into each block: hypergeometric, by its normal approximation."""
        counts = np.zeros(len(bounds) - 1, dtype=np.int64)
        from scipy.special import ndtri  # slow to load, and most paths need none of it

        draws = ndtri(np.clip(uniform(self.seed, np.arange(len(counts)), 2), 1e-9, 1 - 1e-9))
        left, room = points, bounds[-1]
        for k, draw in enumerate(draws):
            size = bounds[k + 1] - bounds[k]
            share = left / room
            spread = (size * share * (1 - share) * (room - size) / max(room - 1, 1)) ** 0.5
            count = round(size * share + spread * float(draw))
            counts[k] = min(max(count, left - (room - size), 1), size, left - (len(counts) - 1 - k))
            left, room = left - int(counts[k]), room - size
        return counts
