"""Which row of the chunk table vouches for the next samples of a frame: a new one, or the one before, which grows."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from scancontrol.recording.checksums import RUNNING, Checksum
from scancontrol.recording.layout import Capacity
from scancontrol.recording.progress import ChunkRow, FrameProgress

__all__ = ["ChunkRows"]


class ChunkRows:
    """Shares the rows that a recording has room for out to its chunks.

    Every chunk gets a row, with its own time stamps, while that many rows are left; where chunks are smaller than
    was planned, neighbours share rows evenly over the whole scan. One row is kept for every frame still to come.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self.used = 0
        self._frames = 0  # that have a row
        self._samples = 0  # in rows

    def restore(self, used: int, frames: int, samples: int) -> None:
        """Go on where an earlier process stopped."""
        self.used, self._frames, self._samples = used, frames, samples

    def next(
        self, progress: FrameProgress, values: NDArray[Any], monotonic_ns: int, utc_ns: int, electrons: float
    ) -> tuple[ChunkRow, Checksum]:
        """The row that vouches for ``values`` (channels, n) too, and its checksum; nothing changes yet."""
        count, before = values.shape[1], progress.chunk
        if before is None or self._begins_row(before, progress.may_grow):
            checksum = Checksum.of_nothing(len(values)).followed_by(values)
            row = ChunkRow(
                self.used,
                progress.row,
                progress.next_index,
                count,
                monotonic_ns,
                utc_ns,
                electrons,
                checksum.value,
                RUNNING,
            )
            return row, checksum
        checksum = progress.checksum.followed_by(values)
        row = msgspec.structs.replace(before, count=before.count + count, electrons=electrons)
        if progress.may_grow:  # else it stays what it was, damaged or unchecked: there is no row left
            row = msgspec.structs.replace(row, crc32=checksum.value, checked=RUNNING)
        return row, checksum

    def written(self, progress: FrameProgress, row: ChunkRow, checksum: Checksum, count: int) -> None:
        """The row is in the file: what :meth:`next` returned holds from now on."""
        self._frames += progress.chunk is None
        self._samples += count
        self.used = max(self.used, row.number + 1)
        progress.may_grow |= progress.chunk is None or progress.chunk.number != row.number
        progress.chunk, progress.checksum = row, checksum

    def _begins_row(self, before: ChunkRow, may_grow: bool) -> bool:
        spare = self._capacity.chunks - self.used - (self._capacity.frames - self._frames)
        if spare <= 0 or not may_grow:
            return spare > 0
        return spare * before.count >= self._capacity.samples - self._samples
