"""Bounds what connections cost a server before anybody knows whose they are.

ZeroMQ bounds one part of a message, and neither how many parts a message has nor how many connections there are. So a
thread looks at the connections themselves: those that have said nothing are few, all together are not many, and none
has sent more than :data:`MOST_BYTES` since its last whole message. One that passes a bound is closed; a peer that is
well simply connects again.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket as sockets
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["MOST_BYTES", "MOST_CONNECTIONS", "MOST_SILENT", "Doorman"]

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20  # several of the longest messages
MOST_SILENT = 32
MOST_CONNECTIONS = 320  # all observers that there may be, and room for who has more to say: an operator, a Blank
_TICK_MS = 20
_SILENT_S = 5.0
_TRY_S = 1.0
_RECEIVED_AT = 128  # tcpi_bytes_received in Linux's struct tcp_info
_TCP_INFO_BYTES = 136


@dataclass
class _Visitor:
    since: float
    heard: bool = False
    mark: int = 0  # bytes received when its last whole message came


class Doorman:
    """Watches the connections of ``server``, a bound ROUTER over TCP, from :meth:`start` to :meth:`stop`."""

    def __init__(self, server: zmq.Socket[Any]) -> None:
        self._server = server
        self._monitor = _monitor_of(server)
        self._visitors: dict[int, _Visitor] = {}
        self._heard: set[int] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._complained = self._tried = 0.0
        self._spare = sockets.socket()  # a descriptor to try with whether another one can be had
        self._thread = threading.Thread(target=self._work, name="doorman", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; to be called before the server's socket is closed."""
        self._ending.set()
        self._thread.join(2.0)
        self._server.disable_monitor()
        self._monitor.close(0)
        self._spare.close()

    def heard(self, descriptor: int) -> None:
        """A whole message came over this connection."""
        if descriptor >= 0:
            with self._lock:
                self._heard.add(descriptor)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._visitors)

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                if self._monitor.poll(_TICK_MS):
                    self._note(recv_monitor_message(self._monitor))
                    if self._monitor.poll(0):
                        continue
                self._look()
            except zmq.ZMQError:
                return  # the context is gone
            except Exception:
                log.exception("the doorman")

    def _note(self, event: Any) -> None:
        kind, descriptor = event["event"], int(event["value"])
        if kind == zmq.EVENT_ACCEPTED:
            self._visitors[descriptor] = _Visitor(time.monotonic())
        else:
            self._visitors.pop(descriptor, None)

    def _look(self) -> None:
        with self._lock:
            heard, self._heard = self._heard, set()
        now = time.monotonic()
        for descriptor in heard:
            visitor = self._visitors.setdefault(descriptor, _Visitor(now))
            visitor.heard, visitor.mark = True, _received(descriptor)
        for descriptor, visitor in list(self._visitors.items()):
            if _received(descriptor) - visitor.mark > MOST_BYTES:
                self._turn_out(descriptor, "sent %d bytes without a whole message", MOST_BYTES)
            elif not visitor.heard and now - visitor.since > _SILENT_S:
                self._turn_out(descriptor, "said nothing for %g s", _SILENT_S)
        silent = [descriptor for descriptor, visitor in self._visitors.items() if not visitor.heard]  # oldest first
        excess = max(len(silent) - MOST_SILENT, len(self._visitors) - MOST_CONNECTIONS)
        for descriptor in (silent or list(self._visitors)[::-1])[: max(0, excess)]:
            self._turn_out(descriptor, "is one too many; %d connections are open", len(self._visitors))
        if now - self._tried > _TRY_S:
            self._tried = now
            self._try_descriptors()

    def _try_descriptors(self) -> None:
        """Say where nobody can be let in. Failed accepts are no events of ours: one that waits makes them endlessly."""
        try:
            os.close(os.dup(self._spare.fileno()))
        except OSError as error:
            log.error("nobody can be let in (%s): raise the limit of open files", error.strerror)

    def _turn_out(self, descriptor: int, why: str, value: float) -> None:
        self._visitors.pop(descriptor, None)
        self._complain(f"a connection is closed: it {why}", value)
        try:
            borrowed = sockets.socket(fileno=descriptor)
        except OSError:
            return
        try:
            borrowed.shutdown(sockets.SHUT_RDWR)
        except OSError:
            pass
        finally:
            borrowed.detach()

    def _complain(self, text: str, value: float) -> None:
        now = time.monotonic()
        if now - self._complained > 1.0:  # whoever floods must not fill the log
            self._complained = now
            log.warning(text, value)


def _monitor_of(server: zmq.Socket[Any]) -> zmq.Socket[Any]:
    """A socket that receives what happens to the connections of ``server``, without a bound on how much waits.

    With a bound, ZeroMQ's own thread would wait for a reader with a lock in its hand, which ``disable_monitor`` asks
    for with the interpreter's lock in its own, and the process would never end.
    """
    address = f"inproc://doorman-{secrets.token_hex(8)}"
    server.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
    monitor: zmq.Socket[Any] = server.context.socket(zmq.PAIR)
    monitor.rcvhwm = 0
    monitor.connect(address)
    return monitor


def _received(descriptor: int) -> int:
    """Bytes that a TCP connection has received so far; 0 where the system does not tell."""
    if not hasattr(sockets, "TCP_INFO"):
        return 0
    try:
        borrowed = sockets.socket(fileno=descriptor)
    except OSError:
        return 0
    try:
        info = borrowed.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("Q", info, _RECEIVED_AT)[0]) if len(info) == _TCP_INFO_BYTES else 0
    except OSError:
        return 0
    finally:
        borrowed.detach()
