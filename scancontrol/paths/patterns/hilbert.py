"""The Hilbert curve on a rectangle of any size, computed for many indices at once.

The construction is the generalised Hilbert curve of Červený (2018): a rectangle longer than 3:2 is cut in two across
its length, any other into three, at even lengths where it can be, until strips one cell wide are left. Here all
rectangles of one depth are cut together, and only those that hold a wanted index are kept, so that the cost of a
stretch does not depend on the length of the curve.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas, finite
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, FunctionLayout, Layout, Pattern, Samples

__all__ = ["Hilbert", "hilbert_cells"]

Ints = NDArray[np.int64]


class _Rectangles(NamedTuple):
    """Rectangles (m,): the first cell, the unit steps along and across, and the lengths."""

    start: Ints  # index of the first cell along the curve
    y: Ints
    x: Ints
    along_y: Ints
    along_x: Ints
    across_y: Ints
    across_x: Ints
    length: Ints
    breadth: Ints

    def where(self, mask: NDArray[np.bool_]) -> _Rectangles:
        return _Rectangles(*(field[mask] for field in self))


LEAF = 16
"""Rectangles of at most this many cells a side are looked up instead of cut further."""


def hilbert_cells(index: Ints, rows: int, cols: int) -> Ints:
    """The cells (n, 2) as (row, column) that the curve over ``rows`` × ``cols`` visits at ``index`` (n,), sorted.

    Consecutive cells are neighbours; where both the longer side is odd and the shorter even, one step is diagonal.
    """
    cells = np.empty((len(index), 2), dtype=np.int64)
    one, none = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    if cols >= rows:
        open_ = _Rectangles(none, none, none, none, one, one, none, one * cols, one * rows)
    else:
        open_ = _Rectangles(none, none, none, one, none, none, one, one * rows, one * cols)
    while len(open_.start):
        low = np.searchsorted(index, open_.start)
        high = np.searchsorted(index, open_.start + open_.length * open_.breadth)
        wanted = high > low
        small = (open_.length <= LEAF) & (open_.breadth <= LEAF)
        done = wanted & (small | (open_.breadth == 1) | (open_.length == 1))
        _fill(cells, index, open_.where(done), low[done], high[done])
        open_ = _cut(open_.where(wanted & ~done))
    return cells


def _fill(cells: Ints, index: Ints, leaves: _Rectangles, low: Ints, high: Ints) -> None:
    """Write the wanted cells of the leaves; the wanted indices ``low`` to ``high`` lie in each."""
    for size in np.unique(np.stack([leaves.length, leaves.breadth]), axis=1).T:
        length, breadth = int(size[0]), int(size[1])
        alike = (leaves.length == length) & (leaves.breadth == breadth)
        some = leaves.where(alike)
        counts = (high - low)[alike]
        of = np.repeat(np.arange(len(counts)), counts)
        at = np.arange(len(of)) + np.repeat(low[alike] - (np.cumsum(counts) - counts), counts)
        offset = index[at] - some.start[of]
        if length == 1 or breadth == 1:
            along, across = (offset, 0 * offset) if breadth == 1 else (0 * offset, offset)
        else:
            across, along = _leaf_table(length, breadth)[offset].T
        cells[at, 0] = some.y[of] + along * some.along_y[of] + across * some.across_y[of]
        cells[at, 1] = some.x[of] + along * some.along_x[of] + across * some.across_x[of]


@lru_cache(maxsize=LEAF * LEAF)
def _leaf_table(length: int, breadth: int) -> Ints:
    """Steps (across, along), as (cells, 2), of the curve over a rectangle that may be longer across than along."""
    first = _Rectangles(*(np.full(1, v, dtype=np.int64) for v in (0, 0, 0, 0, 1, 1, 0, length, breadth)))
    table = np.empty((length * breadth, 2), dtype=np.int64)
    index = np.arange(length * breadth)
    open_ = first
    while len(open_.start):
        strip = (open_.breadth == 1) | (open_.length == 1)
        strips = open_.where(strip)
        low = strips.start
        _fill(table, index, strips, low, low + strips.length * strips.breadth)
        open_ = _cut(open_.where(~strip))
    return table


def _cut(r: _Rectangles) -> _Rectangles:
    """Cut every rectangle into the two or three that the curve passes one after another."""
    half_l = r.length // 2
    half_b = r.breadth // 2
    long = 2 * r.length > 3 * r.breadth
    half_l += long & (half_l % 2 == 1) & (r.length > 2)
    half_b += ~long & (half_b % 2 == 1) & (r.breadth > 2)

    two = r.where(long)
    at = half_l[long]
    first = two._replace(length=at)
    second = two._replace(
        start=two.start + at * two.breadth,
        y=two.y + at * two.along_y,
        x=two.x + at * two.along_x,
        length=two.length - at,
    )
    three = r.where(~long)
    at_l, at_b = half_l[~long], half_b[~long]
    entry = three._replace(
        along_y=three.across_y,
        along_x=three.across_x,
        across_y=three.along_y,
        across_x=three.along_x,
        length=at_b,
        breadth=at_l,
    )
    middle = three._replace(
        start=three.start + at_b * at_l,
        y=three.y + at_b * three.across_y,
        x=three.x + at_b * three.across_x,
        breadth=three.breadth - at_b,
    )
    exit_ = three._replace(
        start=middle.start + middle.length * middle.breadth,
        y=three.y + (three.length - 1) * three.along_y + (at_b - 1) * three.across_y,
        x=three.x + (three.length - 1) * three.along_x + (at_b - 1) * three.across_x,
        along_y=-three.across_y,
        along_x=-three.across_x,
        across_y=-three.along_y,
        across_x=-three.along_x,
        length=at_b,
        breadth=three.length - at_l,
    )
    return _Rectangles(*(np.concatenate(parts) for parts in zip(first, second, entry, middle, exit_, strict=True)))


class Hilbert(Pattern, frozen=True, kw_only=True, tag="hilbert"):
    """A Hilbert curve through ``nodes`` = (rows, cols) of equal cells, drawn straight from node to node.

    ``step_px`` is the way between samples; a node for each pixel, and a sample for each node, unless stated
    or solved for.
    """

    nodes: tuple[int, int] | None = None
    step_px: float = 1.0

    def __post_init__(self) -> None:
        finite("step_px", self.step_px)
        if not 0.05 <= self.step_px <= 10_000:
            raise InvalidInput("step_px", self.step_px, "is outside 0.05 to 10000", "1 draws a line without gaps")
        if self.nodes is not None and not (min(self.nodes) >= 1 and max(self.nodes) <= 1 << 20):
            raise InvalidInput("nodes", list(self.nodes), "is outside 1 to 1048576", "give (rows, cols) of the curve")

    @property
    def solved(self) -> bool:
        return self.coverage is None or self.nodes is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        # Whole numbers of nodes are coarse; the way between samples, from 1 px upwards, makes up for the rest.
        nodes = (max(1, round(density * canvas.height_px + 0.5)), max(1, round(density * canvas.width_px + 0.5)))
        length = nodes[0] * canvas.width_px + nodes[1] * canvas.height_px
        return msgspec.structs.replace(self, nodes=nodes, step_px=max(1.0, length / (2 * density * canvas.pixels)))

    def lay(self, canvas: Canvas) -> Layout:
        rows, cols = self.nodes or (max(1, round(canvas.height_px)), max(1, round(canvas.width_px)))
        total = rows * cols
        pitch_px = (canvas.height_px / rows + canvas.width_px / cols) / 2
        advance = self.step_px / pitch_px  # nodes per sample
        count = int((total - 1) / advance + 1e-9) + 1

        def stretch(first: int, n: int) -> Samples:
            along = np.minimum(np.arange(first, first + n) * advance, total - 1)
            node = along.astype(np.int64)
            low = int(node[0]) if n else 0
            high = min(int(node[-1]) + 2 if n else 0, total)
            if (high - low) <= 4 * n + 2:
                wanted, at = np.arange(low, high), node - low
                following = np.minimum(at + 1, high - low - 1)
            else:
                both = np.concatenate([node, np.minimum(node + 1, total - 1)])
                wanted, inverse = np.unique(both, return_inverse=True)
                at, following = inverse[:n], inverse[n:]
            cells = hilbert_cells(wanted, rows, cols)
            part = (along - node)[:, None]
            fractions = (cells[at] * (1 - part) + cells[following] * part + 0.5) / (rows, cols)
            move = np.full(n, CONTINUOUS if self.step_px < 1.5 else JUMP, dtype=np.uint8)
            if first == 0:
                move[:1] = FLYBACK
            return Samples(fractions, None, move)

        return FunctionLayout(count, stretch)
