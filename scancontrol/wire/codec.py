"""A message and its raw parts to bytes and back: what every wire of scancontrol shares.

A message is ``[msgpack header]`` and the raw parts that its header promises, such as samples or images. Everything is
bounded before it is decoded, and typed before it is used. What cannot be read raises
:class:`~scancontrol.errors.RemoteProtocolError` and nothing else: a malformed message changes no state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from scancontrol.errors import InvalidInput, RemoteProtocolError

__all__ = ["ITEM_BYTES", "MAX_CONTROL_BYTES", "UNREADABLE", "Codec", "Part", "encode", "part_bytes"]

Part = bytes | memoryview

MAX_CONTROL_BYTES = 32 << 20  # to the restorer: a recipe may carry a list of points, 10⁶ of them take 18 MB
ITEM_BYTES: dict[str, int] = {"<u2": 2, "<f4": 4}
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, InvalidInput)
"""What decoding a header may raise."""

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct, *payload: Any) -> list[Any]:
    """The parts of a message, ready for one multipart send; ``payload`` are buffers, sent without a copy."""
    return [_encoder.encode(message), *payload]


def part_bytes(part: Part) -> int:
    """The size of a part."""
    return part.nbytes if isinstance(part, memoryview) else len(part)


class Codec(Generic[M]):
    """Decodes what one direction of one connection may carry.

    Args:
        kinds: the union of its messages.
        limit_bytes: of a header.
        name: of the connection, for errors.
        payload_bytes: sizes of the raw parts that belong to a message, or a :class:`RemoteProtocolError`, raised.
        look_into: raises what is better than "unreadable" of a header that is.
    """

    def __init__(
        self,
        kinds: Any,
        limit_bytes: int,
        name: str,
        payload_bytes: Callable[[Any], list[int]] = lambda message: [],
        look_into: Callable[[Part], None] = lambda header: None,
    ) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kinds)
        self._limit_bytes, self._name = limit_bytes, name
        self._payload_bytes, self._look_into = payload_bytes, look_into

    def decode(self, parts: Sequence[Part]) -> tuple[M, list[Part]]:
        """One message, and its raw parts, whose sizes agree with its header.

        Raises:
            RemoteProtocolError: too large, malformed, of no known type, or its parts do not fit it.
        """
        if not 1 <= len(parts) <= 4:
            raise RemoteProtocolError(f"{self._name}: a message of {len(parts)} parts; one to four are known")
        size = part_bytes(parts[0])
        if size > self._limit_bytes:
            raise RemoteProtocolError(f"{self._name}: a header of {size} bytes; the limit is {self._limit_bytes}")
        try:
            message = self._decoder.decode(parts[0])
        except UNREADABLE as error:
            self._look_into(parts[0])
            raise RemoteProtocolError(f"{self._name}: {error}") from None
        expected = self._payload_bytes(message)
        actual = [part_bytes(part) for part in parts[1:]]
        if actual != expected:
            kind = type(message).__name__.lower()
            raise RemoteProtocolError(
                f"{self._name}: {kind} with parts of {actual} bytes where its header says {expected}"
            )
        return message, list(parts[1:])
