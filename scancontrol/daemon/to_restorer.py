"""The samples of one acquisition on their way to the restorer, newest frame first. Nothing here holds up the beam.

The newest frame is restored first, because somebody is looking at it. Older ones whose restoration the recording
has a place for wait their turn. The sink only copies values, and the restorer's client never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import FrameEnd, FrameStart
from scancontrol.capabilities import CoilModel
from scancontrol.errors import RecordingError, ScanControlError
from scancontrol.paths import ScanPath
from scancontrol.recording import RecordingReader, RecordingWriter
from scancontrol.restorer import MissedFrame, RestoredFrame, RestorerProcess

__all__ = ["RunSink"]

log = logging.getLogger(__name__)

_IN_FLIGHT = 1  # what is handed in cannot be overtaken, and the next choice costs the restorer under a millisecond
_WAITING_BYTES = 256 << 20  # samples kept in memory for frames that wait; beyond this they are read back
_LOOK_S = 0.25  # how often an unfinished frame is looked at, while the restorer has nothing better to do
_LOOKS_KEPT = 1024  # times that are remembered
_FEWEST_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class _Job:
    """A frame to restore. ``values`` is None once they have to be read back from the recording."""

    frame: int
    path_id: str
    values: NDArray[Any] | None
    received_ns: int


class RunSink:
    """Collects the samples of one acquisition and hands them on, newest frame first."""

    def __init__(self, process: RestorerProcess, recording: RecordingWriter, coil: CoilModel, enabled: bool) -> None:
        self.stream = recording.header.series_unique_id or recording.path.name
        self.series_id = recording.header.series_id
        self.progress = threading.Event()
        self._process, self._recording, self._coil, self._enabled = process, recording, coil, enabled
        self._lock = threading.RLock()
        self._only_newest = recording.header.keep_restorations == "last"
        self.passed_over = 0  # frames that a newer one overtook, and that no recording has a place for
        self._waiting: OrderedDict[int, _Job] = OrderedDict()
        self._bytes = 0
        self._asked: dict[int, _Job] = {}
        self._newest_shown = -1
        self._buffer: NDArray[Any] | None = None
        self._path: ScanPath | None = None
        self._frame = -1
        self._filled = 0
        self._began = self._next_look = 0.0
        self._look_s: dict[tuple[str, int], float] = {}  # what a look took, by path and samples
        self._damaged = False  # samples of this frame that an earlier process recorded
        self._closed = False

    # -- from the acquisition's thread ------------------------------------------------------------------

    def frame_started(self, start: FrameStart) -> None:
        """See :class:`scancontrol.acquisition.Sink`."""
        if not self._enabled or start.frame == self._frame:
            return
        self._path, self._frame, self._filled = start.path, start.frame, 0
        self._buffer = None
        self._damaged = False
        if start.first_index:  # an earlier process scanned the beginning
            before = self._read_back(start.frame, start.first_index)
            if before is None:
                self._damaged = True
                return
            self._buffer = np.empty(start.path.count, before.dtype)
            self._buffer[: len(before)] = before
        self._began = time.monotonic()
        self._next_look = self._began + _LOOK_S
        self._process.register(start.path.recipe, self._coil)

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """See :class:`scancontrol.acquisition.Sink`. The first detector is restored."""
        path = self._path
        if not self._enabled or frame != self._frame or path is None or self._damaged:
            return
        received_ns = time.monotonic_ns()
        if self._buffer is None:
            self._buffer = np.empty(path.count, values.dtype)
        end = first_index + values.shape[1]
        self._buffer[first_index:end] = values[0]
        self._filled = end
        if end == path.count:
            self._hand_in(path, received_ns)  # that the frame has ended follows, and adds nothing
        else:
            self._look(path)

    def frame_ended(self, end: FrameEnd) -> None:
        """See :class:`scancontrol.acquisition.Sink`."""
        if end.frame == self._frame and self._path is not None:
            self._hand_in(self._path, time.monotonic_ns())

    def _look(self, path: ScanPath) -> None:
        """Have the unfinished frame restored, if there is time for it before it is finished."""
        now = time.monotonic()
        # At the same places of every frame, because the restorer prepares each length of a path once.
        step = max(_FEWEST_SAMPLES, round(path.count * 1e6 * _LOOK_S / path.duration_us))
        count = self._filled - self._filled % step
        if self._buffer is None or now < self._next_look or count == 0:
            return
        self._next_look = now + _LOOK_S
        left_s = (now - self._began) * (path.count - self._filled) / self._filled
        likely_s = self._look_s.get((path.path_id, count)) or max(self._look_s.values(), default=_LOOK_S)
        # A finished frame is worth more than a look at an unfinished one, which must not stand in its way.
        if not self._asked and left_s > 1.5 * likely_s:
            self._process.restore(
                self._frame, path.path_id, self._buffer[:count], stream=self.stream, live=True, complete=False
            )

    def _hand_in(self, path: ScanPath, received_ns: int) -> None:
        """Have the frame restored from what there is of it; once for each frame."""
        if not self._enabled or self._buffer is None or self._filled < _FEWEST_SAMPLES:
            return
        frame, values, self._buffer = self._frame, self._buffer[: self._filled], None
        job = _Job(frame, path.path_id, values, received_ns)
        if not self._recording.wants_restoration(frame):
            with self._lock:
                self._asked[frame] = job
            self._process.restore(frame, job.path_id, values, stream=self.stream, live=True)
            return
        with self._lock:
            if self._only_newest:  # a later restoration takes the place of an earlier one, so why make that
                self.passed_over += len(self._waiting)
                self._waiting.clear()
                self._bytes = 0
            self._waiting[frame] = job
            self._bytes += values.nbytes
            self._shed()
        self.pump()

    # -- from any thread --------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Frames that wait to be handed in."""
        return len(self._waiting)

    @property
    def unfinished(self) -> bool:
        """Whether a frame waits, or was handed in and not answered."""
        return bool(self._waiting or self._asked)

    def is_newest(self, frame: int) -> bool:
        """Whether no later frame was shown before; if so, it counts as shown."""
        with self._lock:
            if frame < self._newest_shown:
                return False
            self._newest_shown = frame
            return True

    def pump(self) -> None:
        """Hand the newest waiting frames in, as far as there is room."""
        with self._lock:
            while self._waiting and len(self._asked) < _IN_FLIGHT and not self._closed:
                frame, job = self._waiting.popitem()
                values = job.values
                if values is None:
                    values = self._read_back(frame)
                    if values is None:
                        continue
                else:
                    self._bytes -= values.nbytes
                self._asked[frame] = job
                if not self._process.restore(frame, job.path_id, values, stream=self.stream, live=False):
                    del self._asked[frame]
                    self._waiting[frame] = job
                    self._bytes += 0 if job.values is None else values.nbytes
                    return

    def asked(self, frame: int) -> _Job | None:
        """The job that was handed in for a frame and is not settled."""
        return self._asked.get(frame)

    def looked(self, result: RestoredFrame) -> None:
        """A look at an unfinished frame is done: the next one of its length takes about as long."""
        if len(self._look_s) >= _LOOKS_KEPT:
            self._look_s.clear()
        self._look_s[result.path_id, result.made_by.samples_used] = result.turnaround_ms / 1e3

    def settled(self, frame: int) -> None:
        """A frame was restored, and stored if it has a place."""
        with self._lock:
            self._asked.pop(frame, None)
        self.progress.set()

    def missed(self, missed: MissedFrame) -> bool:
        """A frame came back unrestored. True if it was dropped on purpose, or will be tried again."""
        with self._lock:
            job = self._asked.pop(missed.frame, None)
            if job is not None and missed.reason == "died" and self._recording.wants_restoration(missed.frame):
                self._waiting[missed.frame] = job
                self._waiting.move_to_end(missed.frame, last=False)
                return True
        self.progress.set()
        return missed.reason in ("dropped", "died", "stopped")

    def store(self, result: RestoredFrame) -> None:
        """Put a restoration into the recording, if it has a place there and is still open."""
        with self._lock:
            if self._closed:
                return
            try:
                self._recording.write_restoration(result.frame, result.estimate, result.interval, result.made_by)
            except ScanControlError as error:
                raise RecordingError(f"frame {result.frame} is restored and not stored: {error}") from error

    def _read_back(self, frame: int, count: int | None = None) -> NDArray[Any] | None:
        """The first samples of a frame from the recording; None where the disk damaged some of them.

        Such a frame is left to ``scancontrol restore``: what is sent here are the first samples of a path, all of them.
        """
        try:
            with RecordingReader(self._recording.path) as reader:
                values: NDArray[Any] = reader.samples(frame, 0, count)[0]
                return values
        except RecordingError as error:
            log.error("frame %d is not restored now: %s", frame, error)
            return None

    def close(self) -> int:
        """Hand in and store nothing more; returns how many frames are left unrestored."""
        with self._lock:
            self._closed = True
            return len(self._waiting) + len(self._asked)

    def _shed(self) -> None:
        """Keep the memory of waiting frames bounded: the oldest are read back when their turn comes."""
        for frame, job in self._waiting.items():
            if self._bytes <= _WAITING_BYTES:
                return
            if job.values is not None:
                self._bytes -= job.values.nbytes
                self._waiting[frame] = _Job(job.frame, job.path_id, None, job.received_ns)
