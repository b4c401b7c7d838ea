"""Turns a link over: sends what its protocol has to say, hands it what has come and the time, and connects it anew.

One call of :meth:`ClientShell.turn` sends, waits, receives, looks at the time and connects anew where that is due. It
belongs to one thread. The heart has its own, and beats only while that thread has shown signs of life within
``patience_s``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import zmq

from scancontrol.link.connections import Connections
from scancontrol.link.heart import Heart
from scancontrol.transport.keys import ClientSecurity
from scancontrol.wire.client import ClientProtocol
from scancontrol.wire.transitions import ClientState

__all__ = ["ClientShell"]

_RECONNECT_S = 0.1  # between attempts after the microscope fell silent
_REFUSED_RETRY_S = 0.35  # longer than a living holder of the lease is ever silent


class ClientShell:
    """Moves ``protocol`` over ZeroMQ, until :meth:`disconnect`."""

    def __init__(
        self,
        protocol: ClientProtocol,
        context: zmq.Context[Any],
        address: str,
        security: ClientSecurity | None,
        patience_s: float,
        may_light: Callable[[], bool],
    ) -> None:
        self.heart: Heart | None = None
        self._protocol = protocol
        self._connections = Connections(context, address, security)
        self._context, self._address, self._security = context, address, security
        self._patience_s = patience_s
        self._may_light = may_light
        self._retry_at = 0.0

    def alive(self) -> None:
        """The caller shows a sign of life."""
        if self.heart is not None:
            self.heart.owner_alive_ns = time.monotonic_ns()

    def turn(self, wait_ms: int) -> None:
        """Send, wait, receive, look at the time, and connect anew where that is due.

        Raises:
            RemoteProtocolError, VersionMismatch: as the protocol says of what came.
        """
        protocol = self._protocol
        now = time.monotonic()
        if protocol.state in (ClientState.OFFLINE, ClientState.REFUSED) and now >= self._retry_at:
            self._retry_at = now + _RECONNECT_S
            self._reconnect()
        self.send()
        self._connections.wait(wait_ms)
        try:
            for parts in self._connections.control_messages():
                protocol.receive_control(parts, time.monotonic_ns())
            for parts in self._connections.data_messages():
                protocol.receive_data(parts, time.monotonic_ns())
        finally:
            self._follow()
            self.send()

    def send(self) -> None:
        """Send what the protocol has to say, but nothing that leads to light where that is not wanted any more."""
        if not self._may_light():
            self._protocol.withdraw_lights()
        for parts in self._protocol.control_to_send():
            self._connections.send_control(parts)
        if self._connections.has_data:  # before that the protocol keeps what it has to say
            for parts in self._protocol.data_to_send(time.monotonic_ns()):
                self._connections.send_data(parts)

    def disconnect(self, linger_ms: int = 0) -> None:
        """Stop the heart and close the connections."""
        self._stop_heart()
        self._connections.close(linger_ms)

    def _follow(self) -> None:
        """Bring connections and heart in line with the protocol's state."""
        protocol, now_ns = self._protocol, time.monotonic_ns()
        welcome, heart = protocol.welcome, self.heart
        if heart is not None and heart.pulse.status is not None:
            protocol.heard(heart.pulse.status, heart.pulse.status_ns)
        if heart is not None and heart.pulse.rejected and heart.session == (welcome.session if welcome else ""):
            heart.pulse.rejected = False
            protocol.session_unknown()
        protocol.tick(now_ns)
        joined = protocol.state in (ClientState.ATTACHING, ClientState.READY)
        if welcome is not None and joined and (heart is None or heart.session != welcome.session):
            self._stop_heart()
            self.heart = Heart(self._context, self._address, self._security, welcome, self._patience_s)
        if welcome is not None and joined:
            # A server that restarted at once is welcome over the old control connection, and its data port is another.
            self._connections.open_data(welcome.data_address)
        if protocol.state in (ClientState.OFFLINE, ClientState.REFUSED) and self._connections.is_open:
            self.disconnect()
            if protocol.state is ClientState.REFUSED:
                self._retry_at = time.monotonic() + _REFUSED_RETRY_S

    def _reconnect(self) -> None:
        self._stop_heart()
        self._protocol.refused = None
        self._connections.open_control()
        self._protocol.connect(time.monotonic_ns())

    def _stop_heart(self) -> None:
        if self.heart is not None:
            self.heart.stop()
            self.heart = None
