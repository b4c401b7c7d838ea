"""Messages out of a ROUTER, whole or not at all: one of too many parts is let go of, a few parts at a time."""

from __future__ import annotations

from typing import Any

import zmq

__all__ = ["MOST_PARTS", "Inbox"]

MOST_PARTS = 3  # a connection's name, a header, a payload
_AT_ONCE = 1000  # parts that are let go of before somebody else has a turn


class Inbox:
    """What comes in at ``socket``."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._letting_go = False
        self.source = -1  # descriptor of the connection that the last message came over; -1 where there is none

    def receive(self) -> list[bytes]:
        """The next message, its connection first.

        Raises:
            zmq.Again: there is none now.
        """
        while True:
            if self._letting_go:
                self._let_go()
            parts: list[bytes] = []
            frame: Any = self._socket.recv(zmq.NOBLOCK, copy=False)
            parts.append(frame.bytes)
            while frame.more and len(parts) < MOST_PARTS:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                parts.append(frame.bytes)
            self._letting_go = frame.more
            if not self._letting_go:
                self.source = _source(frame)
                return parts

    def _let_go(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._socket.recv(zmq.NOBLOCK, copy=False).more:
                self._letting_go = False
                return
        raise zmq.Again


def _source(frame: Any) -> int:
    try:
        return int(frame.get(zmq.SRCFD))
    except (zmq.ZMQError, AttributeError, ValueError):
        return -1
