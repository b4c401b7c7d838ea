"""The second way to blank the beam: one connection for that alone, which needs no hello, lease or session."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import zmq

from scancontrol.errors import LinkError, RemoteProtocolError, VersionMismatch
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.keys import ClientSecurity
from scancontrol.transport.sockets import dealer, send
from scancontrol.wire.framing import MAX_HEADER_BYTES, SERVER_CONTROL, encode
from scancontrol.wire.messages import Blank, Done, Heartbeat

__all__ = ["BlankLine", "blank_now"]

_REPEAT_S = 0.1
_KEEP_S = 2.0  # a server closes connections that say nothing within 5 s
_NO_SESSION = "0" * 16


class BlankLine:
    """A standing connection to a microscope, for one thread, over which Blank is said until it is confirmed.

    It is open before it is needed, so that nothing has to be agreed on when it is.

    Raises:
        InvalidInput: the address is none, or is on the network and no keys are given.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        security: ClientSecurity | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        check_address(address, security)
        self.address, self._name = address, name[:200]
        self._own_context = context is None
        self._context: zmq.Context[Any] = zmq.Context() if context is None else context
        self._requests = count(1)
        self._kept = 0.0
        # Few wait where nobody takes them: one that arrives is as good as many.
        self._socket = dealer(self._context, address, security, MAX_HEADER_BYTES, high_water=4)

    def say(self, timeout_s: float) -> bool:
        """Say Blank, again and again for ``timeout_s``; whether the microscope has confirmed one of these."""
        first = number = next(self._requests)
        until = time.monotonic() + timeout_s
        while (left_s := until - time.monotonic()) > 0:
            send(self._socket, encode(Blank(request=number, name=self._name)))
            repeat = time.monotonic() + min(_REPEAT_S, left_s)
            while (wait_s := repeat - time.monotonic()) > 0 and self._socket.poll(1 + int(1e3 * wait_s)):
                if self._confirmed(first):
                    return True
            number = next(self._requests)
        return False

    def keep(self) -> None:
        """To be called while there is nothing to say: what is never heard of is closed, and takes time to come back."""
        now = time.monotonic()
        if now - self._kept < _KEEP_S:
            return
        self._kept = now
        while self._socket.poll(0):
            self._socket.recv_multipart()  # that there is no such session, which is no news
        send(
            self._socket,
            encode(Heartbeat(session=_NO_SESSION, number=next(self._requests), client_ns=time.monotonic_ns())),
        )

    def _confirmed(self, first: int) -> bool:
        """Whether what has come is the answer to a Blank said at or after request ``first``."""
        try:
            answer, _ = SERVER_CONTROL.decode(self._socket.recv_multipart(zmq.NOBLOCK))
        except (zmq.Again, RemoteProtocolError, VersionMismatch):
            return False
        return isinstance(answer, Done) and answer.request >= first

    def close(self) -> None:
        """Let the connection go; what was said last has a moment to leave."""
        self._socket.close(100)
        if self._own_context:
            self._context.term()


def blank_now(address: str, *, name: str, security: ClientSecurity | None = None, timeout_s: float = 5.0) -> None:
    """Blank the beam of the microscope at ``address`` and have it held blanked. Needs nobody's leave.

    Raises:
        InvalidInput: the address is none, or is on the network and no keys are given.
        LinkError: the microscope did not confirm it in time.
    """
    line = BlankLine(address, name=name, security=security)
    try:
        if not line.say(timeout_s):
            raise LinkError(
                f"NOT CONFIRMED: the microscope at {address} has not said within {timeout_s:g} s that it blanked the"
                " beam; use the column's own blanker, and try again"
            )
    finally:
        line.close()
