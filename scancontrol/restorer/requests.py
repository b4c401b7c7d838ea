"""Which frame is restored next, and which give way: the one queue before the restorer. No sockets, clocks or threads.

The newest complete frame of a stream is always next: somebody is looking at it. After it come another look at it, the
unfinished frame, and then the frames that are to be stored, oldest first: a stream of their own, so that each is
restored with those that were overtaken before it. A frame that is not to be stored gives way to a newer one. Every
complete frame that is handed in comes out exactly once: answered, or missed with a reason. One request at a time is
out, for what has been sent cannot be overtaken.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.restoration import Look, Provenance
from scancontrol.wire.restoring import Register

__all__ = ["Asked", "MissedFrame", "ReadAgain", "Requests", "RestoredFrame"]

ReadAgain = Callable[[], NDArray[Any]]
"""Reads the samples (n,) of a stored frame; raises :class:`~scancontrol.errors.ScanControlError` if it cannot."""

_WAITING_BYTES = 256 << 20  # samples kept in memory for frames that are to be stored; beyond it they are read again
_TRIES = 2  # a frame whose restoration ended the restorer twice is not tried again


@dataclass(frozen=True, eq=False)
class RestoredFrame:
    """A restoration as it arrived. Images are (rows, cols) float32 in sample units, read-only.

    ``complete`` says that it was made from all samples of the frame. ``turnaround_ms`` is the time from handing the
    samples in to having the images, of which ``compute_ms`` was spent restoring and ``waited_ms`` in the restorer's
    own queue.
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
    strain: NDArray[np.float32] | None = None  # (8, n, n), see scancontrol.wire.restoring; None: no lattice
    look: Look | None = None  # another look at a frame that is restored, and stored, beside it


@dataclass(frozen=True)
class MissedFrame:
    """A complete frame that was not restored; where it was recorded, it can be restored afterwards."""

    stream: str
    frame: int
    reason: str  # dropped: a newer one took its place; died: with the restorer; or what the restorer said


@dataclass(frozen=True, eq=False)
class Asked:
    """One request, with the samples (n,) it carries; None once they have to be read again."""

    request: int
    stream: str
    frame: int
    path: Register
    samples: NDArray[Any] | None
    complete: bool
    read_again: ReadAgain | None  # given for a frame that is to be stored, which therefore never gives way
    asked_ns: int
    tries: int = 0
    look: Look | None = None
    overtaken: bool = False

    @property
    def remembered_as(self) -> str:
        """The stream whose frames it is restored with: what was overtaken, with what was overtaken before it."""
        return f"{self.stream}.overtaken" if self.overtaken else self.stream

    @property
    def bytes(self) -> int:
        """Memory that its samples take now."""
        return 0 if self.samples is None else self.samples.nbytes


