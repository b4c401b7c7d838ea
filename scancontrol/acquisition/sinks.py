"""Sinks that do work: a thread that keeps the acquisition from waiting, and the gridded partial frames."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition.contracts import FrameEnd, FrameStart, Sink
from scancontrol.capabilities import CoilModel
from scancontrol.paths import ScanPath, achieved_positions
from scancontrol.paths.geometry import pixel_index
from scancontrol.recording import Recording, RecordingWriter

__all__ = ["Background", "Fanout", "Partial", "PartialFrames"]

log = logging.getLogger(__name__)
_POSITIONS_STEP = 1 << 18
_GRIDDED_AT_ONCE = 1 << 14


_SLOW_SINK_S = 0.1


class Fanout:
    """Hands on to sinks. One that fails is left out from then on: it must not cost a sample."""

    def __init__(self, sinks: Sequence[Sink], clock: Callable[[], float]) -> None:
        self._sinks, self._clock = list(sinks), clock

    def tell(self, method: str, *arguments: Any) -> None:
        """Call this method of every sink."""
        for sink in tuple(self._sinks):
            began = self._clock()
            try:
                getattr(sink, method)(*arguments)
            except Exception:
                log.exception("%s failed and gets no more samples", type(sink).__name__)
                self._sinks.remove(sink)
            if self._clock() - began > _SLOW_SINK_S:
                log.warning("%s took %.0f ms for %s", type(sink).__name__, 1e3 * (self._clock() - began), method)


class Background:
    """Runs another sink on a thread of its own, behind a queue that is bounded and never waited for.

    When the sink falls behind by ``max_samples``, whole stretches of samples are dropped and counted. Starts
    and ends of frames are always delivered, so the sink knows what it lacks.
    """

    def __init__(self, sink: Sink, *, max_samples: int = 1 << 26) -> None:
        self._sink = sink
        self._max_samples = max_samples
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._samples = 0
        self._news = threading.Condition()
        self._closed = False
        self._busy = False
        self.dropped_samples = 0
        self._thread = threading.Thread(target=self._work, name=f"sink-{type(sink).__name__}", daemon=True)
        self._thread.start()

    def frame_started(self, start: FrameStart) -> None:
        """See :class:`Sink`."""
        self._put("frame_started", (start,))

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """See :class:`Sink`."""
        with self._news:
            if self._samples + values.shape[1] > self._max_samples:
                self.dropped_samples += values.shape[1]
                return
            self._samples += values.shape[1]
        self._put("samples", (frame, first_index, values))

    def frame_ended(self, end: FrameEnd) -> None:
        """See :class:`Sink`."""
        self._put("frame_ended", (end,))

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until the sink has had everything; whether it has."""
        with self._news:
            return self._news.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, and end the thread."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(timeout_s)

    def _put(self, method: str, arguments: tuple[Any, ...]) -> None:
        with self._news:
            self._waiting.append((method, arguments))
            self._news.notify_all()

    def _work(self) -> None:
        while True:
            with self._news:
                self._busy = False
                self._news.notify_all()
                self._news.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                method, arguments = self._waiting.popleft()
                if method == "samples":
                    self._samples -= arguments[2].shape[1]
                self._busy = True
            try:
                getattr(self._sink, method)(*arguments)
            except Exception:
                log.exception("%s.%s failed", type(self._sink).__name__, method)


@dataclass(frozen=True)
class Partial:
    """Gridded samples of a detector so far: dwell-weighted ``mean`` and ``weight`` in µs, both (rows, cols) float32."""

    frame: int
    path: ScanPath
    channel: str
    mean: NDArray[np.float32]
    weight: NDArray[np.float32]
    samples: int
    complete: bool


