"""Writing a recording: raw samples first, then the row that vouches for them, then the watermark.

::

    with RecordingWriter.create(path, header, plan_text, capabilities) as recording:
        recording.begin_frame(0, scan_path)
        next_index = recording.write_chunk(0, first_index, values, ...)   # may now be acknowledged
        recording.end_frame(0, "completed", ...)

Samples are written by one thread; images and positions may be written by another at the same time (see
:mod:`scancontrol.recording.images`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError
from scancontrol.paths import ScanPath
from scancontrol.recording.chunk_rows import ChunkRows
from scancontrol.recording.compact import compact
from scancontrol.recording.images import ImageWriter
from scancontrol.recording.layout import CHUNK_ROW, FRAME_ROW, STATUS_ROW, TABLES, Header
from scancontrol.recording.making import make_recording
from scancontrol.recording.open_frames import OpenFrames
from scancontrol.recording.path_rows import PathRows
from scancontrol.recording.progress import FrameProgress, fill_row, new_row
from scancontrol.recording.reader import RecordingReader
from scancontrol.recording.region_file import RegionFile
from scancontrol.recording.regions import Region, open_exclusively
from scancontrol.recording.taking_up import take_up
from scancontrol.restoration import Provenance

__all__ = ["RecordingWriter"]

log = logging.getLogger(__name__)


class RecordingWriter:
    """One recording being written. Make it with :meth:`create` or :meth:`resume`; used by one thread but for
    ``write_positions``, ``write_partial`` and ``write_restoration``, which may be called from any."""

    def __init__(
        self,
        path: Path,
        header: Header,
        regions: dict[str, Region],
        status: NDArray[Any],
        *,
        descriptor: int,
        fsync: bool,
    ) -> None:
        self.header = header
        self._status = status
        self._fsync = fsync
        self._dtype = np.dtype(header.sample_dtype)
        self._frames = OpenFrames()
        self._paths = PathRows(header.capacity)
        self._chunks = ChunkRows(header.capacity)
        self._electrons = float(status["electrons"][0])
        self._lock = threading.Lock()
        self._file = RegionFile(path, regions, descriptor)
        self._images = ImageWriter(path, header, regions, self._file.descriptor)

    @classmethod
    def create(
        cls, path: Path | str, header: Header, plan_text: str, capabilities: Capabilities, *, fsync: bool = False
    ) -> Self:
        """Make the file and reserve the disk space of every raw sample of the plan.

        ``fsync`` makes :meth:`write_chunk` wait for the disk itself: a sample acknowledged then survives the loss of
        power, not only of the process.

        Raises:
            RecordingError: the disk has no room, or a file is there already; none is left then.
        """
        path = Path(path)
        status = new_row(STATUS_ROW, reason=b"recording")
        regions, descriptor = make_recording(path, header, plan_text, capabilities, status.tobytes())
        return cls(path, header, regions, status, descriptor=descriptor, fsync=fsync)

    @classmethod
    def resume(cls, path: Path | str, *, fsync: bool = False) -> Self:
        """Go on with a recording whose writer died.

        Raises:
            RecordingError: it ended cleanly.
        """
        path = Path(path)
        descriptor = open_exclusively(path)  # before anything is read: its writer may be about to replace it
        try:
            with RecordingReader(path) as reader:
                if reader.closed:
                    raise RecordingError(f"{path} ended cleanly ({reader.reason}); start a new recording instead")
                taken, status = take_up(reader), reader.rows("status")
                writer = cls(path, reader.header, reader.regions(), status, descriptor=descriptor, fsync=fsync)
        except BaseException:
            os.close(descriptor)
            raise
        writer._frames, writer._paths = taken.frames, PathRows(writer.header.capacity, taken.paths)
        writer._chunks.restore(*taken.chunks)
        for chunk in taken.damaged:
            log.error("%s: %s differ from their checksum and are left out", path, chunk)
        return writer

    @property
    def path(self) -> Path:
        """Where the file is; it may have been moved while it was written."""
        return self._file.path

    def begin_frame(self, frame: int, path: ScanPath) -> None:
        """Give frame ``frame`` its place, along ``path``. Beginning a frame again changes nothing.

        Raises:
            RecordingError: the recording was not made large enough for it.
        """
        with self._lock:
            if self._frames.row(frame) is not None:
                known = self._known(frame)
                if known.path_id != path.path_id:
                    raise RecordingError(f"frame {frame} began along path {known.path_id}, not {path.path_id}")
                return
            if tuple(path.shape) != self.header.shape:
                raise RecordingError(f"frame {frame} is {path.shape} px; the recording holds {self.header.shape} px")
            room = self.header.capacity
            row, first = len(self._frames), int(self._status["samples"][0])
            if row >= room.frames or first + path.count > room.samples:
                raise RecordingError(
                    f"frame {frame} with {path.count} samples does not fit: the recording was made for "
                    f"{room.frames} frames and {room.samples} samples; make it larger"
                )
            path_row = self._paths.add(path, self._file, self._status)
            values = new_row(FRAME_ROW, frame=frame, path=path_row, first=first, count=path.count, reason=b"recording")
            self._file.write_row("frames", row, values)
            self._status["frame_rows"] = row + 1
            self._status["samples"] = first + path.count
            self._file.write_row("status", 0, self._status)
            self._frames.add(frame, FrameProgress(row, first, path.count, path.path_id, values))

    def write_chunk(
        self, frame: int, first_index: int, values: NDArray[Any], monotonic_ns: int, utc_ns: int, electrons: float
    ) -> int:
        """Put samples of a frame on the disk and return the next index wanted: all before it is safe.

        ``values`` is (channels, n); ``electrons`` the dose so far as the microscope states it. What is on the disk
        already is counted and not written again. A chunk from beyond the next index wanted is not kept: the answer
        tells where to send from.

        Raises:
            RecordingError: the disk does not take it.
        """
        with self._lock:
            progress = self._known(frame)
            if values.dtype != self._dtype or values.ndim != 2 or values.shape[0] != len(self.header.channels):
                raise RecordingError(
                    f"samples are {values.shape} {values.dtype.str}; the recording holds "
                    f"({len(self.header.channels)}, n) {self._dtype.str}"
                )
            count = values.shape[1]
            if not 0 <= first_index <= first_index + count <= progress.count:
                raise RecordingError(
                    f"samples {first_index} to {first_index + count} of frame {frame}, whose path has {progress.count}"
                )
            known = progress.next_index - first_index
            if known > 0:
                self._status["duplicate_samples"] += min(known, count)
            self._file.follow()
            if 0 <= known < count:
                fresh = np.ascontiguousarray(values[:, known:])
                self._write_samples(progress, fresh, monotonic_ns, utc_ns, electrons)
            return progress.next_index

    def put_back(self, elsewhere: Path | None = None) -> bool:
        """Have the file under its name again, if it was deleted under us; True if it had to be written anew.

        ``elsewhere`` is another name to write it under from now on.

        Raises:
            RecordingError: there is no place for it.
        """
        with self._lock:
            return not self._file.closed and self._back_in_place(elsewhere)

    def _back_in_place(self, elsewhere: Path | None = None) -> bool:
        if not self._file.put_back(elsewhere):
            return False
        self._images.reopened(self._file.descriptor)
        return True

    def _write_samples(
        self, progress: FrameProgress, values: NDArray[Any], monotonic_ns: int, utc_ns: int, electrons: float
    ) -> None:
        count = values.shape[1]
        for lane in range(values.shape[0]):
            data = memoryview(values[lane]).cast("B")
            self._file.write("raw samples", lane, (progress.first + progress.next_index) * self._dtype.itemsize, data)
        row, checksum = self._chunks.next(progress, values, monotonic_ns, utc_ns, electrons)
        self._file.write("chunks", 0, row.number * CHUNK_ROW.itemsize, row.packed())
        if progress.next_index == 0:
            progress.values["started_monotonic_ns"] = monotonic_ns
            progress.values["started_utc_ns"] = utc_ns
            self._file.write_row("frames", progress.row, progress.values)
        self._status["chunk_rows"] = max(self._chunks.used, row.number + 1)
        if electrons > self._electrons:
            self._status["electrons"] = self._electrons = electrons
        self._file.write_row("status", 0, self._status)
        if self._fsync:
            self._file.sync()
        self._chunks.written(progress, row, checksum, count)  # not before: what failed is written again
        progress.next_index += count

    def end_frame(
        self, frame: int, reason: str, *, exposed: int, electrons: float = 0.0, utc_ns: int | None = None
    ) -> bool:
        """Note why a frame ended and how many samples were exposed; True if the disk has all of those."""
        with self._lock:
            progress = self._known(frame)
            fill_row(
                progress.values,
                received=progress.next_index,
                exposed=exposed,
                electrons=electrons,
                ended_utc_ns=time.time_ns() if utc_ns is None else utc_ns,
                ended=1,
                complete=progress.next_index == progress.count,
                reason=reason.encode()[:24],
            )
            self._file.write_row("frames", progress.row, progress.values)
            if self._fsync:
                self._file.sync()
            if progress.next_index == progress.count:
                self._frames.complete(frame)
            return progress.next_index == exposed

    def note_asked(self, frame: int, server_id: str) -> None:
        """Note whom a frame is about to be asked of; with ``""``, that its end has told how far it came.

        While it is noted, nobody but that server knows which samples were exposed.

        Raises:
            RecordingError: the disk does not take it.
        """
        with self._lock:
            progress = self._known(frame)
            if progress.asked_of == server_id or "asked_of" not in self._file.regions:
                return
            size = TABLES["asked_of"].itemsize
            self._file.write("asked_of", 0, progress.row * size, server_id.encode()[:size].ljust(size, b"\0"))
            if self._fsync:
                self._file.sync()
            progress.asked_of = server_id

    def asked_of(self, frame: int) -> str:
        """The server of :meth:`note_asked`; empty where none is noted."""
        progress = self._frames.get(frame)
        return "" if progress is None else progress.asked_of

    def settle(self, server_id: str) -> None:
        """This server has told of every frame that it was asked for how far it came.

        Raises:
            RecordingError: the disk does not take it.
        """
        for frame, progress in self._frames:
            if progress.asked_of == server_id:
                self.note_asked(frame, "")

    def next_index(self, frame: int) -> int:
        """The first sample of ``frame`` that is not on the disk; 0 for a frame that has not begun."""
        return 0 if self._frames.row(frame) is None else self._known(frame).next_index

    @property
    def counts(self) -> dict[str, int]:
        """Frames begun, samples on the disk, duplicates removed, images that found no room."""
        return {
            "frames": len(self._frames),
            "samples": self._frames.samples,
            "duplicate_samples": int(self._status["duplicate_samples"][0]),
            "images_not_stored": self._images.not_stored,
        }

    def write_positions(
        self, path_id: str, nominal: NDArray[Any], achieved: NDArray[Any] | None, dwell_us: NDArray[Any], first: int = 0
    ) -> bool:
        """Store where the beam was told to be and where it was, fractions (n, 2) = (y, x), from sample ``first``.

        Once per path; False if the disk had no room (the recipe is stored anyway).
        """
        row, start, count = self._paths.place_of(path_id)
        return self._images.positions(row, start + first, first + len(nominal) == count, nominal, achieved, dwell_us)

    def write_partial(self, frame: int, image: NDArray[Any], channel: str | None = None) -> bool:
        """Store the gridded samples of a frame, (rows, cols) in sample units, of a detector (the first by default).

        False if there was no room.
        """
        return self._images.partial(self._row(frame), image, channel)

    def wants_restoration(self, frame: int) -> bool:
        """Whether a restoration of ``frame`` has a place in this recording."""
        row = self._frames.row(frame)
        return row is not None and self.header.restoration_row(row) is not None

    def write_restoration(
        self,
        frame: int,
        estimate: NDArray[Any],
        interval: NDArray[Any] | None,
        made_by: Provenance,
        *,
        channel: str | None = None,
        utc_ns: int | None = None,
    ) -> bool:
        """Store a restoration, (rows, cols) in sample units, and what made it; a later one replaces it.

        ``channel`` names the detector that was restored: the first by default. False if this frame has no place for
        one (see ``Header.keep_restorations``) or the disk no room.
        """
        row = self.header.restoration_row(self._row(frame))
        if row is None or not self._images.has_place("restorations", channel):
            return False
        return self._images.restoration(row, frame, estimate, interval, made_by, utc_ns, channel)

    def close(self, reason: str = "completed", why: str = "") -> None:
        """End the recording cleanly and give back the room of what was planned but never scanned.

        ``why`` says in one sentence why it ended, and what to do about it.
        If the disk does not take the end, the file stays open, and this may be called again.
        """
        with self._lock:
            if self._file.closed:
                return
            self._images.close()
            self._status["closed"] = 1
            self._status["ended_utc_ns"] = time.time_ns()
            self._status["reason"] = reason.encode()[:24]
            self._status["images_not_stored"] = self._images.not_stored
            self._back_in_place()
            self._end_open_frames(reason)
            if why and "why_ended" in self._file.regions:
                size = TABLES["why_ended"].itemsize
                text = why.encode()[:size].decode("utf-8", "ignore").encode()
                self._file.write("why_ended", 0, 0, text.ljust(size, b"\0"))
            self._file.write_row("status", 0, self._status)
            self._file.sync()
            room = self.header.capacity
            if len(self._frames) < room.frames or self._status["samples"][0] < 0.8 * room.samples:
                compact(self.path)
            self._file.close()

    def _end_open_frames(self, reason: str) -> None:
        """A frame whose end never came ended with the recording: how far it was exposed nobody has said."""
        for _, progress in self._frames:
            if not progress.values["ended"][0]:
                fill_row(progress.values, received=progress.next_index, reason=reason.encode()[:24])
                self._file.write_row("frames", progress.row, progress.values)

    def abandon(self) -> None:
        """Let go of the file as a crash would, to be resumed later."""
        with self._lock:
            self._images.close()
            self._file.close()

    def _row(self, frame: int) -> int:
        row = self._frames.row(frame)
        if row is None:
            raise RecordingError(f"frame {frame} has not begun in {self.path}")
        return row

    def _known(self, frame: int) -> FrameProgress:
        """A frame that has begun; a complete one as its row in the file has it."""
        known = self._frames.get(frame)
        if known is not None:
            return known
        row = self._row(frame)
        values = self._file.read_row("frames", row)
        path_id = self._paths.path_id(int(values["path"][0]))
        first, count = int(values["first"][0]), int(values["count"][0])
        return FrameProgress(row, first, count, path_id, values, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
