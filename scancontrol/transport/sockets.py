"""A client's sockets: DEALERs with every bound set, and a send that never waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from scancontrol.errors import InvalidInput
from scancontrol.transport.keys import ClientSecurity, secure_client

__all__ = ["HANDSHAKE_MS", "dealer", "send"]

HANDSHAKE_MS = 5000  # how long a peer may take to show its key


def dealer(
    context: zmq.Context[Any],
    address: str,
    security: ClientSecurity | None,
    max_message_bytes: int,
    high_water: int = 4096,
) -> zmq.Socket[bytes]:
    """A connected DEALER with every bound set.

    Raises:
        InvalidInput: an address that is none.
    """
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = high_water
    socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 400)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        secure_client(socket, security)
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise InvalidInput(
            "address",
            address,
            f"cannot be connected to ({error.strerror})",
            "give the microscope's address, such as tcp://127.0.0.1:5555",
        ) from None
    except BaseException:
        socket.close(0)
        raise
    return socket


def send(socket: zmq.Socket[bytes] | None, parts: Sequence[bytes | memoryview]) -> None:
    """Send, or let go: the protocol repeats whatever matters."""
    if socket is None:
        return
    try:
        socket.send_multipart(parts, zmq.NOBLOCK)
    except zmq.Again:
        return
