"""Which frame the restorer does next, and which give way: bounded, and without sockets or clocks.

Live frames: of each stream at most one complete and one unfinished frame wait. A newer complete frame takes the
place of a waiting one, and of any unfinished ones; a newer unfinished frame takes the place only of an unfinished
one. Recorded frames: never dropped, at most ``recorded_limit`` wait, and live frames go first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np

from scancontrol.wire.restoring import Restore

__all__ = ["Backlog", "Job"]


@dataclass(frozen=True)
class Job:
    """A request that waits: who asked, what for, the samples (n,), and when it came (monotonic ns)."""

    client: bytes
    request: Restore
    samples: np.ndarray
    received_ns: int


class Backlog:
    """Requests in the order in which they will be done."""

    def __init__(self, recorded_limit: int = 8, streams_limit: int = 64) -> None:
        self._recorded_limit = recorded_limit
        self._streams_limit = streams_limit
        self._live: OrderedDict[tuple[bytes, str, bool], Job] = OrderedDict()
        self._recorded: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._live) + len(self._recorded)

    def put(self, job: Job) -> list[Job] | None:
        """Queue a request; returns the live ones that gave way to it, or None if there is no room for it."""
        request = job.request
        if not request.live:
            if len(self._recorded) >= self._recorded_limit:
                return None
            self._recorded.append(job)
            return []
        key = (job.client, request.stream, request.complete)
        superseded = [key, (job.client, request.stream, False)] if request.complete else [key]
        dropped = [self._live.pop(old) for old in dict.fromkeys(superseded) if old in self._live]
        if len(self._live) >= 2 * self._streams_limit:
            dropped.append(self._live.popitem(last=False)[1])
        self._live[key] = job
        return dropped

    def take(self) -> Job | None:
        """The next request to do; None if none waits."""
        if self._live:
            return self._live.popitem(last=False)[1]
        return self._recorded.popleft() if self._recorded else None

    def forget(self, client: bytes) -> None:
        """Drop everything that a client asked for."""
        for key in [key for key in self._live if key[0] == client]:
            del self._live[key]
        self._recorded = deque(job for job in self._recorded if job.client != client)
