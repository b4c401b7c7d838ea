"""Lines that wander: line hops and the momentum walk.

Both are jittered grids that a scan coil can follow, because the beam never has to leave a line.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import LAST_FRACTION, Canvas, finite
from scancontrol.paths.pattern import (
    CONTINUOUS,
    FLYBACK,
    JUMP,
    FunctionLayout,
    Layout,
    Pattern,
    Samples,
    check_points,
    check_seed,
)
from scancontrol.paths.patterns.blocks import BlockLayout
from scancontrol.paths.patterns.hashing import uniform

__all__ = ["LineHop", "MomentumWalk", "momentum_walk"]

Array = NDArray[np.float64]


class LineHop(Pattern, frozen=True, kw_only=True, tag="line_hop"):
    """Lines whose samples hop up and down by at most ``hop_px`` rows within the line's band; none is blanked.

    Kovarik, Stevens, Liyu and Browning, Appl. Phys. Lett. 109, 164102 (2016). The bands tile the region; every sample
    is on a pixel of its own.
    """

    points: int | None = None
    hop_px: int = 2
    seed: int = 0
    seed_per_frame: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_points(self.points, self.coverage)
        if not 1 <= self.hop_px <= 1000:
            raise InvalidInput("hop_px", self.hop_px, "is outside 1 to 1000", "give the longest hop in rows")

    @property
    def solved(self) -> bool:
        return self.points is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, points=max(1, round(density * canvas.pixels)))

    def lay(self, canvas: Canvas) -> Layout:
        height, width = max(1, round(canvas.height_px)), max(1, round(canvas.width_px))
        points = self.points or 1
        lines = -(-points // width)
        if lines > height:
            raise InvalidInput("points", points, f"is above the region's pixels, {height * width}", "ask for fewer")

        def stretch(first: int, count: int) -> Samples:
            if count == 0:
                return Samples(np.empty((0, 2)), None, np.empty(0, dtype=np.uint8))
            # A walk is known from its line's beginning on.
            begin = (((first + 1) * lines - 1) // points) * points // lines
            index = np.arange(begin, first + count)
            line = ((index + 1) * lines - 1) // points
            start = line * points // lines
            in_line = (line + 1) * points // lines - start
            hops = np.floor(uniform(self.seed, index, 0) * (2 * self.hop_px + 1)).astype(np.int64) - self.hop_px
            top = line * height // lines
            band = (line + 1) * height // lines - top
            wander = np.cumsum(hops)
            at_start = start - begin
            wander -= wander[at_start] - hops[at_start]
            wander += np.floor(uniform(self.seed, line, 1) * band).astype(np.int64)
            wander %= 2 * band  # reflected at the band's edges
            row = top + np.minimum(wander, 2 * band - 1 - wander)
            step = index - start
            step = np.where(line % 2 == 1, in_line - 1 - step, step)
            column = (2 * step + 1) * width // (2 * in_line)
            keep = first - begin
            fractions = np.stack([(row + 0.5) / height, (column + 0.5) / width], axis=1)[keep:]
            move = np.where(index == start, JUMP, CONTINUOUS).astype(np.uint8)[keep:]
            if first == 0:
                move[0] = FLYBACK
            return Samples(fractions, None, move)

        return FunctionLayout(points, stretch)


class MomentumWalk(Pattern, frozen=True, kw_only=True, tag="momentum_walk"):
    """Channels ``pitch_px`` apart along which the beam wanders with momentum, and the same across them.

    The walk is Ede's (:func:`momentum_walk`). ``transpose: own`` crosses the channels with their own transpose,
    ``independent`` with another walk, ``none`` leaves them alone. Samples lie ``step_px`` apart along the walk.
    """

    channels: int | None = None  # in the direction of the region's height
    amplitude_px: float = 1.0
    step_px: float = 1.0
    transpose: Literal["own", "independent", "none"] = "own"
    seed: int = 0
    seed_per_frame: bool = False

    def __post_init__(self) -> None:
        for name in ("amplitude_px", "step_px"):
            value = getattr(self, name)
            finite(name, value)
            if not 0.05 <= value <= 10_000:
                raise InvalidInput(name, value, "is outside 0.05 to 10000", "1 is the published value")
        if self.channels is None and self.coverage is None:
            raise InvalidInput("channels", None, "is missing", "give it, or the coverage to solve it for")
        if self.channels is not None and not 1 <= self.channels <= 1 << 16:
            raise InvalidInput("channels", self.channels, "is outside 1 to 65536", "give the number of channels")

    @property
    def solved(self) -> bool:
        return self.channels is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        # Whole channels are coarse: their number follows from what is asked, with some to spare, and the way between
        # samples alone from the density. A walk touches about 1.35 pixels to a column.
        per_channel = 1.35 / canvas.height_px * (1.0 if self.transpose == "none" else 2.0)
        goal = self.coverage.value if self.coverage is not None else density
        channels = math.ceil(goal / per_channel * 1.08)
        step = min(max(channels * per_channel / density, 0.05), 10_000)
        return msgspec.structs.replace(self, channels=channels, step_px=step)

    def lay(self, canvas: Canvas) -> Layout:
        families = [_Family(self, canvas, across=False)]
        if self.transpose != "none":
            families.append(_Family(self, canvas, across=True))
        counts = np.concatenate([family.counts for family in families])
        if counts.sum() == 0:
            raise InvalidInput("channels", self.channels, "gives an empty path", "give more channels")

        def block(k: int) -> Samples:
            split = len(families[0].counts)
            samples = families[0].block(k) if k < split else families[1].block(k - split)
            if k == 0:
                samples.move[:1] = FLYBACK
            return samples

        return BlockLayout(counts, block)


class _Family:
    """The channels of one direction, in blocks of channels walked together."""

    def __init__(self, walk: MomentumWalk, canvas: Canvas, *, across: bool) -> None:
        self._walk, self._across = walk, across
        height, width = canvas.height_px, canvas.width_px
        self._height, self._width = (width, height) if across else (height, width)
        # Across, the pitch stays the same in pixels.
        channels = walk.channels or 1
        self._channels = max(1, round(channels * self._height / height)) if across else channels
        self._pitch = self._height / self._channels
        self._stream = 1 if across and walk.transpose == "independent" else 0
        self._columns = max(2, math.ceil(self._width))
        self._together = max(1, (1 << 16) // self._columns)
        blocks = -(-self._channels // self._together)
        self.counts = np.array([sum(len(part) for part in self._drawn(k)) for k in range(blocks)], dtype=np.int64)

    def _drawn(self, k: int) -> list[Array]:
        """For each channel of block ``k``, positions (n, 2) in pixels every ``step_px`` along its walk."""
        first, last = k * self._together, min((k + 1) * self._together, self._channels)
        limit = max(0.0, (self._pitch - 1) / 2)
        walk = self._walk
        y = _walked(first, last, self._columns, limit, walk.amplitude_px, walk.seed, self._stream)
        x = np.linspace(0.5, self._width - 0.5, self._columns)
        drawn = []
        for channel, offset in zip(range(first, last), y, strict=True):
            row = np.clip((channel + 0.5) * self._pitch + offset, 0.0, math.nextafter(self._height, 0.0))
            length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(row)))])
            along = np.arange(0.0, length[-1] + 1e-9, self._walk.step_px)
            points = np.stack([np.interp(along, length, row), np.interp(along, length, x)], axis=1)
            drawn.append(points[::-1] if channel % 2 else points)
        return drawn

    def block(self, k: int) -> Samples:
        parts = self._drawn(k)
        move = np.full(int(self.counts[k]), CONTINUOUS if self._walk.step_px < 1.5 else JUMP, dtype=np.uint8)
        move[np.cumsum([0] + [len(part) for part in parts[:-1]])] = JUMP
        fractions = np.minimum(np.concatenate(parts) / (self._height, self._width), LAST_FRACTION)
        return Samples(fractions[:, ::-1] if self._across else fractions, None, move)


@lru_cache(maxsize=16)
def _walked(first: int, last: int, columns: int, limit: float, amplitude: float, seed: int, stream: int) -> Array:
    return momentum_walk(np.arange(first, last), columns, limit, amplitude, seed, stream)


def momentum_walk(
    channels: NDArray[np.int64], columns: int, limit: float, amplitude: float, seed: int, stream: int = 0
) -> Array:
    """Offsets (channels, columns) in rows of walks along columns, within ±``limit``.

    At every column, with even odds, the momentum is halved, pushed by ``amplitude/2·(1 + N(0, 1))`` and moves the
    beam; else the beam is put to ``amplitude·(N(0, 1) − 1)``. At the limit the momentum turns back. After Ede's
    partial-scan figures (2019), drawn from numbers of our own.
    """
    from scipy.special import ndtri  # slow to load, and most paths need none of it

    index = channels[:, None] * (1 << 24) + np.arange(columns)
    moves = uniform(seed, index, 4 * stream) < 0.5
    push = ndtri(np.clip(uniform(seed, index, 4 * stream + 1), 1e-12, 1 - 1e-12))
    pushed, put = 0.5 * amplitude * (1 + push), amplitude * (push - 1)
    offset = np.zeros((len(channels), columns))
    y, momentum = np.zeros(len(channels)), np.zeros(len(channels))
    for column in range(columns):
        moving = moves[:, column]
        momentum = np.where(moving, 0.5 * momentum + pushed[:, column], momentum)
        y = np.where(moving, y + momentum, put[:, column])
        momentum = np.where(np.abs(y) > limit, -momentum, momentum)
        y = offset[:, column] = np.minimum(np.maximum(y, -limit), limit)
    return offset
