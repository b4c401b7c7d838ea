"""What a busy machine takes from this process, so that a time limit is held against what is left."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

__all__ = ["Stopwatch"]

_ASKED_S = 0.002
_LATE_S = 0.005  # woken so much later than asked for, this process got no time meanwhile


class Stopwatch:
    """Monotonic time without that in which no thread of this process ran: ``with Stopwatch() as watch: … watch.s``."""

    def __init__(self) -> None:
        self._lost: list[tuple[float, float]] = []  # when it began, and how long it was
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stopwatch")
        self.began = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        self.began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    @property
    def s(self) -> float:
        """Seconds since it began."""
        return self.until(time.monotonic())

    def until(self, moment: float) -> float:
        """Seconds from its beginning to ``moment`` of the monotonic clock."""
        return self.between(self.began, moment)

    def between(self, first: float, last: float) -> float:
        """Seconds between two moments of the monotonic clock."""
        lost = sum(max(0.0, min(last, at + took) - max(first, at)) for at, took in list(self._lost))
        return last - first - lost

    def _watch(self) -> None:
        while not self._end.is_set():
            asked = time.monotonic() + _ASKED_S
            self._end.wait(_ASKED_S)
            if (late_s := time.monotonic() - asked) > _LATE_S:
                self._lost.append((asked, late_s))
