"""How far each frame of a recording has come, as its writer keeps it, and rows of the file's tables by name."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.recording.checksums import Checksum

__all__ = ["ChunkRow", "FrameProgress", "FrameRows", "fill_row", "new_row"]

_OF_NOTHING = Checksum(())
_CHUNK = struct.Struct("<3Q2qd2I")  # as CHUNK_ROW has it


class ChunkRow(msgspec.Struct, frozen=True):
    """One row of the chunk table, and its number. A plain value: a row of numpy's takes longer than the disk."""

    number: int
    frame_row: int
    first_index: int
    count: int
    monotonic_ns: int
    utc_ns: int
    electrons: float
    crc32: int
    checked: int

    @classmethod
    def of(cls, number: int, row: NDArray[Any]) -> ChunkRow:
        """From the table's own row, shape (1,)."""
        return cls(number, *row[0].item())

    def packed(self) -> bytes:
        """The bytes of the table's row."""
        return _CHUNK.pack(
            self.frame_row,
            self.first_index,
            self.count,
            self.monotonic_ns,
            self.utc_ns,
            self.electrons,
            self.crc32,
            self.checked,
        )


@dataclass(slots=True)
class FrameProgress:
    """How far one frame has come. ``next_index`` is the first sample not yet on the disk.

    One that is complete is let go: its row in the file says the same, and a long run has very many.
    """

    row: int
    first: int
    count: int
    path_id: str
    values: NDArray[Any]  # its row of the frame table
    next_index: int = 0
    asked_of: str = ""
    chunk: ChunkRow | None = None  # the last one
    checksum: Checksum = _OF_NOTHING  # of the samples in it
    may_grow: bool = False  # whether it may take further samples in


class FrameRows:
    """Which row of the frame table each frame has. Frames nearly always begin in order: 8 bytes each are enough."""

    def __init__(self) -> None:
        self._frames = array("Q")  # by row
        self._elsewhere: dict[int, int] = {}  # frames that are not in the row of their own number

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, frame: int) -> int | None:
        """The frame's row; None if it has not begun."""
        if 0 <= frame < len(self._frames) and self._frames[frame] == frame:
            return frame
        return self._elsewhere.get(frame)

    def add(self, frame: int) -> int:
        """Give a new frame the next row."""
        row = len(self._frames)
        self._frames.append(frame)
        if row != frame:
            self._elsewhere[frame] = row
        return row


def fill_row(row: NDArray[Any], **values: Any) -> None:
    """Set fields of a table row, shape (1,)."""
    for name, value in values.items():
        row[name] = value


def new_row(dtype: np.dtype[Any], **values: Any) -> NDArray[Any]:
    """A table row, shape (1,), with these fields set and all others 0."""
    row = np.zeros(1, dtype=dtype)
    fill_row(row, **values)
    return row
