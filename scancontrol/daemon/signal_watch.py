"""Watches samples for what no healthy detector or clock gives: said once, while they are recorded as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import FrameEnd, FrameStart

__all__ = ["SignalWatch"]

_STUCK_SAMPLES = 1024  # the same value so often in succession: even a dark channel has more noise than that
_CLOCK_NS = 50_000_000  # of disagreement between the microscope's own clocks


class SignalWatch:
    """A sink that names a channel which sticks or sends NaN, and stamps that cannot be; each once in a run.

    ``names`` are those of the channels, ``say`` takes a line for the operator.
    """

    def __init__(self, names: tuple[str, ...], say: Callable[[str], None]) -> None:
        self._names, self._say = names, say
        self._said: set[str] = set()
        self._same = [(np.nan, 0)] * len(names)  # the last value of each channel, and how often it came in succession
        self._begun_ns = 0

    def frame_started(self, start: FrameStart) -> None:
        """A new frame begins its own run of equal values."""
        self._same = [(np.nan, 0)] * len(self._names)
        self._begun_ns = start.monotonic_ns

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """Look at (channels, n) samples."""
        for channel, (name, row) in enumerate(zip(self._names, values, strict=False)):
            if values.dtype.kind == "f" and np.isnan(row).any():
                first = first_index + int(np.isnan(row).argmax())
                self._once(f"{name} nan", f"detector {name} sends NaN from sample {first} of frame {frame} on")
            value, count = self._longest(channel, row)
            if count >= _STUCK_SAMPLES:
                text = f"detector {name} gave the value {value:g} {count} times in succession in frame {frame}"
                self._once(f"{name} stuck", f"{text}: it is stuck, dead or saturated")

    def frame_ended(self, end: FrameEnd) -> None:
        """Hold the instrument's stamps against the server's clock."""
        if end.last_sample_ns is None:
            return
        ahead_ns, behind_ns = end.last_sample_ns - end.monotonic_ns, self._begun_ns - end.last_sample_ns
        if max(ahead_ns, behind_ns) > _CLOCK_NS:
            wrong = f"{ahead_ns * 1e-9:.3g} s after its end" if ahead_ns > 0 else f"{behind_ns * 1e-9:.3g} s too early"
            text = f"the microscope's clock is wrong: samples of frame {end.frame} are stamped {wrong}"
            self._once("clock", f"{text}; the recording keeps the stamps as they are")

    def _longest(self, channel: int, row: NDArray[Any]) -> tuple[float, int]:
        """The value that came most often in succession up to the end of ``row``, and how often."""
        last, count = self._same[channel]
        edges = np.concatenate(([0], np.flatnonzero(row[1:] != row[:-1]) + 1, [len(row)]))
        runs = np.diff(edges)
        if row[0] == last:
            runs[0] += count
        self._same[channel] = (float(row[-1]), int(runs[-1]))
        longest = int(runs.argmax())
        return float(row[edges[longest]]), int(runs[longest])

    def _once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._say(text)
