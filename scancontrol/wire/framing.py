"""The four directions of the microscope's wire, and the samples that a chunk carries.

A chunk is ``[msgpack header][raw samples]``, everything else a header alone; see :mod:`scancontrol.wire.codec`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RemoteProtocolError, VersionMismatch
from scancontrol.wire.codec import ITEM_BYTES, UNREADABLE, Codec, Part, encode
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
    "MAX_HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "SERVER_CONTROL",
    "SERVER_DATA",
    "Codec",
    "Part",
    "encode",
    "samples",
]

MAX_HEADER_BYTES = 64 << 10
MAX_PAYLOAD_BYTES = 64 << 20


class _Probe(msgspec.Struct):
    """Just enough of a message, of whatever version, to name the version that its sender speaks."""

    type: str = ""
    protocol_version: int = PROTOCOL_VERSION


_probe = msgspec.msgpack.Decoder(_Probe)


def _refuse_other_version(header: Part) -> None:
    """Look only at the version that the sender of a header says that it speaks.

    Raises:
        VersionMismatch: it is another one than ours.
    """
    try:
        probe = _probe.decode(header)
    except UNREADABLE:
        return
    if probe.protocol_version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the peer speaks version {probe.protocol_version} of the protocol, this end version"
            f" {PROTOCOL_VERSION}; install the same release of scancontrol on both"
        )


def _chunk_bytes(message: Message) -> list[int]:
    if not isinstance(message, ChunkHeader):
        return []
    size = message.channels * message.count * ITEM_BYTES[message.dtype]
    if size > MAX_PAYLOAD_BYTES:
        raise RemoteProtocolError(f"a chunk of {size} bytes (at most {MAX_PAYLOAD_BYTES})")
    return [size]


def samples(header: ChunkHeader, payload: Part) -> NDArray[Any]:
    """The samples of a chunk, ``(channels, count)``, read-only, without a copy."""
    values = np.frombuffer(payload, dtype=np.dtype(header.dtype)).reshape(header.channels, header.count)
    values.flags.writeable = False
    return values


CLIENT_CONTROL: Codec[ClientControl] = Codec(
    ClientControl, MAX_HEADER_BYTES, "control from a client", _chunk_bytes, _refuse_other_version
)
SERVER_CONTROL: Codec[ServerControl] = Codec(
    ServerControl, MAX_HEADER_BYTES, "control from the microscope", _chunk_bytes, _refuse_other_version
)
CLIENT_DATA: Codec[ClientData] = Codec(
    ClientData, MAX_HEADER_BYTES, "data connection of a client", _chunk_bytes, _refuse_other_version
)
SERVER_DATA: Codec[ServerData] = Codec(
    ServerData, MAX_HEADER_BYTES, "data from the microscope", _chunk_bytes, _refuse_other_version
)
