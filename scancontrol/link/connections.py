"""The control and the data socket of a link to a microscope: opened, watched and closed. No message is known here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from scancontrol.errors import LinkError
from scancontrol.transport.keys import ClientSecurity
from scancontrol.transport.sockets import dealer, send
from scancontrol.wire.framing import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Part

__all__ = ["Connections"]

_MESSAGES_AT_ONCE = 64


class Connections:
    """The control and the data connection to one microscope. Either may be closed; what is sent over it is lost then.

    For one thread. ``address`` is that of the control socket.
    """

    def __init__(self, context: zmq.Context[Any], address: str, security: ClientSecurity | None) -> None:
        self._context, self._address, self._security = context, address, security
        self._control: zmq.Socket[bytes] | None = None
        self._data: zmq.Socket[bytes] | None = None
        self._data_address: str | None = None
        self._poller = zmq.Poller()

    def open_control(self) -> None:
        """Connect anew; the data connection waits for :meth:`open_data`."""
        self.close()
        self._control = self._socket(self._address, MAX_HEADER_BYTES)

    def open_data(self, address: str) -> None:
        """Connect to where the microscope says that its data is; nothing happens if that is so already."""
        if address == self._data_address:
            return
        self._close(self._data)
        self._data = self._socket(_beside(self._address, address), MAX_PAYLOAD_BYTES)
        self._data_address = address

    @property
    def is_open(self) -> bool:
        """Whether there is a control connection."""
        return self._control is not None

    @property
    def has_data(self) -> bool:
        """Whether there is a data connection."""
        return self._data is not None

    def wait(self, wait_ms: int) -> None:
        """Wait until something has come."""
        self._poller.poll(wait_ms)

    def control_messages(self) -> Iterator[list[Part]]:
        """What has come over the control connection, not more than a few messages."""
        return _received(self._control)

    def data_messages(self) -> Iterator[list[Part]]:
        """What has come over the data connection, not more than a few messages; samples are not copied."""
        return _received(self._data)

    def send_control(self, parts: list[Part]) -> None:
        """Send, or let go."""
        send(self._control, parts)

    def send_data(self, parts: list[Part]) -> None:
        """Send, or let go."""
        send(self._data, parts)

    def close(self, linger_ms: int = 0) -> None:
        """Close both; what was sent has ``linger_ms`` to leave. Any number of times."""
        self._close(self._data, linger_ms)
        self._close(self._control, linger_ms)
        self._control = self._data = self._data_address = None

    def _socket(self, address: str, max_message_bytes: int) -> zmq.Socket[bytes]:
        socket = dealer(self._context, address, self._security, max_message_bytes)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _close(self, socket: zmq.Socket[bytes] | None, linger_ms: int = 0) -> None:
        if socket is not None:
            self._poller.unregister(socket)
            socket.close(linger_ms)


def _received(socket: zmq.Socket[bytes] | None) -> Iterator[list[Part]]:
    if socket is None:
        return
    for _ in range(_MESSAGES_AT_ONCE):
        try:
            parts: list[Part] = [socket.recv(zmq.NOBLOCK)]
        except zmq.Again:
            return
        while socket.getsockopt(zmq.RCVMORE):
            parts.append(socket.recv(zmq.NOBLOCK, copy=False).buffer)  # all parts of a message come together
        yield parts


def _beside(address: str, data_address: str) -> str:
    """The data socket of the microscope at ``address``: its port is the one told, its host the one we reached."""
    if address.startswith("tcp://") and data_address.startswith("tcp://"):
        return f"{address.rsplit(':', 1)[0]}:{data_address.rsplit(':', 1)[1]}"
    if data_address.split("://", 1)[0] == address.split("://", 1)[0]:
        return data_address
    raise LinkError(f"the microscope at {address} names {data_address} for its data; they must be of one kind")
