"""What was asked of the restorer and has not been answered: pure bookkeeping, no sockets, clocks or threads.

Every complete frame that is handed in comes out exactly once: restored, or missed with a reason. Unfinished
(progressive) frames may vanish silently, because a better one follows.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.restoration import Provenance

__all__ = ["Asked", "Ledger", "MissedFrame", "RestoredFrame"]


@dataclass(frozen=True, eq=False)
class RestoredFrame:
    """A restoration as it arrived. Images are (rows, cols) float32 in sample units, read-only.

    ``complete`` says that it was made from all samples of the frame.
    ``turnaround_ms`` is the time from handing the samples in to having the images, of which ``compute_ms`` was
    spent restoring and ``waited_ms`` in the restorer's queue.
    """

    stream: str
    frame: int
    path_id: str
    complete: bool
    estimate: NDArray[np.float32]
    interval: NDArray[np.float32] | None
    made_by: Provenance
    compute_ms: float
    waited_ms: float
    turnaround_ms: float


@dataclass(frozen=True)
class MissedFrame:
    """A complete frame that was not restored; where it was recorded, it can be restored afterwards."""

    stream: str
    frame: int
    reason: str  # dropped: a newer one took its place; died: with the restorer; or what the restorer said


@dataclass(frozen=True, eq=False)
class Asked:
    """One request, with the samples it carries."""

    request: int
    stream: str
    frame: int
    path_id: str
    samples: NDArray[Any]
    live: bool
    complete: bool
    asked_ns: int


class Ledger:
    """Requests that wait to be sent, and those that were sent and not answered."""

    def __init__(self, recorded_limit: int) -> None:
        self.recorded_limit = recorded_limit
        self._next = 0
        self._live: OrderedDict[tuple[str, bool], Asked] = OrderedDict()
        self._recorded: deque[Asked] = deque()
        self._sent: dict[int, Asked] = {}

    def __len__(self) -> int:
        return len(self._live) + len(self._recorded) + len(self._sent)

    def room(self) -> bool:
        """Whether another recorded frame may be handed in."""
        sent = sum(not asked.live for asked in self._sent.values())
        return sent + len(self._recorded) < self.recorded_limit

    def ask(
        self, stream: str, frame: int, path_id: str, samples: NDArray[Any], *, live: bool, complete: bool, now_ns: int
    ) -> list[MissedFrame] | None:
        """Take a frame in; returns the waiting ones that gave way to it, or None if there is no room for it."""
        if not live and not self.room():
            return None
        asked = Asked(self._next, stream, frame, path_id, samples, live, complete, now_ns)
        self._next += 1
        if not live:
            self._recorded.append(asked)
            return []
        gone = []
        # A complete frame is worth more than the unfinished one after it, so only its like takes its place.
        for key in ((stream, True), (stream, False)) if complete else ((stream, False),):
            old = self._live.pop(key, None)
            if old is not None and old.complete:
                gone.append(MissedFrame(stream, old.frame, "dropped"))
        self._live[stream, complete] = asked
        return gone

    def next(self) -> Asked | None:
        """The next request to send, which counts as sent from now on; None if none waits."""
        if self._live:
            asked = self._live.popitem(last=False)[1]
        elif self._recorded:
            asked = self._recorded.popleft()
        else:
            return None
        self._sent[asked.request] = asked
        return asked

    def put_back(self, asked: Asked) -> None:
        """It could not be sent after all: it waits again, in front, unless a newer one has come."""
        self._sent.pop(asked.request, None)
        if not asked.live:
            self._recorded.appendleft(asked)
        elif (asked.stream, asked.complete) not in self._live:
            self._live[asked.stream, asked.complete] = asked
            self._live.move_to_end((asked.stream, asked.complete), last=False)

    def answered(self, request: int | None) -> Asked | None:
        """The request that an answer belongs to; None if nobody waits for it any more."""
        return None if request is None else self._sent.pop(request, None)

    def lost(self, reason: str) -> list[MissedFrame]:
        """The restorer is gone: live frames it had are missed, recorded ones wait again."""
        missed = []
        for asked in sorted(self._sent.values(), key=lambda asked: -asked.request):
            if not asked.live:
                self._recorded.appendleft(asked)
            elif asked.complete:
                missed.append(MissedFrame(asked.stream, asked.frame, reason))
        self._sent.clear()
        return missed[::-1]

    def close(self, reason: str) -> list[MissedFrame]:
        """Nothing will be sent any more: everything complete that waits or was sent is missed."""
        waiting = [*self._sent.values(), *self._live.values(), *self._recorded]
        self._sent.clear()
        self._live.clear()
        self._recorded.clear()
        return [MissedFrame(asked.stream, asked.frame, reason) for asked in waiting if asked.complete]