class PartialFrames:
    """Grids each detector's samples as they come, shows one of them, and puts finished frames into the recording.

    Put it behind :class:`Background`. ``shown`` names the detector to show, as often as it is asked. ``show`` is called
    with an unfinished :class:`Partial` at most every ``interval_s``, less often where gridding itself takes long, and
    with the finished one. The first time a path is scanned its nominal and achieved positions are recorded, too.
    """

    def __init__(
        self,
        recording: RecordingWriter,
        coil: CoilModel,
        show: Callable[[Partial], None] = lambda partial: None,
        *,
        shown: Callable[[], str] | None = None,
        interval_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording = recording
        self._coil = coil
        self._show = show
        self._channels = recording.header.channels
        self._shown = shown or (lambda: recording.header.channels[0])
        self._interval_s = interval_s
        self._clock = clock
        self._frame: int | None = None
        self._path: ScanPath | None = None
        self._next_show = 0.0
        self._positions_done: set[str] = set()

    def frame_started(self, start: FrameStart) -> None:
        """See :class:`Sink`."""
        if start.frame == self._frame:
            return  # it goes on after an interruption
        rows, cols = start.path.shape
        self._frame, self._path = start.frame, start.path
        self._total = np.zeros((len(self._channels), rows * cols))
        self._weight = np.zeros(rows * cols)
        self._samples = 0
        self._pending: list[tuple[int, NDArray[Any]]] = []
        if start.first_index:  # an earlier process scanned the beginning
            with Recording.open(self._recording.path) as reader:
                before = reader.read_samples(start.frame, 0, start.first_index)
            edges = np.flatnonzero(np.diff(before.sound, prepend=False, append=False))
            for first, end in edges.reshape(-1, 2):  # each sound stretch
                self._pending.append((int(first), before.values[:, first:end]))
        self._next_show = self._clock() + self._interval_s

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        """See :class:`Sink`."""
        if frame != self._frame:
            return
        self._pending.append((first_index, values))
        now = self._clock()
        if now >= self._next_show:
            self._grid()
            self._show(self._partial(self._shown(), complete=False))
            spent = self._clock() - now
            self._next_show = now + max(self._interval_s, 4 * spent)

    def frame_ended(self, end: FrameEnd) -> None:
        """See :class:`Sink`."""
        if end.frame != self._frame:
            return
        self._grid()
        self._show(self._partial(self._shown(), complete=end.complete))
        for channel in self._channels:
            self._recording.write_partial(end.frame, self._partial(channel, complete=end.complete).mean, channel)
        if end.path.path_id not in self._positions_done:
            self._positions_done.add(end.path.path_id)
            self._record_positions(end.path)
        self._frame = None

    def _grid(self) -> None:
        """Put what waits onto the grids."""
        assert self._path is not None  # noqa: S101 - set by frame_started
        for first, values in self._pending:
            # In short steps: this process's heartbeat to the microscope needs the interpreter, too.
            for start in range(0, values.shape[1], _GRIDDED_AT_ONCE):
                part = values[:, start : start + _GRIDDED_AT_ONCE]
                chunk = self._path.chunk(first + start, part.shape[1])
                places = self._path.on_specimen(chunk.positions, chunk.first_index)
                index = pixel_index(places, self._path.shape)
                np.add.at(self._weight, index, chunk.dwell_us)
                for total, row in zip(self._total, part, strict=True):
                    np.add.at(total, index, chunk.dwell_us * row)
            self._samples += values.shape[1]
        self._pending.clear()

    def _partial(self, channel: str, *, complete: bool) -> Partial:
        """What is on one detector's grid."""
        assert self._path is not None and self._frame is not None  # noqa: S101, PT018 - set by frame_started
        total, shape = self._total[self._channels.index(channel)], self._path.shape
        mean = np.divide(total, self._weight, out=np.zeros_like(total), where=self._weight > 0)
        return Partial(
            self._frame,
            self._path,
            channel,
            mean.reshape(shape).astype(np.float32),
            self._weight.reshape(shape).astype(np.float32),
            self._samples,
            complete,
        )

    def _record_positions(self, path: ScanPath) -> None:
        achieved = achieved_positions(path, self._coil)
        for chunk in path.chunks(_POSITIONS_STEP):
            here = slice(chunk.first_index, chunk.first_index + len(chunk))
            if not self._recording.write_positions(
                path.path_id, chunk.positions, achieved[here], chunk.dwell_us, chunk.first_index
            ):
                return
