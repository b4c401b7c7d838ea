"""The heart of a link: a thread and a socket of its own, so that it beats on while the caller waits for a slow disk.

When it must stop is :class:`~scancontrol.wire.pulse.Pulse`'s to say.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import zmq

from scancontrol.transport.keys import ClientSecurity
from scancontrol.transport.sockets import dealer, send
from scancontrol.wire.framing import MAX_HEADER_BYTES
from scancontrol.wire.messages import Welcome
from scancontrol.wire.pulse import Pulse

__all__ = ["Heart"]


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
                heartbeat = self.pulse.heartbeat(time.monotonic_ns(), self.owner_alive_ns)
                if heartbeat is not None:
                    send(socket, heartbeat)
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
