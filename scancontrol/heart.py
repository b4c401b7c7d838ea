"""A client's connections: the sockets that a link and its heart are made of, and the heart itself.

The heart has a thread and a socket of its own, so that it beats on while the link's caller waits for a slow disk.
When it must stop is :class:`~scancontrol.wire.pulse.Pulse`'s to say.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import zmq

from scancontrol.errors import InvalidInput
from scancontrol.security import ClientSecurity, secure_client
from scancontrol.wire.framing import MAX_HEADER_BYTES, Part
from scancontrol.wire.messages import Welcome
from scancontrol.wire.pulse import Pulse

__all__ = ["Heart", "dealer", "send"]

_HANDSHAKE_MS = 5000


class Heart(threading.Thread):
    """Beats for one session, while its owner lives. The owner sets ``owner_alive_ns`` and reads ``pulse``."""

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        security: ClientSecurity | None,
        welcome: Welcome,
        patience_s: float,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.session = welcome.session
        self.owner_alive_ns = time.monotonic_ns()
        self.pulse = Pulse(welcome.session, welcome.limits.heartbeat_ms * 1_000_000, int(patience_s * 1e9))
        self._ending = threading.Event()
        self._context, self._address, self._security = context, address, security
        self.start()

    def run(self) -> None:
        """Beat, and hear the answers, until told to stop."""
        # Few heartbeats wait where nobody takes them: old ones are worth nothing.
        socket = dealer(self._context, self._address, self._security, MAX_HEADER_BYTES, high_water=4)
        try:
            while not self._ending.is_set():
                beat = self.pulse.beat(time.monotonic_ns(), self.owner_alive_ns)
                if beat is not None:
                    send(socket, beat)
                wait_ms = max(1, self.pulse.due_in_ns(time.monotonic_ns()) // 1_000_000)
                while socket.poll(wait_ms):
                    self.pulse.receive(socket.recv_multipart(), time.monotonic_ns())
                    wait_ms = 0
        finally:
            socket.close(0)

    def stop(self) -> None:
        """End the thread and its socket."""
        self._ending.set()
        self.join()


def dealer(
    context: zmq.Context[Any],
    address: str,
    security: ClientSecurity | None,
    max_message_bytes: int,
    high_water: int = 4096,
) -> zmq.Socket[bytes]:
    """A connected DEALER with every bound set. Raises :class:`InvalidInput` for an address that is none."""
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = high_water
    socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 400)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        secure_client(socket, security)
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise InvalidInput("address", address, f"cannot be connected to ({error.strerror})",
                           "give the microscope's address, such as tcp://127.0.0.1:5555") from None  # fmt: skip
    except BaseException:
        socket.close(0)
        raise
    return socket


def send(socket: zmq.Socket[bytes] | None, parts: list[Part]) -> None:
    """Send, or let go: the protocol repeats whatever matters."""
    if socket is None:
        return
    try:
        socket.send_multipart(parts, zmq.NOBLOCK)
    except zmq.Again:
        return
