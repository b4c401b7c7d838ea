"""The open file of a recording, wherever it is moved to: puts bytes and table rows in their places."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RecordingError
from scancontrol.recording.layout import TABLES
from scancontrol.recording.place import FilePlace, put_back
from scancontrol.recording.regions import Region, disk_error, open_exclusively

__all__ = ["RegionFile"]

log = logging.getLogger(__name__)


class RegionFile:
    """A recording opened for writing by this process alone, followed where it is moved to.

    ``descriptor`` is of :func:`~scancontrol.recording.regions.open_exclusively`, and is closed with this.

    Raises:
        RecordingError: by every method, with the file's name, where the disk does not take or give what is asked for.
    """

    def __init__(self, path: Path, regions: dict[str, Region], descriptor: int) -> None:
        self.path, self.regions, self.descriptor = path, regions, descriptor
        self._place = FilePlace(path)

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

    def follow(self, *, at_once: bool = False) -> None:
        """Note where the file was moved to; cheap, see :meth:`FilePlace.look`. Raises where it was deleted."""
        moved = self._place.look(at_once=at_once)
        if moved is not None:
            log.warning("%s was moved while it was written; it goes on as %s", self.path, moved)
            self.path = moved

    def put_back(self, elsewhere: Path | None = None) -> bool:
        """Have the file under its name again, if it was deleted under us; True if it had to be written anew.

        ``elsewhere`` is another name to write it under. Then the descriptor is another one. Raises where there is no
        place for the file.
        """
        with contextlib.suppress(RecordingError):  # it is gone: just what is mended here
            self.follow(at_once=True)
        path = elsewhere or self.path
        if not put_back(self._open(), path):
            return False
        self.path = path
        gone, self.descriptor = self.descriptor, open_exclusively(self.path)
        os.close(gone)
        self._place.close()
        self._place = FilePlace(self.path)
        log.warning("%s was gone and is put back, with every sample that was written", self.path)
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._place.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _open(self) -> int:
        if self.descriptor < 0:
            raise RecordingError(f"{self.path} is closed")
        return self.descriptor
