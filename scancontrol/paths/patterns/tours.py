"""Short tours: the order in which scattered points are visited.

A tour that starts in the order of a Hilbert curve is improved by 2-opt (reverse a stretch) and Or-opt (carry a stretch
of up to three points elsewhere), Bentley, ORSA J. Computing 4, 387 (1992): only moves that join a point to one of its
nearest neighbours are judged. All are judged at once, and the best of those that do not overlap are made together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BHH", "shortened", "tour_length"]

BHH = 0.7124
"""Beardwood–Halton–Hammersley: the shortest tour of N uniform points in an area A tends to 0.7124·sqrt(N·A).
The value is that of Johnson, McGeoch and Rothberg (SODA 1996)."""

NEIGHBOURS = 6
REACH = 1000
"""The longest stretch, in points, that one move changes: long ones keep others from being made beside them."""

REVERSE, TURNED = 0, 10
"""How a stretch is rearranged: reversed; else so many points carried from its front to its end, or, where negative,
from its end to its front; times ten where the carried points are turned round."""

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def tour_length(points: Array) -> float:
    """Length of the open tour through ``points`` (n, 2)."""
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def shortened(points: Array, *, sweeps: int = 60) -> Ints:
    """Order (n,) in which to visit ``points`` (n, 2); the first and the last point stay where they are."""
    n = len(points)
    order = np.arange(n)
    if n < 5:
        return order
    from scipy.spatial import cKDTree  # slow to load, and most paths are no tours

    near = cKDTree(points).query(points, k=min(NEIGHBOURS + 1, n))[1][:, 1:].astype(np.int64)
    awake = np.ones(n, dtype=np.bool_)
    for _ in range(sweeps):
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        moves = _Moves(points, order)
        at = np.flatnonzero(awake)
        awake[:] = False
        if not len(at):
            break
        i = np.repeat(place[at], near.shape[1])
        j = place[near[at].ravel()]
        moves.reversals(i, j)
        moves.carries(i, j)
        moves.make(order, awake)
    return order


class _Moves:
    """Moves that shorten a tour, each a new order of the points between two places of it."""

    def __init__(self, points: Array, order: Ints) -> None:
        self._p = points[order]
        self._n = len(order)
        self._found: list[tuple[Array, Ints, Ints, Ints]] = []  # gain, first, last, how

    def _d(self, i: Ints, j: Ints) -> Array:
        difference = self._p[i] - self._p[j]
        length: Array = np.sqrt(difference[:, 0] ** 2 + difference[:, 1] ** 2)
        return length

    def _keep(self, gain: Array, first: Ints, last: Ints, how: Ints) -> None:
        good = gain > 1e-9
        self._found.append((gain[good], first[good], last[good], how[good]))

    def reversals(self, i: Ints, j: Ints) -> None:
        """Join i to j, and their successors (or their predecessors), by reversing what lies between."""
        low, high = np.minimum(i, j), np.maximum(i, j)
        for first, last in ((low + 1, high), (low, high - 1)):
            fits = (first >= 1) & (last <= self._n - 2) & (last > first) & (last - first < REACH)
            f, t = first[fits], last[fits]
            gain = self._d(f - 1, f) + self._d(t, t + 1) - self._d(f - 1, t) - self._d(f, t + 1)
            self._keep(gain, f, t, np.full(len(f), REVERSE))

    def carries(self, i: Ints, j: Ints) -> None:
        """Carry the one to three points that begin or end with i to lie beside j, either way round."""
        for size in (1, 2, 3):
            for start in (i,) if size == 1 else (i, i - size + 1):
                for place in (j, j - 1):  # between place and place + 1
                    inside = (start >= 1) & (start + size <= self._n - 1)
                    ahead = inside & (place >= start + size) & (place <= self._n - 2) & (place - start < REACH)
                    behind = inside & (place + 1 < start) & (place >= 0) & (start - place < REACH)
                    self._carry(start[ahead], place[ahead], size, forwards=True)
                    self._carry(start[behind], place[behind], size, forwards=False)

    def _carry(self, start: Ints, place: Ints, size: int, *, forwards: bool) -> None:
        end = start + size - 1
        gain = (
            self._d(start - 1, start) + self._d(end, end + 1) + self._d(place, place + 1) - self._d(start - 1, end + 1)
        )
        first, last = (start, place) if forwards else (place + 1, end)
        straight = gain - self._d(place, start) - self._d(end, place + 1)
        self._keep(straight, first, last, np.full(len(start), size if forwards else -size))
        if size > 1:
            turned = gain - self._d(place, end) - self._d(start, place + 1)
            self._keep(turned, first, last, np.full(len(start), (size if forwards else -size) * TURNED))

    def make(self, order: Ints, awake: NDArray[np.bool_]) -> None:
        """Make the best moves that do not overlap, in place, and wake the points that may still move."""
        gain, first, last, how = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        for ends in (first - 1, first, last, last + 1):  # of moves that now have to wait for another sweep, too
            awake[order[ends]] = True
        taken = bytearray(self._n + 2)
        best = np.lexsort((how, last, first, -gain))
        for low, high, code in zip(first[best].tolist(), last[best].tolist(), how[best].tolist(), strict=True):
            if taken.find(1, low - 1, high + 2) >= 0:
                continue
            taken[low - 1 : high + 2] = b"\x01" * (high - low + 3)
            part = order[low : high + 1]
            order[low : high + 1] = _rearranged(part, code)
            awake[order[low : low + 4]] = True
            awake[order[high - 3 : high + 1]] = True


def _rearranged(part: Ints, how: int) -> Ints:
    if how == REVERSE:
        return part[::-1].copy()
    turned = abs(how) >= TURNED
    cut = how // TURNED if turned and how > 0 else -(-how // TURNED) if turned else how
    front, back = part[:cut], part[cut:]
    if turned:
        front, back = (front[::-1], back) if cut > 0 else (front, back[::-1])
    return np.concatenate([back, front])
