"""Putting restorations into a recording that was made before; its samples stay as they are."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from scancontrol.errors import RecordingError
from scancontrol.recording.images import ImageWriter
from scancontrol.recording.reader import RecordingReader
from scancontrol.recording.regions import open_exclusively
from scancontrol.restoration import Provenance

__all__ = ["Annotator"]


class Annotator:
    """Writes restorations into the places that a recording has for them, and nothing else.

    Raises:
        RecordingError: the file is no recording, or is being written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._descriptor = open_exclusively(self.path)  # before anything is read: a writer may be about to replace it
        try:
            with RecordingReader(self.path) as reader:
                self.header = reader.header
                self._rows = {frame.frame: row for row, frame in enumerate(reader.frames)}
                regions = reader.regions()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._images = ImageWriter(self.path, self.header, regions, self._descriptor)

    def has_place(self, frame: int, channel: str | None = None) -> bool:
        """Whether a restoration of ``frame`` and a detector (the first by default) can be kept here."""
        row = self.header.restoration_row(self._rows[frame]) if frame in self._rows else None
        return row is not None and self._images.has_place("restorations", channel)

    def write_restoration(
        self,
        frame: int,
        estimate: NDArray[Any],
        interval: NDArray[Any] | None,
        made_by: Provenance,
        *,
        channel: str | None = None,
        utc_ns: int | None = None,
    ) -> None:
        """Store a restoration, as :meth:`RecordingWriter.write_restoration` does.

        Raises:
            RecordingError: the frame has no place for one, or the disk no room.
        """
        row = self.header.restoration_row(self._rows[frame]) if frame in self._rows else None
        if row is None or not self._images.has_place("restorations", channel):
            of = f"frame {frame}" + (f", {channel}" if channel else "")
            raise RecordingError(f"{self.path} has no place for a restoration of {of}; restore into a copy")
        if not self._images.restoration(row, frame, estimate, interval, made_by, utc_ns, channel):
            raise RecordingError(f"{self.path}: the disk has no room for the restoration of frame {frame}")

    def close(self) -> None:
        """Let go of the file."""
        self._images.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
