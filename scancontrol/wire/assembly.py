"""What came over the data connection, made whole: in order, without gaps, nothing twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from scancontrol.errors import LocalProtocolError, RemoteProtocolError
from scancontrol.wire.framing import Part, samples
from scancontrol.wire.messages import ChunkHeader, End, Scan, Start

__all__ = ["Assembly", "Chunk"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous run of samples as the caller gets it. ``values`` is ``(channels, count)``, read-only."""

    series_id: int
    series_unique_id: str
    frame: int
    path_id: str
    first_index: int
    count: int
    values: NDArray[Any]
    monotonic_ns: int  # the microscope's monotonic clock at the first sample
    utc_ns: int
    electrons: float  # spent on the chunk that these samples came in
    frame_electrons: float  # so far, this chunk included
    session_electrons: float

    @property
    def next_index(self) -> int:
        """The sample after the last one."""
        return self.first_index + self.count


@dataclass(slots=True)
class _Frame:
    """A frame between its scan (or first data message) and its end."""

    series_unique_id: str
    path_id: str
    first_index: int
    next_index: int  # first sample that was not put yet
    taken: int  # first sample that the caller has not taken
    safe: int  # first sample that the caller has not said is safe
    electrons: float = 0.0


Delivered = Start | Chunk | End