class Requests:
    """Requests that wait, and the one that is out."""

    def __init__(self, waiting_bytes: int = _WAITING_BYTES) -> None:
        self._limit_bytes = waiting_bytes
        self._number = 0
        self._newest: OrderedDict[str, Asked] = OrderedDict()  # the newest complete frame of each stream
        self._partial: OrderedDict[str, Asked] = OrderedDict()  # the partial frame
        self._looks: OrderedDict[str, Asked] = OrderedDict()  # another look at the newest one
        self._stored: deque[Asked] = deque()  # to be stored, and overtaken by a newer frame
        self._out: Asked | None = None
        self._ahead: Register | None = None  # a path that may be prepared before its first frame
        self._out_forgotten = False  # its answer interests nobody any more

    def __len__(self) -> int:
        waiting = (self._newest, self._looks, self._partial, self._stored)
        return sum(map(len, waiting)) + (self._out is not None)

    def waiting(self, stream: str) -> int:
        """Complete frames of a stream that have not come out yet."""
        out = self._out is not None and not self._out_forgotten and self._out.complete and self._out.stream == stream
        return (stream in self._newest) + sum(asked.stream == stream for asked in self._stored) + out

    def ask(
        self,
        stream: str,
        frame: int,
        path: Register,
        samples: NDArray[Any],
        *,
        complete: bool = True,
        read_again: ReadAgain | None = None,
        look: Look | None = None,
        now_ns: int,
    ) -> list[MissedFrame]:
        """Take a frame in, or another ``look`` at one; returns the ones that gave way to it."""
        whole = complete and look is None  # one that comes out, answered or missed
        asked = Asked(self._number, stream, frame, path, samples, whole, read_again, now_ns, look=look)
        self._number += 1
        if look is not None:
            self._looks[stream] = asked
            return []
        if not complete:
            self._partial[stream] = asked
            return []
        self._partial.pop(stream, None)
        overtaken = self._newest.pop(stream, None)
        self._newest[stream] = asked
        if overtaken is None:
            return []
        if overtaken.read_again is None:
            return [MissedFrame(stream, overtaken.frame, "dropped")]
        self._store(overtaken)
        return []

    def next(self) -> Asked | None:
        """The next request to send, which is out from now on; None if none waits, or one is out."""
        if self._out is not None:
            return None
        if self._newest:
            asked = self._newest.popitem(last=False)[1]
        elif self._looks:
            asked = self._looks.popitem(last=False)[1]
        elif self._partial:
            asked = self._partial.popitem(last=False)[1]
        elif self._stored:
            asked = self._stored.popleft()
        else:
            return None
        self._out, self._out_forgotten = asked, False
        return asked

    def answered(self, request: int | None) -> Asked | None:
        """The request that an answer belongs to, which is out no more; None if nobody waits for it any more."""
        out = self._out
        if out is None or out.request != request:
            return None
        self._out = None
        return None if self._out_forgotten else out

    def again(self, asked: Asked) -> list[MissedFrame]:
        """What was answered was not done through no fault of its own: it waits again, unless it gave way meanwhile."""
        if asked.look is not None:
            self._looks.setdefault(asked.stream, asked)
        elif not asked.complete:
            self._partial.setdefault(asked.stream, asked)
        elif asked.stream not in self._newest:
            self._newest[asked.stream] = asked
        elif asked.read_again is not None:
            self._stored.appendleft(asked)
        else:
            return [MissedFrame(asked.stream, asked.frame, "dropped")]
        return []

    def prepare(self, path: Register) -> None:
        """Have a path prepared before its first frame, once nothing else is to be done; the last one asked for wins."""
        self._ahead = path

    def ahead(self) -> Register | None:
        """The path to prepare now, which is then done with; None while a frame waits."""
        if self._out is not None or self._newest or self._partial:
            return None
        path, self._ahead = self._ahead, None
        return path

    def lost(self, reason: str) -> list[MissedFrame]:
        """The restorer is gone, perhaps because of what was out: that is missed, or tried again last if it is kept."""
        out, self._out = self._out, None
        if out is None or self._out_forgotten or not out.complete:
            return []
        if out.read_again is None or out.tries + 1 >= _TRIES:
            return [MissedFrame(out.stream, out.frame, reason)]
        self._store(replace(out, tries=out.tries + 1))
        return []

    def forget(self, stream: str) -> int:
        """Let go of a stream; returns how many complete frames of it will not come out."""
        left = self.waiting(stream)
        self._newest.pop(stream, None)
        self._partial.pop(stream, None)
        self._looks.pop(stream, None)
        self._stored = deque(asked for asked in self._stored if asked.stream != stream)
        self._out_forgotten |= self._out is not None and self._out.stream == stream
        return left

    def close(self, reason: str) -> list[MissedFrame]:
        """Nothing will be sent any more: everything complete that waits or is out is missed."""
        waiting = [*self._stored, *self._newest.values()]
        if self._out is not None and not self._out_forgotten:
            waiting.insert(0, self._out)
        self._out = None
        self._newest.clear()
        self._partial.clear()
        self._looks.clear()
        self._stored.clear()
        return [MissedFrame(asked.stream, asked.frame, reason) for asked in waiting if asked.complete]

    def _store(self, asked: Asked) -> None:
        """Queue a frame that is to be stored, without its samples where memory is short of room for them."""
        room = self._limit_bytes - sum(waiting.bytes for waiting in self._stored)
        samples = None if asked.bytes > room else asked.samples
        self._stored.append(replace(asked, samples=samples, overtaken=True))
