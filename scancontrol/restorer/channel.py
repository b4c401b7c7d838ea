"""One request out, one message in, on the socket that a thread owns; neither ever waits."""

from __future__ import annotations

from typing import Any, Literal

import zmq

from scancontrol.restorer.ledger import Asked
from scancontrol.wire import restoring as wire

__all__ = ["receive_now", "request_parts", "send_now"]


def request_parts(asked: Asked) -> list[Any]:
    """The message that asks for a frame."""
    kind: Literal["<u2", "<f4"] = "<u2" if asked.samples.dtype.str == "<u2" else "<f4"
    header = wire.Restore(
        request=asked.request,
        stream=asked.stream,
        frame=asked.frame,
        path_id=asked.path_id,
        count=len(asked.samples),
        dtype=kind,
        live=asked.live,
        complete=asked.complete,
    )
    return wire.encode(header, asked.samples)


def send_now(dealer: zmq.Socket[Any], parts: list[Any]) -> bool:
    """Send, or say False if the peer takes nothing now."""
    try:
        dealer.send_multipart(parts, zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return False
    return True


def receive_now(dealer: zmq.Socket[Any]) -> tuple[wire.RestorerMessage, list[Any]] | None:
    """The next message and its raw parts, or None if none has come. Raises RemoteProtocolError."""
    try:
        frames = dealer.recv_multipart(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None
    return wire.FROM_RESTORER.decode([frames[0].bytes, *(frame.buffer for frame in frames[1:])])
