"""The samples of one acquisition on their way to the restorer, and its restorations into the recording.

Nothing here holds up the beam: the sink only copies values, and the restorer's client never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import FrameEnd, FrameStart
from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError, ScanControlError
from scancontrol.paths import Adaptive, ScanPath
from scancontrol.paths.adaptive import joined
from scancontrol.paths.known import Reach, known_pixels, reach_of, touched_by
from scancontrol.recent import Recent
from scancontrol.recording import RecordingReader, RecordingWriter
from scancontrol.restoration import AS_KEPT, Look, Provenance
from scancontrol.restorer import RestoredFrame, RestorerProcess

__all__ = ["RunSink"]

log = logging.getLogger(__name__)

_PARTIAL_S = 0.25  # how often a partial frame is handed in, while the restorer has nothing better to do
_SPARE = 1.5  # times what a partial frame takes to restore must be left of the scan
_TIMES_REMEMBERED = 1024
_FEWEST_SAMPLES = 64
_REACHES_KEPT = 16


@dataclass(frozen=True)
class _Whole:
    """A frame whose scan has ended, or two of them as one, with its samples (n,) of one detector."""

    frame: int
    path: ScanPath
    values: NDArray[Any]
    stream: str


class RunSink:
    """Collects the samples of one acquisition, hands them on frame by frame, and stores what comes back."""

    def __init__(
        self,
        process: RestorerProcess,
        recording: RecordingWriter,
        capabilities: Capabilities,
        enabled: bool,
        shown: Callable[[], str],
        restored: Callable[[int, Provenance, NDArray[np.float32] | None], None],
        late_us: Callable[[], float] = lambda: 0.0,
        beside: Callable[[], str | None] = lambda: None,
        look: Callable[[], Look] = lambda: AS_KEPT,
    ) -> None:
        series, self._channels = recording.header.series_unique_id or recording.path.name, recording.header.channels
        # To the restorer each detector is a stream of its own: what it remembers of one is nothing to another.
        # So are frames that look again, each with the one before it as one: of its samples none is remembered twice.
        self._stream_of = {channel: f"{series}.{row}" for row, channel in enumerate(self._channels)}
        self._pairs_of = {channel: f"{stream}.pairs" for channel, stream in self._stream_of.items()}
        self.streams = {stream: channel for of in (self._stream_of, self._pairs_of) for channel, stream in of.items()}
        self._shown, self.beside, self.tell, self._late_us = shown, beside, restored, late_us
        self._look = look
        self.series_id = recording.header.series_id
        self.progress = threading.Event()  # set whenever a frame is settled
        self.scan_ended = False  # whether the frames left are being caught up with
        self._process, self._recording, self._enabled = process, recording, enabled
        self._coil = capabilities.coil
        self._detectors = {channel: capabilities.detector(channel) for channel in self._channels}
        self._lock = threading.RLock()
        self._open: set[tuple[int, str]] = set()  # frames, each of a stream, that were handed in and are not settled
        self._handed_to = -1  # the newest frame that was handed in, of every detector that is restored
        self._last: dict[str, _Whole] = {}  # the newest whole frame of each detector
        self._handed: dict[str, _Whole] = {}  # as the restorer was given it
        self._newest_shown: dict[str, int] = {}  # frame of the newest restoration on the page, by detector
        self._buffers: list[NDArray[Any]] = []  # (n,) of each detector: any may be asked for
        self._registered = ("", "", 0.0)  # path, detector and lateness, as the restorer was told last
        self._path: ScanPath | None = None  # of the frame that is scanned now
        self._frame = -1  # its number
        self._filled = 0  # samples of it that came
        self._began = self._next_partial = 0.0  # when it began, and when it may be restored in part again
        self._partial_s: dict[tuple[str, int], float] = {}  # what restoring one took, by path and samples
        self._damaged = False  # samples of this frame that an earlier process recorded
        self._closed = False
        self._paths: Recent[str, ScanPath] = Recent(_REACHES_KEPT)  # of the newest frames
        self._reaches: Recent[tuple[str, int], Reach] = Recent(_REACHES_KEPT)  # by path and samples

    # -- from the acquisition's thread ------------------------------------------------------------------

    def frame_started(self, start: FrameStart) -> None:
        """See :class:`scancontrol.acquisition.Sink`."""
        if not self._enabled or start.frame == self._frame:
            return
        self._path, self._frame, self._filled = start.path, start.frame, 0
        self._paths[start.path.path_id] = start.path
        self._buffers = []
        self._damaged = False
        if start.first_index:  # an earlier process scanned the beginning
            try:
                before = _read_samples(self._recording.path, start.frame, start.first_index)
            except RecordingError as error:
                log.error("frame %d is not restored now: %s", start.frame, error)
                self._damaged = True
                return
            self._buffers = _buffers(start.path, before)
        self._began = time.monotonic()
        self._next_partial = self._began + _PARTIAL_S
        self._registered = ("", "", 0.0)  # the restorer keeps few paths, and hears of each again
        self._register(start.path, self._shown())

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """See :class:`scancontrol.acquisition.Sink`."""
        path = self._path
        if not self._enabled or frame != self._frame or path is None or self._damaged:
            return
        if not self._buffers:
            self._buffers = _buffers(path, values[:, :0])
        end = first_index + values.shape[1]
        for buffer, row in zip(self._buffers, values, strict=True):
            buffer[first_index:end] = row
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
        if not self._buffers or now < self._next_partial or count == 0 or self._look() != AS_KEPT:
            return
        self._next_partial = now + _PARTIAL_S
        left_s = (now - self._began) * (path.count - self._filled) / self._filled
        told_s = self._process.restore_s(path.path_id)  # None until the path is prepared, after which there is time
        likely_s = self._partial_s.get((path.path_id, count)) or max(self._partial_s.values(), default=told_s)
        # A finished frame is worth more than a partial one, which must not stand in its way.
        if not self._open and told_s is not None and likely_s is not None and left_s > _SPARE * likely_s:
            channel = self._shown()
            self._register(path, channel)
            self._process.restore(
                self._frame,
                path.path_id,
                self._buffers[self._channels.index(channel)][:count],
                stream=self._stream_of[channel],
                complete=False,
            )

    def _hand_in(self, path: ScanPath) -> None:
        """Have the frame restored from what there is of it; once for each frame."""
        if not self._enabled or not self._buffers or self._filled < _FEWEST_SAMPLES:
            return
        frame, buffers, self._buffers = self._frame, self._buffers, []
        for channel in filter(None, (self._shown(), self.beside())):
            self._hand_in_one(frame, path, channel, buffers[self._channels.index(channel)][: self._filled])
        self._handed_to = frame

    def _hand_in_one(self, frame: int, path: ScanPath, channel: str, values: NDArray[Any]) -> None:
        row, alone = self._channels.index(channel), _Whole(frame, path, values, self._stream_of[channel])
        whole = self._handed[channel] = self._with_the_one_before(alone, channel)
        self._last[channel], stream = alone, whole.stream
        with self._lock:
            self._open.add((frame, stream))
        # Where only the last restoration is kept, a later one takes the place of an earlier one: why make that.
        kept = self._recording.wants_restoration(frame) and self._recording.header.keep_restorations != "last"
        path_of_file = self._recording.path
        frames = (frame,) if whole is alone else (frame - 1, frame)

        def read_again() -> NDArray[Any]:
            return np.concatenate([_read_samples(path_of_file, each)[row] for each in frames])

        self._register(whole.path, channel)
        self._process.restore(
            frame, whole.path.path_id, whole.values, stream=stream, read_again=read_again if kept else None
        )
        if self._look() != AS_KEPT:
            self._look_at(channel)

    def _look_at(self, channel: str) -> None:
        """Have the newest frame restored anew, as it is looked at now."""
        last = self._handed.get(channel)
        if last is not None:
            self._process.restore(
                last.frame, last.path.path_id, last.values, stream=last.stream, complete=False, look=self._look()
            )

    def _with_the_one_before(self, whole: _Whole, channel: str) -> _Whole:
        """A frame that looks again, with the frame that it was drawn for; any other as it is."""
        pattern, before = whole.path.recipe.pattern, self._last.get(channel)
        if not (isinstance(pattern, Adaptive) and pattern.data) or before is None:
            return whole
        complete = len(before.values) == before.path.count and len(whole.values) == whole.path.count
        if before.frame != whole.frame - 1 or not complete:
            return whole
        path = joined(before.path, whole.path)
        self._paths[path.path_id] = path
        return _Whole(whole.frame, path, np.concatenate([before.values, whole.values]), self._pairs_of[channel])

    def told(self, result: RestoredFrame) -> RestoredFrame:
        """What came back, which says of how many frames it is."""
        if result.stream not in self._pairs_of.values():
            return result
        made_by, (frames, age) = result.made_by, (2 * result.made_by.frames, 2 * result.made_by.age_frames + 1)
        return replace(result, made_by=msgspec.structs.replace(made_by, frames=frames, age_frames=age))

    def _register(self, path: ScanPath, channel: str) -> None:
        late_us = self._late_us()
        if self._registered != (path.path_id, channel, late_us):
            self._registered = (path.path_id, channel, late_us)
            coil = msgspec.structs.replace(self._coil, delay_us=self._coil.delay_us + late_us)
            self._process.register(path.recipe, coil, self._detectors[channel])

    # -- from any thread --------------------------------------------------------------------------------

    @property
    def dwell_us(self) -> float | None:
        """Mean dwell of the path that is scanned; None before the first."""
        path = self._path
        return None if path is None else float(path.dwell_us.mean())

    def look_again(self) -> None:
        """Another look was chosen: have what is shown restored anew."""
        for channel in filter(None, (self._shown(), self.beside())):
            self._look_at(channel)

    def channel_of(self, stream: str) -> str:
        """The detector whose samples were handed in as ``stream``."""
        return self.streams[stream]

    def reach_of(self, result: RestoredFrame) -> dict[str, NDArray[Any] | None]:
        """Where a restoration is a picture: ``known`` and ``outline`` of a :class:`RestorationView`."""
        path = self._paths.get(result.path_id)
        if path is None:
            return {}
        count = path.count if result.complete else result.made_by.samples_used
        reach = self._reaches.made((result.path_id, count), lambda: reach_of(touched_by(path, count)))
        known = known_pixels(reach, result.interval)
        return {"known": None if known.all() else known, "outline": path.recipe.placement.outline()}

    @property
    def unfinished(self) -> int:
        """Frames that were handed in and are not settled."""
        return len(self._open)

    def is_newest(self, frame: int, stream: str) -> bool:
        """Whether no later frame of a stream was shown before; if so, it counts as shown."""
        with self._lock:
            channel = self.streams[stream]
            if frame < self._newest_shown.get(channel, -1):
                return False
            self._newest_shown[channel] = frame
            return True

    def partial_restored(self, result: RestoredFrame) -> None:
        """A partial frame is restored: the next one of its length takes about as long."""
        if len(self._partial_s) >= _TIMES_REMEMBERED:
            self._partial_s.clear()
        self._partial_s[result.path_id, result.made_by.samples_used] = result.turnaround_ms / 1e3

    def is_settled(self, frame: int) -> bool:
        """Whether a frame was handed in and has all the restorations that it will have, stored if they have a place."""
        with self._lock:
            return frame <= self._handed_to and not any((frame, stream) in self._open for stream in self.streams)

    def settled(self, frame: int, stream: str) -> None:
        """A frame was restored, and stored if it has a place; or it is missed."""
        with self._lock:
            self._open.discard((frame, stream))
        self.progress.set()

    def store(self, result: RestoredFrame) -> None:
        """Put a restoration into the recording, if it has a place there and is still open."""
        with self._lock:
            if self._closed:
                return
            try:
                self._recording.write_restoration(
                    result.frame,
                    result.estimate,
                    result.interval,
                    result.made_by,
                    channel=self.channel_of(result.stream),
                )
            except ScanControlError as error:
                raise RecordingError(f"frame {result.frame} is restored and not stored: {error}") from error

    def close(self) -> int:
        """Have nothing more restored or stored; returns how many frames are left unrestored."""
        with self._lock:
            self._closed = True
            left = len(self._open)
            self._open.clear()
        for stream in self.streams:
            self._process.forget(stream)
        return left


def _buffers(path: ScanPath, before: NDArray[Any]) -> list[NDArray[Any]]:
    """Room for all samples of each detector, begun with those (channels, n) that were recorded before."""
    buffers = [np.empty(path.count, before.dtype) for _ in before]
    for buffer, row in zip(buffers, before, strict=True):
        buffer[: len(row)] = row
    return buffers


def _read_samples(recording: Path, frame: int, count: int | None = None) -> NDArray[Any]:
    """Samples (channels, n) of a frame, from the disk: the first ``count``, or all.

    Raises:
        RecordingError: the disk damaged some of them. Such a frame is left to ``scancontrol restore``, for what is
            sent to the restorer are the first samples of a path, all of them.
    """
    with RecordingReader(recording) as reader:
        return reader.samples(frame, 0, count)
