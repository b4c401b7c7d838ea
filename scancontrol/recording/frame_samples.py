"""What is read of a frame: its samples, and which of them the disk damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.recording.checksums import NO_CHECKSUM, checksum_of

__all__ = ["DamagedChunk", "FrameSamples", "SampleChecks", "Verification"]

_UNKNOWN, _SOUND, _DAMAGED = 0, 1, 2


@dataclass(frozen=True)
class DamagedChunk:
    """Samples ``first_index`` to ``end`` of a frame that differ from their checksum, in row ``chunk`` of the table."""

    frame: int
    chunk: int
    first_index: int
    end: int

    def __str__(self) -> str:
        return f"samples {self.first_index} to {self.end} of frame {self.frame} (chunk {self.chunk})"


@dataclass(frozen=True)
class FrameSamples:
    """Samples of a frame, checked against their checksums as they were read.

    Attributes:
        values: (channels, n), of which those in ``damaged`` are not what was measured.
        first_index: the first one's index in the frame.
        damaged: chunks of which a part or all lies in ``values``.
    """

    values: NDArray[Any]
    first_index: int
    damaged: tuple[DamagedChunk, ...]

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Which samples are as they were measured, shape (n,)."""
        sound = np.ones(self.values.shape[1], dtype=np.bool_)
        for chunk in self.damaged:
            sound[max(0, chunk.first_index - self.first_index) : max(0, chunk.end - self.first_index)] = False
        return sound


@dataclass(frozen=True)
class Verification:
    """A recording read from end to end: samples of each channel, how many carry no checksum, and what is damaged."""

    samples: int
    unchecked_samples: int
    chunks: int  # that carry a checksum
    damaged: tuple[DamagedChunk, ...]


class SampleChecks:
    """Checks samples as they are read; each chunk once.

    ``chunks`` are the rows of the chunk table; ``read`` gives samples (channels, n) of the frame in a row of the frame
    table, from an index, so many.
    """

    def __init__(self, chunks: NDArray[Any], read: Callable[[int, int, int], NDArray[Any]]) -> None:
        self._chunks, self._read = chunks, read
        self._order = np.lexsort((chunks["first_index"], chunks["frame_row"]))
        self._frame_rows = chunks["frame_row"][self._order]
        self._known = np.full(len(chunks), _UNKNOWN, dtype=np.uint8)

    def read(self, frame: int, row: int, first: int, count: int) -> FrameSamples:
        """Samples ``first`` to ``first + count`` of a frame, which is in ``row`` of the frame table."""
        values = self._read(row, first, count)
        damaged = []
        for chunk in self._chunks_of(row):
            begin, size = int(self._chunks["first_index"][chunk]), int(self._chunks["count"][chunk])
            if begin + size <= first:
                continue
            if begin >= first + count:
                break
            if self._known[chunk] == _UNKNOWN:
                inside = begin >= first and begin + size <= first + count
                whole = values[:, begin - first : begin - first + size] if inside else self._read(row, begin, size)
                self._known[chunk] = self._look_at(chunk, whole)
            if self._known[chunk] == _DAMAGED:
                damaged.append(DamagedChunk(frame, int(chunk), begin, begin + size))
        return FrameSamples(values, first, tuple(damaged))

    def checked(self, row: int) -> tuple[int, int]:
        """How many chunks of a frame carry a checksum, and how many of its samples are in those that do not."""
        chunks = self._chunks[self._chunks_of(row)]
        carries = chunks["checked"] != NO_CHECKSUM
        return int(carries.sum()), int(chunks["count"][~carries].sum())

    def _chunks_of(self, row: int) -> NDArray[np.intp]:
        first, end = np.searchsorted(self._frame_rows, [row, row + 1])
        return self._order[first:end]

    def _look_at(self, chunk: int, values: NDArray[Any]) -> int:
        found = checksum_of(values, int(self._chunks["checked"][chunk]))
        return _SOUND if found is None or found == self._chunks["crc32"][chunk] else _DAMAGED
