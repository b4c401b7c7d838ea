"""Messages to parts and back: ``[msgpack header]`` or, for a chunk, ``[msgpack header][raw samples]``.

Everything is bounded before it is decoded, and typed before it is used. What cannot be read raises
:class:`~scancontrol.errors.RemoteProtocolError` and nothing else: a malformed message changes no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RemoteProtocolError, VersionMismatch
from scancontrol.wire.messages import (
    PROTOCOL_VERSION,
    ChunkHeader,
    ClientControl,
    ClientData,
    Message,
    ServerControl,
    ServerData,
)

__all__ = [
    "CLIENT_CONTROL",
    "CLIENT_DATA",
    "MAX_CONTROL_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "SERVER_CONTROL",
    "SERVER_DATA",
    "Codec",
    "Part",
    "encode",
    "samples",
]

Part = bytes | memoryview

MAX_CONTROL_BYTES = 32 << 20  # a recipe may carry a list of points: 10⁶ of them take 18 MB
MAX_HEADER_BYTES = 64 << 10
MAX_PAYLOAD_BYTES = 64 << 20

_ITEM_BYTES = {"<u2": 2, "<f4": 4}
_encoder = msgspec.msgpack.Encoder()

M = TypeVar("M")


def encode(message: Message, payload: Part | None = None) -> list[Part]:
    """The parts of a message, ready for one multipart send."""
    header = _encoder.encode(message)
    return [header] if payload is None else [header, payload]


class _Probe(msgspec.Struct):
    """Just enough of a message, of whatever version, to name the version that its sender speaks."""

    type: str = ""
    protocol_version: int = PROTOCOL_VERSION


_probe = msgspec.msgpack.Decoder(_Probe)


class Codec(Generic[M]):
    """Decodes what one direction of one connection may carry."""

    def __init__(self, kinds: Any, limit_bytes: int, name: str) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kinds)
        self._limit_bytes = limit_bytes
        self._name = name

    def decode(self, parts: Sequence[Part]) -> tuple[M, Part | None]:
        """One message, and its payload where it has one.

        :raises RemoteProtocolError: too large, malformed, of no known type, or its payload does not fit it
        :raises VersionMismatch: not readable, and its sender says that it speaks another version
        """
        if not 1 <= len(parts) <= 2:
            raise RemoteProtocolError(f"{self._name}: a message of {len(parts)} parts; one or two are known")
        header = parts[0]
        size = _size(header)
        if size > self._limit_bytes:
            raise RemoteProtocolError(f"{self._name}: a header of {size} bytes; the limit is {self._limit_bytes}")
        try:
            message = self._decoder.decode(header)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            _raise_if_other_version(header)
            raise RemoteProtocolError(f"{self._name}: {error}") from None
        if len(parts) == 1:
            if isinstance(message, ChunkHeader):
                raise RemoteProtocolError(f"{self._name}: a chunk without its samples")
            return message, None
        payload = parts[1]
        if not isinstance(message, ChunkHeader):
            raise RemoteProtocolError(f"{self._name}: a second part where none belongs")
        expected = message.channels * message.count * _ITEM_BYTES[message.dtype]
        if expected > MAX_PAYLOAD_BYTES or _size(payload) != expected:
            raise RemoteProtocolError(
                f"{self._name}: a chunk of {_size(payload)} bytes where its header says {expected}"
                f" (at most {MAX_PAYLOAD_BYTES})"
            )
        chunk: Any = message
        return chunk, payload


def _raise_if_other_version(header: Part) -> None:
    try:
        probe = _probe.decode(header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    if probe.protocol_version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the peer speaks version {probe.protocol_version} of the protocol, this end version"
            f" {PROTOCOL_VERSION}; install the same release of scancontrol on both"
        )


def _size(part: Part) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)


def samples(header: ChunkHeader, payload: Part) -> NDArray[Any]:
    """The samples of a chunk, ``(channels, count)``, read-only, without a copy."""
    values = np.frombuffer(payload, dtype=np.dtype(header.dtype)).reshape(header.channels, header.count)
    values.flags.writeable = False
    return values


CLIENT_CONTROL: Codec[ClientControl] = Codec(ClientControl, MAX_CONTROL_BYTES, "control from a client")
SERVER_CONTROL: Codec[ServerControl] = Codec(ServerControl, MAX_HEADER_BYTES, "control from the microscope")
CLIENT_DATA: Codec[ClientData] = Codec(ClientData, MAX_HEADER_BYTES, "data connection of a client")
SERVER_DATA: Codec[ServerData] = Codec(ServerData, MAX_HEADER_BYTES, "data from the microscope")
