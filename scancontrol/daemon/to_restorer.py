"""The samples of one acquisition on their way to the restorer, and its restorations into the recording.

Nothing here holds up the beam: the sink only copies values, and the restorer's client never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import FrameEnd, FrameStart
from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError, ScanControlError
from scancontrol.paths import ScanPath
from scancontrol.recording import RecordingReader, RecordingWriter
from scancontrol.restorer import RestoredFrame, RestorerProcess

__all__ = ["RunSink"]

log = logging.getLogger(__name__)

_PARTIAL_S = 0.25  # how often a partial frame is handed in, while the restorer has nothing better to do
_TIMES_REMEMBERED = 1024
_FEWEST_SAMPLES = 64


class RunSink:
    """Collects the samples of one acquisition, hands them on frame by frame, and stores what comes back."""

    def __init__(
        self, process: RestorerProcess, recording: RecordingWriter, capabilities: Capabilities, enabled: bool
    ) -> None:
        self.stream = recording.header.series_unique_id or recording.path.name
        self.series_id = recording.header.series_id
        self.progress = threading.Event()
        self.scan_ended = False  # whether the frames left are being caught up with
        self._process, self._recording, self._enabled = process, recording, enabled
        self._coil = capabilities.coil
        self._detector = capabilities.detector(recording.header.channels[0])  # the first of the plan's is restored
        self._lock = threading.RLock()
        self._open: set[int] = set()  # frames that were handed in and are not settled
        self._newest_shown = -1
        self._buffer: NDArray[Any] | None = None
        self._path: ScanPath | None = None
        self._frame = -1
        self._filled = 0
        self._began = self._next_partial = 0.0
        self._partial_s: dict[tuple[str, int], float] = {}  # what restoring one took, by path and samples
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
            try:
                before = _read_samples(self._recording.path, start.frame, start.first_index)
            except RecordingError as error:
                log.error("frame %d is not restored now: %s", start.frame, error)
                self._damaged = True
                return
            self._buffer = np.empty(start.path.count, before.dtype)
            self._buffer[: len(before)] = before
        self._began = time.monotonic()
        self._next_partial = self._began + _PARTIAL_S
        self._process.register(start.path.recipe, self._coil, self._detector)

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """See :class:`scancontrol.acquisition.Sink`. The first detector is restored."""
        path = self._path
        if not self._enabled or frame != self._frame or path is None or self._damaged:
            return
        if self._buffer is None:
            self._buffer = np.empty(path.count, values.dtype)
        end = first_index + values.shape[1]
        self._buffer[first_index:end] = values[0]
        self._filled = end
        if end == path.count:
            self._hand_in(path)  # that the frame has ended follows, and adds nothing
        else:
            self._hand_in_partial(path)

    def frame_ended(self, end: FrameEnd) -> None:
        """See :class:`scancontrol.acquisition.Sink`."""
        if end.frame == self._frame and self._path is not None:
            self._hand_in(self._path)

    def _hand_in_partial(self, path: ScanPath) -> None:
        """Have the partial frame restored, if there is time for it before it is finished."""
        now = time.monotonic()
        # At the same places of every frame, because the restorer prepares each length of a path once.
        step = max(_FEWEST_SAMPLES, round(path.count * 1e6 * _PARTIAL_S / path.duration_us))
        count = self._filled - self._filled % step
        if self._buffer is None or now < self._next_partial or count == 0:
            return
        self._next_partial = now + _PARTIAL_S
        left_s = (now - self._began) * (path.count - self._filled) / self._filled
        likely_s = self._partial_s.get((path.path_id, count)) or max(self._partial_s.values(), default=_PARTIAL_S)
        # A finished frame is worth more than a partial one, which must not stand in its way.
        if not self._open and left_s > 1.5 * likely_s:
            self._process.restore(self._frame, path.path_id, self._buffer[:count], stream=self.stream, complete=False)

    def _hand_in(self, path: ScanPath) -> None:
        """Have the frame restored from what there is of it; once for each frame."""
        if not self._enabled or self._buffer is None or self._filled < _FEWEST_SAMPLES:
            return
        frame, values, self._buffer = self._frame, self._buffer[: self._filled], None
        with self._lock:
            self._open.add(frame)
        # Where only the last restoration is kept, a later one takes the place of an earlier one: why make that.
        kept = self._recording.wants_restoration(frame) and self._recording.header.keep_restorations != "last"
        read_again = partial(_read_samples, self._recording.path, frame) if kept else None
        self._process.restore(frame, path.path_id, values, stream=self.stream, read_again=read_again)

    # -- from any thread --------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Frames that were handed in and are not settled."""
        return len(self._open)

    def is_newest(self, frame: int) -> bool:
        """Whether no later frame was shown before; if so, it counts as shown."""
        with self._lock:
            if frame < self._newest_shown:
                return False
            self._newest_shown = frame
            return True

    def partial_restored(self, result: RestoredFrame) -> None:
        """A partial frame is restored: the next one of its length takes about as long."""
        if len(self._partial_s) >= _TIMES_REMEMBERED:
            self._partial_s.clear()
        self._partial_s[result.path_id, result.made_by.samples_used] = result.turnaround_ms / 1e3

    def settled(self, frame: int) -> None:
        """A frame was restored, and stored if it has a place; or it is missed."""
        with self._lock:
            self._open.discard(frame)
        self.progress.set()

    def store(self, result: RestoredFrame) -> None:
        """Put a restoration into the recording, if it has a place there and is still open."""
        with self._lock:
            if self._closed:
                return
            try:
                self._recording.write_restoration(result.frame, result.estimate, result.interval, result.made_by)
            except ScanControlError as error:
                raise RecordingError(f"frame {result.frame} is restored and not stored: {error}") from error

    def close(self) -> int:
        """Have nothing more restored or stored; returns how many frames are left unrestored."""
        with self._lock:
            self._closed = True
            left = len(self._open)
            self._open.clear()
        self._process.forget(self.stream)
        return left


def _read_samples(recording: Path, frame: int, count: int | None = None) -> NDArray[Any]:
    """The first detector's samples of a frame, from the disk: the first ``count``, or all (n,).

    Raises:
        RecordingError: the disk damaged some of them. Such a frame is left to ``scancontrol restore``, for what is
            sent to the restorer are the first samples of a path, all of them.
    """
    with RecordingReader(recording) as reader:
        samples: NDArray[Any] = reader.samples(frame, 0, count)[0]
    return samples
