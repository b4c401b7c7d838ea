"""Checksums that grow with what they vouch for, so that any number of chunks may share one row of the chunk table."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Self

import msgspec
from numpy.typing import NDArray

__all__ = ["NO_CHECKSUM", "ONE_CHUNK", "RUNNING", "Checksum", "checksum_of"]

NO_CHECKSUM, ONE_CHUNK, RUNNING = 0, 1, 2
"""What ``checked`` in the chunk table means: no checksum; the CRC-32 of the channels one after another, which could
not grow; the CRC-32 of the channels' own CRC-32s, which can. Version 1 of the format wrote the first two."""


class Checksum(msgspec.Struct, frozen=True):
    """CRC-32 of each channel's samples so far; :attr:`value` is what the chunk table holds, as :data:`RUNNING`."""

    channels: tuple[int, ...]

    @classmethod
    def of_nothing(cls, channels: int) -> Self:
        """Of no sample yet."""
        return cls((0,) * channels)

    def followed_by(self, values: NDArray[Any]) -> Checksum:
        """With samples (channels, n) after those before; their rows must be contiguous in memory."""
        return Checksum(tuple(map(zlib.crc32, values, self.channels)))

    @property
    def value(self) -> int:
        """One number for all channels: their CRC-32s, little-endian, under a CRC-32 of their own."""
        return zlib.crc32(struct.pack(f"<{len(self.channels)}I", *self.channels))


def checksum_of(values: NDArray[Any], kind: int) -> int | None:
    """The checksum of samples (channels, n) as ``checked`` in the chunk table says; None where that is none."""
    if kind == RUNNING:
        return Checksum.of_nothing(len(values)).followed_by(values).value
    if kind != ONE_CHUNK:
        return None
    crc = 0
    for lane in values:
        crc = zlib.crc32(memoryview(lane).cast("B"), crc)
    return crc
