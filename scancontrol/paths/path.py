"""Scan paths: what a recipe expands to, a chunk at a time.

A :class:`ScanPath` is an ordered list of beam positions with the dwell at each and the blanked time before it.
It may be far longer than memory: :meth:`ScanPath.chunks` and :meth:`ScanPath.chunk` expand no more than they return,
or, of a short path, all of it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.bending import Bend
from scancontrol.paths.geometry import LAST_FRACTION, Canvas, Placement, on_dac, pixel_index
from scancontrol.paths.pattern import FLYBACK, Layout, Pattern
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import quantised_dwell_us
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["Coverage", "PathChunk", "ScanPath"]

CHUNK = 1 << 14

KEPT_SAMPLES = 1 << 19
"""Paths up to this long are expanded once and kept, 17 MB at most; longer ones anew whenever they are read."""

_BLOCK = 1 << 18
"""Samples expanded in one go: no step of it may keep the interpreter from a heartbeat in another thread for long."""


@dataclass(frozen=True)
class PathChunk:
    """A contiguous run of samples: ``positions`` (n, 2) as (y, x) in fractions of the field of view."""

    first_index: int
    positions: NDArray[np.float64]
    dwell_us: NDArray[np.float64]  # (n,)
    move_us: NDArray[np.float64]  # (n,) blanked before the sample; 0 where the beam is drawn there
    kind: NDArray[np.uint8]  # (n,) CONTINUOUS, JUMP or FLYBACK, as in scancontrol.paths.pattern

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Coverage:
    """The three numbers of a partial scan, over the pixels of its region."""

    nominal: float  # asked for, or stated by the pattern's geometry
    touched: float  # fraction of pixels that hold a sample
    dose: float  # Σ dwell over that of a full raster at the same dwell

    def __str__(self) -> str:
        return " · ".join(
            f"{name} 1/{1 / value:.2f}" if value else f"{name} 0"
            for name, value in (("nominal", self.nominal), ("touched", self.touched), ("dose", self.dose))
        )


class ScanPath:
    """A solved recipe, expanded lazily."""

    def __init__(self, recipe: PathRecipe) -> None:
        self.recipe = recipe
        self.shape = recipe.shape
        self.fov_nm = recipe.fov_nm
        self._placement = recipe.placement
        self._layout = _laid(recipe.pattern, self._placement.canvas)
        self.count = self._layout.count
        if self.count < 1:
            raise InvalidInput("path", "0 samples", "is an empty path", "ask for more coverage or a larger region")
        bend_px = recipe.bend_px
        self._bend = Bend(bend_px, self.shape, self.count, self._timing) if isinstance(bend_px, tuple) else None

    def __len__(self) -> int:
        return self.count

    @cached_property
    def path_id(self) -> str:
        """See :attr:`PathRecipe.path_id`."""
        return self.recipe.path_id

    def chunks(self, max_samples: int = 1 << 16) -> Iterator[PathChunk]:
        """All samples in order, at most ``max_samples`` at a time, in bounded memory."""
        for first in range(0, self.count, max_samples):
            yield self.chunk(first, min(max_samples, self.count - first))

    def chunk(self, first_index: int, count: int) -> PathChunk:
        """Samples ``first_index`` to ``first_index + count``.

        Raises:
            IndexError: they are outside the path.
        """
        if not (first_index >= 0 and count >= 0 and first_index + count <= self.count):
            raise IndexError(f"samples {first_index} to {first_index + count} of a path of {self.count}")
        if self.count <= KEPT_SAMPLES or "_whole" in self.__dict__:
            whole, part = self._whole, slice(first_index, first_index + count)
            return PathChunk(
                first_index, whole.positions[part], whole.dwell_us[part], whole.move_us[part], whole.kind[part]
            )
        return self._expand(first_index, count)

    def on_specimen(self, positions: NDArray[np.float64], first_index: int = 0) -> NDArray[np.float64]:
        """Where samples from ``first_index`` on are in the frame's picture, (n, 2), if the beam was at ``positions``.

        Those of a straight path are there; those of a bent one are where the specimen was in the middle of the frame.
        """
        return positions if self._bend is None else self._bend.undone(positions, first_index)

    def _timing(self, first: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chunk = self._straight(first, count)
        return chunk.dwell_us, chunk.move_us

    def _expand(self, first: int, count: int) -> PathChunk:
        straight = self._straight(first, count)
        if self._bend is None:
            return straight
        placed = self._placement.to_field(self._layout.samples(first, count).fractions, clip=False)
        placed += self._bend.moved(first, count)
        return replace(straight, positions=on_dac(np.clip(placed, 0.0, LAST_FRACTION), self.recipe.dac_bits))

    def _straight(self, first: int, count: int) -> PathChunk:
        settle = self.recipe.settle
        # One sample more in front gives the length of the jump to the first.
        lead = 1 if settle is not None and first > 0 else 0
        samples = self._layout.samples(first - lead, count + lead)
        positions = self._place(samples.fractions)
        weight = samples.weight
        if weight is None:
            dwell = np.full(count, quantised_dwell_us(np.array([self.recipe.dwell_us]), self.recipe.clock_mhz)[0])
        else:
            dwell = quantised_dwell_us(weight[lead:] * self.recipe.dwell_us, self.recipe.clock_mhz)
        if settle is None or count == 0:
            return PathChunk(first, positions[lead:], dwell, np.zeros(count), samples.move[lead:])
        if lead == 0:
            # A frame starts where the frame before it, the same path, ended.
            positions = np.concatenate([self._place(self._layout.samples(self.count - 1, 1).fractions), positions])
        move = samples.move[lead:]
        distance = np.zeros(count)
        at = np.flatnonzero(move)
        distance[at] = np.hypot(*((positions[at + 1] - positions[at]) * self.shape).T)
        return PathChunk(first, positions[1:], dwell, settle.moves_us(distance, move), move)

    def _place(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        return on_dac(self._placement.to_field(fractions), self.recipe.dac_bits)

    @cached_property
    def _whole(self) -> PathChunk:
        if self.count <= _BLOCK:
            return self._expand(0, self.count)
        whole = PathChunk(
            0, np.empty((self.count, 2)), np.empty(self.count), np.empty(self.count), np.empty(self.count, np.uint8)
        )
        for first in range(0, self.count, _BLOCK):
            block = self._expand(first, min(_BLOCK, self.count - first))
            part = slice(first, first + len(block))
            whole.positions[part], whole.dwell_us[part] = block.positions, block.dwell_us
            whole.move_us[part], whole.kind[part] = block.move_us, block.kind
        return whole

    @property
    def positions(self) -> NDArray[np.float64]:
        """All positions (N, 2), expanded once and kept."""
        return self._whole.positions

    @property
    def dwell_us(self) -> NDArray[np.float64]:
        """All dwells (N,), expanded once and kept."""
        return self._whole.dwell_us

    @property
    def move_us(self) -> NDArray[np.float64]:
        """All blanked times before samples (N,), expanded once and kept."""
        return self._whole.move_us

    @cached_property
    def _touched(self) -> int:
        recipe = self.recipe
        if self._bend is not None:  # which depends on when each sample is scanned
            touched = np.zeros(self.shape[0] * self.shape[1], dtype=np.bool_)
            for chunk in self.chunks(CHUNK):
                touched[pixel_index(chunk.positions, self.shape)] = True
            return int(np.count_nonzero(touched))
        return _touched_pixels(recipe.pattern, self._placement, recipe.dac_bits)

    @cached_property
    def _dwell(self) -> tuple[float, float, float]:
        """Sum, shortest and longest of the dwells in µs."""
        if not self.weighted:
            one = self.dwell_per_pixel_us
            return one * self.count, one, one
        parts = [(float(c.dwell_us.sum()), float(c.dwell_us.min()), float(c.dwell_us.max())) for c in self.chunks()]
        return sum(p[0] for p in parts), min(p[1] for p in parts), max(p[2] for p in parts)

    @cached_property
    def weighted(self) -> bool:
        """Whether the samples' dwells differ."""
        # Asked of the layout that is found soonest: an order of visits changes no dwell.
        layout = _laid(self.recipe.pattern.in_any_order(), self._placement.canvas)
        return layout.samples(0, 1).weight is not None

    @property
    def exposure_us(self) -> float:
        """Time with the beam on the specimen, Σ dwell."""
        return self._dwell[0]

    @property
    def dwell_range_us(self) -> tuple[float, float]:
        """The shortest and the longest dwell."""
        return self._dwell[1:]

    @cached_property
    def _moves(self) -> tuple[float, float, int]:
        """Time of the jumps and of the flybacks in µs, and how many of both there are."""
        jumps_us = flybacks_us = 0.0
        moves = 0
        for chunk in self.chunks():
            back = float(chunk.move_us[chunk.kind == FLYBACK].sum())
            flybacks_us += back
            jumps_us += float(chunk.move_us.sum()) - back
            moves += int(np.count_nonzero(chunk.kind))
        return jumps_us, flybacks_us, moves

    @property
    def move_time_us(self) -> float:
        """Blanked time between samples: settling and flyback."""
        return self._moves[0] + self._moves[1]

    @property
    def settle_time_us(self) -> float:
        """Blanked time of jumps, flybacks left out."""
        return self._moves[0]

    @property
    def flyback_time_us(self) -> float:
        """Blanked time of line and frame flybacks."""
        return self._moves[1]

    @property
    def moves(self) -> int:
        """How often the beam is moved blanked."""
        return self._moves[2]

    @property
    def duration_us(self) -> float:
        """Time of the whole frame."""
        return self.exposure_us + self.move_time_us

    @property
    def dwell_per_pixel_us(self) -> float:
        """The plan's dwell, as the sample clock allows it: what a full raster would spend on each pixel."""
        return float(quantised_dwell_us(np.array([self.recipe.dwell_us]), self.recipe.clock_mhz)[0])

    @cached_property
    def coverage(self) -> Coverage:
        """Nominal, touched and dose coverage of the region's pixels."""
        canvas = self._placement.canvas
        goal = self.recipe.pattern.coverage
        return Coverage(
            nominal=goal.value if goal else self.recipe.pattern.geometric_coverage(canvas),
            touched=min(1.0, self._touched / canvas.pixels),
            dose=self.exposure_us / (self.dwell_per_pixel_us * canvas.pixels),
        )

    def electrons(self, beam_current_pa: float) -> float:
        """Electrons on the specimen in one frame, Σ dwell·current."""
        return self.exposure_us * beam_current_pa * ELECTRONS_PER_PA_US


@lru_cache(maxsize=2)
def _laid(pattern: Pattern, canvas: Canvas) -> Layout:
    # The layout that a coverage was just solved with is the one that is expanded next.
    return pattern.lay(canvas)


@lru_cache(maxsize=1024)
def _touched_pixels(pattern: Pattern, placement: Placement, dac_bits: int | None) -> int:
    """Pixels of the frame that hold at least one sample."""
    # Which pixels are touched does not depend on the order in which they are, which may be costly to find.
    layout = _laid(pattern.in_any_order(), placement.canvas)
    touched = np.zeros(placement.shape[0] * placement.shape[1], dtype=np.bool_)
    for first in range(0, layout.count, CHUNK):
        fractions = layout.samples(first, min(CHUNK, layout.count - first)).fractions
        touched[pixel_index(on_dac(placement.to_field(fractions), dac_bits), placement.shape)] = True
    return int(np.count_nonzero(touched))
