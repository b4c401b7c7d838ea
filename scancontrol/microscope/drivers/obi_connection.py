"""A connection to an Open Beam Interface device that nobody ever waits for: bytes out, replies in, blank at any moment.

One thread owns it (:meth:`ObiConnection.open`, :meth:`turn`, :meth:`synchronise`, :meth:`command`, :meth:`close`);
:meth:`blank` may be called from another, whatever the first one is doing.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable

from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import Beam, OutputMode
from scancontrol.microscope.obi.replies import ReplyReader

__all__ = ["ObiConnection"]

log = logging.getLogger(__name__)
_BLANK = obi.Blank(enable=True).encode() + obi.Flush().encode()


class ObiConnection:
    """The socket, the replies, and the syncs that are still to be answered.

    Args:
        address: ``tcp://HOST:PORT``; looked up here, once.
        answer_timeout_s: silence after which a device that owes a sync is given up.
        cookie: the first one, even; odd ones belong to scans, and FFFF is not used.
    Raises:
        InvalidInput: the address is none.
        LinkError: its host has no address.
    """

    def __init__(self, address: str, answer_timeout_s: float, cookie: int, clock_ns: Callable[[], int]) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        if not address.startswith("tcp://") or not host or not port.isdigit() or int(port) > 65535:
            raise InvalidInput("address", address, "is not tcp://HOST:PORT", "give for example tcp://127.0.0.1:2224")
        try:
            family, _, _, _, peer = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise LinkError(f"the host of {address} is not known ({error.strerror})") from error
        self._family, self._peer = family, peer
        self.address = address
        self._timeout_s = answer_timeout_s
        self._cookie = cookie
        self._clock_ns = clock_ns
        self._lock = threading.Lock()  # of the bytes on their way out, and of who may add to them
        self._socket: socket.socket | None = None
        self._out = bytearray()
        self._blank_unsent = False
        self.blanks = 0  # how often the beam was asked to go off
        self.reader = ReplyReader()
        self.heard_ns = 0
        self._syncs: deque[tuple[int, OutputMode, bytes, int | None, float]] = deque()
        self._deadline_ns = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or one on its way."""
        return self._socket is not None

    @property
    def synchronising(self) -> bool:
        """Whether the device still has to answer before anything else can be said."""
        return self.reader.synchronising or bool(self._syncs)

    def open(self, beam: Beam, mode: OutputMode) -> None:
        """Begin to connect, and to take the column blanked; :meth:`turn` goes on with it.

        Raises:
            LinkError: nobody can be reached.
        """
        self.close()
        self._socket = socket.socket(self._family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self.reader = ReplyReader()
        self._syncs.clear()
        self.heard_ns = self._clock_ns()
        failed = self._socket.connect_ex(self._peer)
        if failed and failed not in (115, 10035):  # EINPROGRESS, WSAEWOULDBLOCK
            raise self._nobody(OSError(failed, ""))
        with self._lock:
            self._out[:] = obi.Blank(enable=True).encode()
        taking = obi.ExternalCtrl(enable=True).encode() + obi.BeamSelect(beam).encode()
        self._cookie = (self._cookie + 2) & 0xFFFE
        self._syncs.append((self._cookie, OutputMode.SIXTEEN_BIT, b"", None, 0.0))
        self.synchronise(mode, 0, 0.0, before=taking)

    def synchronise(self, mode: OutputMode, owed: int, owed_us: float, before: bytes = b"") -> None:
        """Send ``before``, then pass over ``owed`` values that take the device ``owed_us``, and agree on ``mode``."""
        self._cookie = (self._cookie + 2) & 0xFFFE
        scan = self._cookie | 1 if self._cookie | 1 != 0xFFFF else 1
        self._syncs.append((scan, mode, before, owed, owed_us))
        if not self.reader.synchronising:
            self._next_sync()

    def _next_sync(self) -> None:
        if not self._syncs:
            return
        cookie, mode, before, owed, owed_us = self._syncs.popleft()
        with self._lock:
            self._out += before + obi.Synchronize(cookie, mode).encode() + obi.Flush().encode()
        self.reader.expect_sync(cookie, mode, owed)
        self._deadline_ns = self._clock_ns() + self._timeout_s * 1e9 + owed_us * 1e3

    def command(self, data: bytes, blanks: int) -> bool:
        """Send commands that light the beam; False, and nothing is sent, if it was asked to go off since ``blanks``.

        Raises:
            LinkError: the connection is gone.
        """
        with self._lock:
            if self.blanks != blanks:
                return False
            self._out += data
            try:
                self._flush()
            except OSError as error:
                raise LinkError(f"lost the OBI device at {self.address}: {error.strerror or error}") from error
            return True

    def say(self, data: bytes) -> None:
        """Send commands that light nothing."""
        with self._lock:
            self._out += data

    def blank(self) -> None:
        """Say that the beam is to go off, behind what is commanded already; from any thread.

        Raises:
            LinkError: the device does not take it yet; ask again.
        """
        with self._lock:
            self.blanks += 1
            if self._socket is None:
                return  # every stretch ends blanked: nobody is left to be told
            if not self._blank_unsent:
                self._out += _BLANK
                self._blank_unsent = True
            try:
                self._flush()
            except OSError as error:
                log.warning("blanking could not be sent, the connection is gone: %s", error)
                self._blank_unsent = False
                return
            if self._blank_unsent:
                raise LinkError(f"the OBI device at {self.address} takes no more commands; those it has end blanked")

    def turn(self, wait_s: float) -> None:
        """Send what can be sent and take what has come, waiting at most ``wait_s`` for either.

        Raises:
            LinkError: the connection is gone, or the device owes a sync for too long.
            RemoteProtocolError: it sent something else than the sync that had to come.
        """
        sock = self._socket
        if sock is None:
            raise LinkError(f"not connected to the OBI device at {self.address}")
        with self._lock:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._selector.modify(sock, wanted)
        try:
            for _, events in self._selector.select(wait_s):
                if events & selectors.EVENT_WRITE:
                    with self._lock:
                        self._flush()
                if events & selectors.EVENT_READ:
                    self._take(sock)
        except ConnectionRefusedError as error:
            raise self._nobody(error) from error
        except OSError as error:
            raise LinkError(f"lost the OBI device at {self.address}: {error.strerror or error}") from error
        if not self.reader.synchronising:
            self._next_sync()
        elif self._clock_ns() > self._deadline_ns:
            raise LinkError(
                f"the peer at {self.address} did not answer Synchronize within "
                f"{self._timeout_s:g} s; it is no OBI device, or it is stalled: start it again"
            )

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        with self._lock:
            sock, self._socket = self._socket, None
            self._out.clear()
            self._blank_unsent = False
        if sock is not None:
            self._selector.close()
            sock.close()
        self._syncs.clear()

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            return
        self._blank_unsent = self._blank_unsent and bool(self._out)

    def _take(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:
            raise LinkError(
                f"the OBI device at {self.address} closed the connection; "
                "another client took it, or its USB link is gone"
            )
        self.heard_ns = self._clock_ns()
        self.reader.feed(data)

    def _nobody(self, error: OSError) -> LinkError:
        return LinkError(f"no OBI server at {self.address} ({error.strerror or error}); start it, or mend the address")