class Assembly:
    """The order of data messages by their number, the order of samples by their index, credit by what was taken."""

    def __init__(self, window: int, have: Mapping[tuple[str, int], int]) -> None:
        self.window = window
        self.expected: int | None = None  # number of the data message that is wanted next
        self._have = dict(have)
        self._frames: dict[tuple[int, int], _Frame] = {}
        self._epoch = 0  # counts how often numbers began anew
        self._ready: deque[tuple[int, int, Delivered]] = deque()  # (epoch, number, message) that wait for the caller
        self._taken: deque[tuple[int, Delivered]] = deque()  # taken by the caller, not yet safe
        self._synthetic: deque[End] = deque()  # ends that the microscope can no longer send
        self._next_take = 0  # number of the message that the caller takes next
        self._safe = 0  # first number that is not safe
        self._told = (0, 0)
        self._exists = 0  # numbers below this are known to exist
        self._missing_ns: int | None = None  # since when one of them has been missing

    # -- scans ----------------------------------------------------------------------------------------

    def expect(self, scan: Scan) -> None:
        """A scan was asked for: an end will come for it, from the microscope or from here."""
        first = scan.first_index
        self._frames[scan.series_id, scan.frame] = _Frame(
            scan.series_unique_id, scan.path_id, first, first, first, first
        )
        self._have.pop((scan.series_unique_id, scan.frame), None)

    def expect_no_more(self, scan: Scan) -> None:
        """It was refused."""
        self._frames.pop((scan.series_id, scan.frame), None)

    # -- data messages --------------------------------------------------------------------------------

    def begin_at(self, number: int, now_ns: int) -> None:
        """The data connection is joined; the next message has this number."""
        if self.expected is not None and number != self.expected:
            self.start_over("the microscope let go of what was not acknowledged", now_ns)
        if self.expected is None:
            self.expected = self._next_take = self._safe = self._exists = number
            self._told = (number, number + self.window)
        self._missing_ns = None

    def start_over(self, why: str, now_ns: int) -> None:
        """The microscope has forgotten: every open frame ends here, and numbers begin anew."""
        for (series_id, frame), open_frame in self._frames.items():
            self._synthetic.append(
                End(
                    sequence=0,
                    series_id=series_id,
                    series_unique_id=open_frame.series_unique_id,
                    frame=frame,
                    path_id=open_frame.path_id,
                    reason="fault",
                    message=why,
                    first_index=open_frame.first_index,
                    next_index=open_frame.next_index,
                    samples=open_frame.next_index - open_frame.first_index,
                    electrons=open_frame.electrons,
                    monotonic_ns=now_ns,
                    utc_ns=0,
                )
            )
        self._frames.clear()
        self._taken.clear()
        self._epoch += 1
        self.expected = None

    def put(self, message: Start | ChunkHeader | End, payload: Part | None) -> bool:
        """Take a message in. False if messages before it are missing; a repeated one is dropped.

        Raises:
            RemoteProtocolError: its samples do not follow on those before.
        """
        if self.expected is None or message.sequence > self.expected:
            return False
        if message.sequence < self.expected:
            return True
        key = (message.series_id, message.frame)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._unknown(message)
            if not isinstance(message, End):
                self._frames[key] = frame
        if isinstance(message, ChunkHeader):
            chunk = self._cut(message, payload, frame)
            frame.next_index = message.first_index + message.count
            frame.electrons = message.frame_electrons
            self._ready.append((self._epoch, message.sequence, chunk))
        else:
            self._ready.append((self._epoch, message.sequence, message))
        self.expected += 1
        self._missing_ns = None
        return True

    def _unknown(self, message: Start | ChunkHeader | End) -> _Frame:
        """A frame that a process before this one asked for."""
        first = self._have.get((message.series_unique_id, message.frame), message.first_index)
        return _Frame(message.series_unique_id, message.path_id, first, first, first, first)

    @staticmethod
    def _cut(header: ChunkHeader, payload: Part | None, frame: _Frame) -> Chunk:
        if header.path_id != frame.path_id or header.first_index > frame.next_index:
            raise RemoteProtocolError(
                f"frame {header.frame}: samples from {header.first_index} on path {header.path_id}, where"
                f" {frame.next_index} on {frame.path_id} is next"
            )
        known = min(header.count - 1, frame.next_index - header.first_index)
        if frame.next_index >= header.first_index + header.count:
            raise RemoteProtocolError(f"frame {header.frame}: samples before {frame.next_index} came twice")
        values = samples(header, payload if payload is not None else b"")[:, known:]
        return Chunk(
            header.series_id,
            header.series_unique_id,
            header.frame,
            header.path_id,
            header.first_index + known,
            header.count - known,
            values,
            header.monotonic_ns,
            header.utc_ns,
            header.electrons,
            header.frame_electrons,
            header.session_electrons,
        )

    # -- the caller -----------------------------------------------------------------------------------

    def take(self) -> Delivered | None:
        """The next message for the caller."""
        if not self._ready:
            return self._synthetic.popleft() if self._synthetic else None
        epoch, number, message = self._ready.popleft()
        if epoch != self._epoch:
            return message  # of a server that is gone: nobody waits to hear that it is safe
        self._next_take = number + 1
        self._taken.append((number, message))
        if isinstance(message, Chunk):
            frame = self._frames.get((message.series_id, message.frame))
            if frame is not None:
                frame.taken = message.next_index
        self._settle()
        return message

    def acknowledge(self, series_id: int, frame: int, next_index: int) -> None:
        """See :meth:`ClientProtocol.acknowledge`."""
        known = self._frames.get((series_id, frame))
        if known is None:
            return  # its end was taken, and all before it said to be safe
        if next_index > known.taken:
            raise LocalProtocolError(
                f"sample {next_index - 1} of frame {frame} acknowledged; those before {known.taken} were received"
            )
        known.safe = max(known.safe, next_index)
        self._settle()

    def _settle(self) -> None:
        """Move what is safe out of the head of what was taken."""
        while self._taken:
            number, message = self._taken[0]
            frame = self._frames.get((message.series_id, message.frame))
            if isinstance(message, Chunk) and frame is not None and frame.safe < message.next_index:
                return
            if isinstance(message, End):
                self._frames.pop((message.series_id, message.frame), None)
            self._taken.popleft()
            self._safe = number + 1

    # -- what the microscope must hear ----------------------------------------------------------------

    @property
    def heard(self) -> int:
        """First number that the caller has not taken."""
        return self._next_take

    def all_taken(self, before: int) -> bool:
        """Whether the caller has taken every message below this number, and all that was made up here."""
        return self.expected is not None and self.expected >= before and not self._ready and not self._synthetic

    @property
    def has_news(self) -> bool:
        """Whether something was taken or became safe since :meth:`tell`."""
        return self.expected is not None and self._told != (self._safe, self._next_take + self.window)

    @property
    def news_is_urgent(self) -> bool:
        """Whether the microscope may be waiting for it."""
        if self.expected is None:
            return False
        safe, credit_limit = self._told
        step = max(1, self.window // 4)
        return self._safe - safe >= step or self._next_take + self.window - credit_limit >= step

    def tell(self) -> tuple[int, int]:
        """(first number that is not safe, first number that must not be sent)."""
        self._told = (self._safe, self._next_take + self.window)
        return self._told

    def exists_before(self, number: int, now_ns: int) -> None:
        """The microscope said that messages below this number exist."""
        self._exists = max(self._exists, number)
        behind = self.expected is not None and self.expected < min(self._exists, self._told[1])
        if behind and self._missing_ns is None:
            self._missing_ns = now_ns

    def missing_since(self, now_ns: int) -> int:
        """For how long (ns) a message that exists, and that there is credit for, has been missing."""
        return 0 if self._missing_ns is None else now_ns - self._missing_ns
