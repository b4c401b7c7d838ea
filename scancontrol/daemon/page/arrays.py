"""Exact arrays in a binary message, and what a script makes of such messages. Pure functions.

The form is that of :mod:`.frames`: the header's length, a JSON header, planes in its order. A plane of exact values
says its numpy ``dtype`` and ``shape``; one of a picture to be looked at has the header's rows and columns, and where it
is ``u2`` its value is ``low + (high − low)·q/65535``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.daemon.page.frames import packed
from scancontrol.errors import RemoteProtocolError

__all__ = ["decode_binary", "encode_arrays"]

_DTYPES = frozenset({"|b1", "|u1", "<u2", "<u4", "<i4", "<f4", "<f8"})
_MOST_PLANES = 256


def encode_arrays(
    kind: str, request: int | None, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> bytes:
    """The binary message of type ``kind`` that answers ``request`` with ``facts`` and named ``arrays``."""
    planes, payload = [], []
    for name, array in arrays.items():
        exact = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        planes.append({"name": name, "dtype": exact.dtype.str, "shape": exact.shape})
        payload.append(exact.tobytes())
    return packed({"type": kind, "request": request, **facts, "planes": planes}, payload)


def decode_binary(message: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and planes of a binary message: exact arrays as they were, pictures as float32 in the samples' units.

    Raises:
        RemoteProtocolError: it is not such a message.
    """
    try:
        (length,) = struct.unpack_from("<I", message)
        header = msgspec.json.decode(message[4 : 4 + length], type=dict[str, Any])
        planes, offset, found = header["planes"], 4 + length, {}
        if len(planes) > _MOST_PLANES:
            raise ValueError(f"{len(planes)} planes")
        for plane in planes:
            exact = "shape" in plane
            shape = tuple(int(side) for side in plane["shape"]) if exact else (int(header["rows"]), int(header["cols"]))
            dtype = plane["dtype"] if exact else {"u1": "|u1", "u2": "<u2"}[plane["dtype"]]
            if dtype not in _DTYPES or min(shape, default=0) < 0:
                raise ValueError(f"a plane of {dtype} {shape}")
            array = np.frombuffer(message, dtype, math.prod(shape), offset).reshape(shape)
            offset += array.nbytes
            if "low" in plane:
                low, high = float(plane["low"]), float(plane["high"])
                array = (low + (high - low) / 65535 * array).astype(np.float32)
            found[str(plane["name"])] = array
    except (struct.error, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise RemoteProtocolError(f"a binary message of the daemon is not understood: {error}") from error
    if offset != len(message):
        raise RemoteProtocolError(f"a binary message has {len(message)} bytes, and its planes end at {offset}")
    return header, found
