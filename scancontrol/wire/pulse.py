"""The heartbeat: when it may be sent, and what its answers say about the other end's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from scancontrol.errors import RemoteProtocolError, VersionMismatch
from scancontrol.wire.framing import SERVER_CONTROL, Part, encode
from scancontrol.wire.messages import Heartbeat, Refused, Status

__all__ = ["Pulse"]

_KEPT_ROUND_TRIPS = 64


class Pulse:
    """One session's heartbeat.

    It is sent only while its owner shows signs of life: after ``patience_ns`` without one it stops, and the
    microscope blanks. The clock offset is Cristian's: the microscope's time in an answer belongs to the middle of
    the round trip, and the shortest of the last 64 round trips bounds the error by half its length (Cristian,
    Distributed Computing 3:146, 1989).
    """

    def __init__(self, session: str, interval_ns: int, patience_ns: int) -> None:
        self.status: Status | None = None  # the latest
        self.status_ns = 0  # when it came
        self.rejected = False  # the microscope does not know the session
        self._session = session
        self._interval_ns = interval_ns
        self._patience_ns = patience_ns
        self._number = 0
        self._next_ns = 0
        self._round_trips: deque[tuple[int, int]] = deque(maxlen=_KEPT_ROUND_TRIPS)  # (length, offset)

    @property
    def clock_offset_ns(self) -> int | None:
        """The microscope's monotonic clock minus this end's; None before the first answer."""
        return min(self._round_trips)[1] if self._round_trips else None

    @property
    def clock_error_ns(self) -> int | None:
        """The bound on the error of :attr:`clock_offset_ns`."""
        return (min(self._round_trips)[0] + 1) // 2 if self._round_trips else None

    def due_in_ns(self, now_ns: int) -> int:
        """How long until the next heartbeat, ns."""
        return max(0, self._next_ns - now_ns)

    def heartbeat(self, now_ns: int, owner_alive_ns: int) -> list[Part] | None:
        """The heartbeat to send now, if one is due and the owner was alive lately."""
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + self._interval_ns
        if now_ns - owner_alive_ns > self._patience_ns:
            return None
        self._number += 1
        return encode(Heartbeat(session=self._session, number=self._number, client_ns=now_ns))

    def receive(self, parts: Sequence[Part], now_ns: int) -> None:
        """An answer. What cannot be read, or does not echo a heartbeat of ours, changes nothing."""
        try:
            message, _ = SERVER_CONTROL.decode(parts)
        except (RemoteProtocolError, VersionMismatch):
            return
        if isinstance(message, Refused) and message.code == "no_session":
            self.rejected = True
        if not isinstance(message, Status) or message.number > self._number or message.client_ns > now_ns:
            return
        self.status, self.status_ns = message, now_ns
        length = now_ns - message.client_ns
        self._round_trips.append((length, message.monotonic_ns - message.client_ns - length // 2))
