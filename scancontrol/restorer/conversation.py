"""What is said on one connection to the restorer: messages in, events and messages out. No sockets, clocks or threads.

After :meth:`Conversation.receive` act on its events; after anything, send what :meth:`Conversation.data_to_send`
gives. If it sets :attr:`Conversation.to_read`, read those samples again and tell :meth:`Conversation.was_read`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scancontrol.recent import Recent
from scancontrol.restorer.requests import Asked, MissedFrame, Requests, RestoredFrame
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import Part, encode
from scancontrol.wire.messages import software

__all__ = ["Conversation", "Event"]

log = logging.getLogger(__name__)

HELLO_LIMIT_S = 10.0
PING_EVERY_S = 1.0
SILENCE_LIMIT_S = 10.0  # pings are answered while a frame is computed, so silence means that it hangs
_PATHS_KNOWN = 1024

Event = wire.Welcome | wire.Registered | RestoredFrame | MissedFrame
"""It is ready; a path is prepared; a frame is restored; a complete frame will not be."""


class Conversation:
    """One connection, from hello to its end; ``requests`` outlives it.

    Attributes:
        ready: whether it was welcomed.
        to_read: a request that is due and whose samples have to be read again first.
    """

    def __init__(self, requests: Requests, now_ns: int) -> None:
        self.ready = False
        self.to_read: Asked | None = None
        self._requests = requests
        self._out: list[list[Any]] = [encode(wire.Hello(version=wire.VERSION, software=software()))]
        self._began_ns = self._heard_ns = self._pinged_ns = now_ns
        self._refusal: str | None = None  # why the connection is of no use
        self._registered: Recent[str, wire.Register] = Recent(_PATHS_KNOWN)  # that the restorer was told
        self._bad_paths: dict[str, str] = {}  # that it cannot restore along, and why
        self._preparing: str | None = None  # a path that was sent ahead of its frame, and is not prepared yet

    def problem(self, now_ns: int) -> str | None:
        """Why this connection has to be given up now; None while it is well."""
        silence_s = (now_ns - self._heard_ns) / 1e9
        if self._refusal is None and silence_s > (SILENCE_LIMIT_S if self.ready else HELLO_LIMIT_S):
            return f"the restorer said nothing for {silence_s:.0f} s"
        return self._refusal

    def receive(self, parts: Sequence[Part], now_ns: int) -> list[Event]:
        """One multipart message from the restorer.

        Raises:
            RemoteProtocolError: it cannot be read, and this connection is of no further use.
        """
        message, payload = wire.FROM_RESTORER.decode(parts)
        self._heard_ns = now_ns
        match message:
            case wire.Welcome():
                self.ready = True
                return [message]
            case wire.Restored():
                return self._restored(message, payload, now_ns)
            case wire.Refused():
                return self._refused(message)
            case wire.Registered():
                self._prepared(message.path_id)
                log.info("path %s: %s takes %.1f ms", message.path_id[:8], message.method, message.restore_ms)
                return [message]
        return []

    def data_to_send(self, now_ns: int) -> list[list[Any]]:
        """The messages to send now, each as its parts."""
        if self.ready:
            if now_ns - self._pinged_ns > PING_EVERY_S * 1e9:
                self._pinged_ns = now_ns
                self._out.append(encode(wire.Ping(sequence=max(0, now_ns) // 1_000_000)))
            if self._preparing is None and self.to_read is None:
                self._next()
        out, self._out = self._out, []
        return out

    def _next(self) -> None:
        ahead = self._requests.ahead()
        if ahead is not None:
            self._preparing = self._register(ahead)
        asked = None if self._preparing is not None else self._requests.next()
        if asked is not None and asked.samples is None:
            self.to_read = asked
        elif asked is not None and asked.samples is not None:
            self._send(asked, asked.samples)

    def was_read(self, samples: NDArray[Any] | str) -> list[Event]:
        """The samples (n,) of :attr:`to_read`, or why they cannot be read."""
        asked, self.to_read = self.to_read, None
        if asked is None:
            return []
        if isinstance(samples, str):
            return self._missed(self._requests.answered(asked.request), samples)
        self._send(asked, samples)
        return []

    def _register(self, path: wire.Register) -> str | None:
        """Tell the restorer of a path that it does not know; returns its id if it was told."""
        if self._registered.get(path.path_id) == path or path.path_id in self._bad_paths:
            return None
        self._registered[path.path_id] = path
        self._out.append(encode(path))
        return path.path_id

    def _send(self, asked: Asked, samples: NDArray[Any]) -> None:
        self._register(asked.path)
        dtype: Literal["<u2", "<f4"] = "<u2" if samples.dtype.str == "<u2" else "<f4"
        header = wire.Restore(
            request=asked.request,
            stream=asked.remembered_as,
            frame=asked.frame,
            path_id=asked.path.path_id,
            count=len(samples),
            dtype=dtype,
            complete=asked.complete,
            look=asked.look,
        )
        self._out.append(encode(header, np.ascontiguousarray(samples)))

    def _prepared(self, path_id: str | None) -> None:
        if self._preparing == path_id:
            self._preparing = None

    def _restored(self, message: wire.Restored, payload: list[Part], now_ns: int) -> list[Event]:
        asked = self._requests.answered(message.request)
        if asked is None:
            return []
        estimate, interval = wire.read_images(message, payload)
        frame = RestoredFrame(
            stream=asked.stream,
            frame=asked.frame,
            path_id=asked.path.path_id,
            complete=asked.complete,
            estimate=estimate,
            interval=interval,
            made_by=message.made_by,
            compute_ms=message.compute_ms,
            waited_ms=message.waited_ms,
            turnaround_ms=(now_ns - asked.asked_ns) / 1e6,
            strain=wire.read_strain(message, payload),
            look=asked.look,
        )
        return [frame]

    def _refused(self, message: wire.Refused) -> list[Event]:
        let_go = message.code == "unknown_path"  # for others, as it must: the path is told anew
        log.log(logging.INFO if let_go else logging.WARNING, "restorer refused: %s", message.text)
        if not self.ready or message.code == "overrun":
            self._refusal = message.text
            return []
        if message.code == "bad_path" and message.path_id is not None:
            self._bad_paths[message.path_id] = message.text
            self._prepared(message.path_id)
            return []
        asked = self._requests.answered(message.request)
        if asked is None:
            return []
        path_id = asked.path.path_id
        if not let_go:
            return self._missed(asked, message.text)
        if path_id in self._bad_paths:
            return self._missed(asked, self._bad_paths[path_id])
        self._registered.pop(path_id, None)
        return list(self._requests.again(asked))

    @staticmethod
    def _missed(asked: Asked | None, reason: str) -> list[Event]:
        return [MissedFrame(asked.stream, asked.frame, reason)] if asked is not None and asked.complete else []
