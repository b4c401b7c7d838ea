"""The samples that the microscope's side keeps until its client has said that they are safe.

An ordered log of data messages. A cursor runs over it as they are sent; acknowledgement forgets from its head;
after a loss the cursor goes back. Credit, an absolute message number as in TCP's window, bounds how far the
cursor may run; a count of bytes bounds how much is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from scancontrol.errors import RemoteProtocolError
from scancontrol.recent import Recent
from scancontrol.wire.framing import Part, encode
from scancontrol.wire.messages import ChunkHeader, End, Start

__all__ = ["Retention"]

_LET_GO = 1024  # series remembered


@dataclass(frozen=True, slots=True)
class _Entry:
    message: Start | ChunkHeader | End
    payload: Part | None = None
    payload_bytes: int = 0


class Retention:
    """The log, its cursor, its credit and its bound."""

    def __init__(self, limit_bytes: int, window: int) -> None:
        self._limit_bytes = limit_bytes
        self._window = window
        self._entries: deque[_Entry] = deque()
        self._first = 0  # sequence number of the head of the log
        self._cursor = 0  # sequence number to send next
        self._sent = 0  # sequence numbers below this were sent at least once
        self._let_go: Recent[str, int] = Recent(_LET_GO)  # series → samples that nobody asked for
        self._credit_limit = 0  # first sequence number that may not be sent
        self.bytes = 0  # of samples kept

    @property
    def next_sequence(self) -> int:
        """The number that the next message appended must carry."""
        return self._first + len(self._entries)

    @property
    def first_sequence(self) -> int:
        """The oldest message that is kept (or would be)."""
        return self._first

    def has_room(self, payload_bytes: int) -> bool:
        """Whether one more chunk of this size could be sent at once, and be kept."""
        return self.next_sequence < self._credit_limit and self.bytes + payload_bytes <= self._limit_bytes

    def append(self, message: Start | ChunkHeader | End, payload: memoryview | None = None) -> None:
        """Keep a message; its number must be :attr:`next_sequence`."""
        size = 0 if payload is None else payload.nbytes
        self._entries.append(_Entry(message, payload, size))
        self.bytes += size

    def acknowledge(self, next_sequence: int, credit_limit: int) -> None:
        """Forget what is safe, and take credit.

        Raises:
            RemoteProtocolError: what was never sent is said to be safe.
        """
        if next_sequence > self._sent:
            raise RemoteProtocolError(
                f"data messages before {next_sequence} acknowledged; those before {self._sent} were sent"
            )
        while self._first < next_sequence:
            self.bytes -= self._entries.popleft().payload_bytes
            self._first += 1
        self._cursor = max(self._cursor, self._first)  # one that asked for them again may have had them after all
        self._grant(credit_limit)

    def rewind(self, next_sequence: int) -> int:
        """Send again from this number on, or from the oldest that is kept; returns the number.

        Raises:
            RemoteProtocolError: the number is beyond the log.
        """
        if next_sequence > self.next_sequence:
            raise RemoteProtocolError(f"data message {next_sequence} asked for; the next is {self.next_sequence}")
        self._cursor = max(next_sequence, self._first)
        self._sent = max(self._sent, self._cursor)  # whoever wants it from here on has had what is before
        return self._cursor

    def attach(self, next_sequence: int, credit: int) -> int:
        """A connection takes over from ``next_sequence`` on; returns what it will get first."""
        first = self.rewind(next_sequence)
        self._credit_limit = 0
        self._grant(first + credit)
        return first

    def detach(self) -> None:
        """Nobody listens: nothing may be sent."""
        self._credit_limit = 0

    def keep_only(self, have: Mapping[tuple[str, int], int]) -> tuple[int, int]:
        """Forget series that are not named, and samples that are safe.

        Returns the count of samples let go now, and of those of the named series that were let go before.
        ``have`` maps (series_unique_id, frame) to the first sample that the client lacks. What stays is
        numbered anew, without gaps, so that a client that just came sees an unbroken sequence. Frames of a
        named series that ``have`` does not list are kept whole.
        """
        series = {unique_id for unique_id, _ in have}
        kept: list[_Entry] = []
        discarded = 0
        for entry in self._entries:
            message = entry.message
            if message.series_unique_id not in series:
                if isinstance(message, ChunkHeader):
                    discarded += message.count
                    self._remember_let_go(message)
                continue
            safe = have.get((message.series_unique_id, message.frame), 0)
            if isinstance(message, ChunkHeader) and message.first_index + message.count <= safe:
                continue
            kept.append(entry)
        self._first = self._cursor = self._sent = self.next_sequence
        self._entries = deque(
            _Entry(
                msgspec.structs.replace(entry.message, sequence=self._first + position),
                entry.payload,
                entry.payload_bytes,
            )
            for position, entry in enumerate(kept)
        )
        self.bytes = sum(entry.payload_bytes for entry in kept)
        return discarded, sum(self._let_go.get(name) or 0 for name in series)

    def _remember_let_go(self, chunk: ChunkHeader) -> None:
        name = chunk.series_unique_id
        self._let_go[name] = (self._let_go.get(name) or 0) + chunk.count

    def to_send(self) -> Iterator[list[Part]]:
        """What may be sent now; the cursor advances over each as it is taken."""
        while self._cursor < min(self._credit_limit, self.next_sequence):
            entry = self._entries[self._cursor - self._first]
            self._cursor += 1
            self._sent = max(self._sent, self._cursor)
            yield encode(entry.message, *(() if entry.payload is None else (entry.payload,)))

    def _grant(self, credit_limit: int) -> None:
        self._credit_limit = max(self._credit_limit, min(credit_limit, self._cursor + self._window))
