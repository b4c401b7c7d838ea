"""Addresses: which are this machine's alone, which need keys, and how a server binds one.

Loopback needs no keys; anything else needs CURVE with an allow-list of clients, or the process refuses to start.
"""

from __future__ import annotations

import ipaddress
import re
import time
from typing import Any

import zmq

from scancontrol.errors import InvalidInput
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, use_key

__all__ = ["bind", "bind_again", "check_address", "is_local"]

_BIND_AGAIN_S = 2.0


def is_local(address: str) -> bool:
    """Whether an endpoint can be reached from this machine only."""
    if address.startswith(("inproc://", "ipc://")):
        return True
    if not address.startswith("tcp://"):
        return False
    host = address.removeprefix("tcp://").rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(address: str, security: ServerSecurity | ClientSecurity | None) -> None:
    """Check an endpoint that a socket is to bind or to connect to.

    Raises:
        InvalidInput: it is malformed, or open to the network without keys.
    """
    known = re.fullmatch(r"(tcp://(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(\*|\d{1,5})|(ipc|inproc)://\S+)", address)
    if known is None or (address.startswith("tcp://") and int(address.rsplit(":", 1)[1].replace("*", "0")) > 65535):
        raise InvalidInput("address", address, "is not an endpoint", "give one such as tcp://127.0.0.1:5555")
    if security is not None:
        security.check()
    elif not is_local(address):
        raise InvalidInput(
            "address",
            address,
            "is reachable over the network and no keys are given",
            "use tcp://127.0.0.1:PORT, or make keys with 'scancontrol keys' and name them",
        )


def bind(socket: zmq.Socket[Any], address: str) -> str:
    """Bind, and return the endpoint with the port that was found (port 0 or ``*`` is any free one).

    Raises:
        InvalidInput: the port is in use, or is not this machine's to bind.
    """
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.bind(re.sub(r":0$", ":*", address))
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise InvalidInput(
                "address", address, "is in use by another process", "end it, or choose another port (0 is any free one)"
            ) from None
        raise InvalidInput(
            "address", address, f"cannot be bound ({error.strerror})", "choose an address of this machine"
        ) from None
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    return endpoint.rstrip(b"\0").decode() if isinstance(endpoint, bytes) else str(endpoint)


def bind_again(socket: zmq.Socket[Any], endpoint: str, key: tuple[bytes, bytes]) -> None:
    """Listen at the same endpoint with another key (public, secret). All who are connected have to come again.

    Raises:
        InvalidInput: another process took the port meanwhile.
    """
    socket.unbind(endpoint)
    use_key(socket, key)
    deadline = time.monotonic() + _BIND_AGAIN_S
    while True:
        try:
            bind(socket, endpoint)
        except InvalidInput:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # the listener is let go of by another thread
        else:
            return
