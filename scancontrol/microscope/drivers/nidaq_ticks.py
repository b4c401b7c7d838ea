"""A scan path as clock ticks, and ticks' readings as samples, a stretch at a time whatever the dwell. Pure.

Every sample is a blanked move of whole ticks, perhaps none, and a dwell of at least one. A dwell may be a million
ticks long: nothing here is ever as long as a dwell, only as long as what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.path import PathChunk, ScanPath

__all__ = ["PIECE", "Readings", "TickSource", "total_ticks", "whole_ticks"]

PIECE = 1 << 12
"""Samples of a path that are expanded at once."""

Ints = NDArray[np.int64]


def whole_ticks(chunk: PathChunk, rate_hz: float) -> tuple[Ints, Ints]:
    """Dwell and blanked move before it (n,) of each sample in ticks."""
    tick_us = 1e6 / rate_hz
    dwell = np.maximum(np.rint(chunk.dwell_us / tick_us), 1).astype(np.int64)
    move = np.ceil(chunk.move_us / tick_us - 1e-9).astype(np.int64)
    return dwell, move


def total_ticks(path: ScanPath, first_index: int, rate_hz: float) -> int:
    """Ticks of all samples from ``first_index`` on."""
    total = 0
    for first in range(first_index, path.count, 1 << 16):
        dwell, move = whole_ticks(path.chunk(first, min(1 << 16, path.count - first)), rate_hz)
        total += int(dwell.sum() + move.sum())
    return total


class TickSource:
    """The ticks of a path from one sample on.

    Args:
        path, first_index: what to scan.
        rate_hz: of the clock.
        volts_of: turns positions (n, 2) as (y, x) into volts (n, 2) as (x, y).
        readings: is told of every sample whose ticks are handed out.
    """

    def __init__(
        self,
        path: ScanPath,
        first_index: int,
        rate_hz: float,
        volts_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        readings: Readings,
    ) -> None:
        self._path, self._rate_hz, self._volts_of, self._readings = path, rate_hz, volts_of, readings
        self._next = first_index  # sample to expand next
        self._given = 0  # ticks handed out
        self._volts = np.zeros((0, 2))  # of each segment at hand: a move or a dwell
        self._dark = np.zeros(0, np.bool_)
        self._ends = np.zeros(0, np.int64)  # in ticks since the beginning

    def take(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The next ticks, at most ``most``: volts (2, n) as (x, y), and whether the beam is blanked (n,)."""
        while self._next < self._path.count and (not len(self._ends) or self._ends[-1] < self._given + most):
            self._expand()
        stop = min(self._given + most, int(self._ends[-1]) if len(self._ends) else self._given)
        clipped = np.clip(self._ends, self._given, stop)
        counts = clipped - np.concatenate([[self._given], clipped[:-1]]) if len(clipped) else clipped
        volts = np.repeat(self._volts, counts, axis=0).T
        dark = np.repeat(self._dark, counts)
        self._given = stop
        over = int(np.searchsorted(self._ends, stop, side="right"))
        self._volts, self._dark, self._ends = self._volts[over:], self._dark[over:], self._ends[over:]
        return volts, dark

    def _expand(self) -> None:
        chunk = self._path.chunk(self._next, min(PIECE, self._path.count - self._next))
        dwell, move = whole_ticks(chunk, self._rate_hz)
        self._readings.expect(dwell, move)
        before = int(self._ends[-1]) if len(self._ends) else self._given
        ends = before + np.cumsum(np.stack([move, dwell], axis=1).ravel())
        self._ends = np.concatenate([self._ends, ends])
        self._volts = np.concatenate([self._volts, np.repeat(self._volts_of(chunk.positions), 2, axis=0)])
        self._dark = np.concatenate([self._dark, np.tile([True, False], len(chunk))])
        self._next += len(chunk)


class Readings:
    """What the inputs saw in each tick, averaged over the dwell of each sample."""

    def __init__(self, inputs: int) -> None:
        self._dwell = np.zeros(0, np.int64)  # of samples that are not complete
        self._ends = np.zeros(0, np.int64)  # in ticks since the beginning
        self._expected = 0  # ticks of all samples so far
        self._seen = 0  # ticks
        self._sum = np.zeros(inputs)  # over the dwell of the first sample, as far as it was seen

    def expect(self, dwell: Ints, move: Ints) -> None:
        """These samples (n,) come next."""
        ends = self._expected + np.cumsum(dwell + move)
        self._dwell = np.concatenate([self._dwell, dwell])
        self._ends = np.concatenate([self._ends, ends])
        self._expected = int(ends[-1])

    @property
    def seen(self) -> int:
        """Ticks read."""
        return self._seen

    def put(self, volts: NDArray[np.float64]) -> tuple[NDArray[np.float64], Ints, int]:
        """Readings (inputs, k) of the next ticks.

        Returns the mean (inputs, n) of each sample that they complete, the dwell (n,) of each in ticks, and the tick
        at which the first of them began.
        """
        first, last = self._seen, min(self._seen + volts.shape[1], self._expected)
        volts = volts[:, : last - first]
        self._seen = last
        done = int(np.searchsorted(self._ends, last, side="right"))
        touched = min(done + 1, len(self._ends))
        ends, dwell = self._ends[:touched], self._dwell[:touched]
        total = np.concatenate([np.zeros((len(volts), 1)), np.cumsum(volts, axis=1)], axis=1)
        stop = np.clip(ends, first, last) - first
        start = np.clip(ends - dwell, first, last) - first
        sums = total[:, stop] - total[:, start]
        if touched:
            sums[:, 0] += self._sum
        self._sum = sums[:, done].copy() if touched > done else np.zeros(len(volts))
        begun = int(ends[0] - dwell[0]) if done else last
        self._ends, self._dwell = self._ends[done:], self._dwell[done:]
        return sums[:, :done] / dwell[:done], dwell[:done].copy(), begun

    def cut_off(self) -> int:
        """Ticks with beam of the sample that was begun and is not complete."""
        if not len(self._ends):
            return 0
        return max(0, self._seen - int(self._ends[0] - self._dwell[0]))

    def lit_until(self, tick: int) -> int:
        """Ticks with beam from what was seen to ``tick``, of the samples expected."""
        stop = np.clip(self._ends, self._seen, tick)
        start = np.clip(self._ends - self._dwell, self._seen, tick)
        return int((stop - start).sum())
