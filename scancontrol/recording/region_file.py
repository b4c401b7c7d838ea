"""The open file of a recording: bytes and table rows to their places, and every failure with the file's name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RecordingError
from scancontrol.recording.layout import TABLES
from scancontrol.recording.regions import Region, disk_error

__all__ = ["RegionFile"]


class RegionFile:
    """A recording opened for writing by this process alone. All methods raise :class:`RecordingError`.

    ``descriptor`` is of :func:`~scancontrol.recording.regions.open_exclusively`, and is closed with this.
    """

    def __init__(self, path: Path, regions: dict[str, Region], descriptor: int) -> None:
        self.path, self.regions, self.descriptor = path, regions, descriptor

    @property
    def closed(self) -> bool:
        """Whether it was let go of."""
        return self.descriptor < 0

    def write(self, name: str, lane: int, first: int, data: memoryview | bytes) -> None:
        """Put bytes at byte ``first`` of a lane of region ``name``."""
        try:
            self.regions[name].write(self._open(), lane, first, data)
        except OSError as error:
            raise disk_error(self.path, "writing", error) from error

    def write_row(self, name: str, row: int, values: NDArray[Any]) -> None:
        """Put one row, shape (1,), into table ``name``."""
        self.write(name, 0, row * values.itemsize, values.tobytes())

    def read_row(self, name: str, row: int) -> NDArray[Any]:
        """One row of table ``name``, shape (1,), which may be changed."""
        dtype = TABLES[name]
        try:
            content = self.regions[name].read(self._open(), 0, row * dtype.itemsize, dtype.itemsize)
        except OSError as error:
            raise disk_error(self.path, "reading", error) from error
        return np.frombuffer(bytearray(content), dtype=dtype)

    def sync(self) -> None:
        """Wait until the disk itself has what was written."""
        try:
            os.fdatasync(self._open())
        except OSError as error:
            raise disk_error(self.path, "flushing", error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _open(self) -> int:
        if self.descriptor < 0:
            raise RecordingError(f"{self.path} is closed")
        return self.descriptor
