"""One frame on the card: the thread that keeps its buffer filled and takes what comes in.

A call of the card's may be slow, or hang; this thread alone waits for it. Each turn writes once, at most what there was
room for when it began, and then reads, so that slow writes cost reading nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.microscope.drivers.nidaq_config import NidaqConfig
from scancontrol.microscope.drivers.nidaq_tasks import Starved, TaskLayer
from scancontrol.microscope.drivers.nidaq_ticks import Readings, TickSource, total_ticks
from scancontrol.microscope.instrument import Overrun
from scancontrol.paths import ScanPath

__all__ = ["Generation"]

log = logging.getLogger(__name__)

_MOST_TICKS = 1 << 17  # in one write
_TURN_S = 0.002
_BEFORE_S = 5.0  # for the frame before to be over


class Generation:
    """Scans ``path`` from ``first_index`` on, from :meth:`start` until the path is over or :meth:`stop`.

    Args:
        share: (x, y) of ``volts_per_field`` that the frame takes.
    """

    def __init__(
        self,
        config: NidaqConfig,
        tasks: TaskLayer,
        rate_hz: float,
        path: ScanPath,
        first_index: int,
        share: NDArray[np.float64],
    ) -> None:
        self.dark = threading.Event()  # the blanker has been seen to obey, after the scan
        self.failure: Exception | None = None  # what ended the thread
        self._config, self._tasks, self._rate_hz = config, tasks, rate_hz
        self._path, self._first_index, self._share = path, first_index, share
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # of what is handed over
        # Values, dwells in ticks, and the tick at which the first began:
        self._ready: deque[tuple[NDArray[np.float64], NDArray[np.int64], int]] = deque()
        self._readings = Readings(len(config.detectors))  # of ticks, on their way to become samples
        self._source = TickSource(path, first_index, rate_hz, self._volts_of, self._readings)
        self._to_skip = config.input_lag_ticks  # readings from before the first sample
        self._tail_ticks = 1 + config.input_lag_ticks  # after the last sample, until its reading has come
        self._samples_left = path.count - first_index  # to be handed over
        self._start_ns = self._dark_ns = 0  # when the card began, and when the beam was seen to be off
        self._lost_ticks = 0  # whose readings never came
        self._before: Generation | None = None  # the frame before: its card time ends first
        self._thread = threading.Thread(target=self._run, name="nidaq", daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether the beam was asked to go off."""
        return self._stopping.is_set()

    @property
    def over(self) -> bool:
        """Whether nothing more will come, and all that came was taken."""
        return not self._thread.is_alive() and not self._ready

    def start(self, before: Generation | None) -> None:
        """Begin, once the frame ``before`` has let go of the card."""
        self._before = before
        self._thread.start()

    def stop(self) -> None:
        """Blank as soon as the call of the card that is under way returns; from any thread."""
        self._stopping.set()

    def was_aborted(self) -> None:
        """The tasks were aborted and the blanker has obeyed."""
        self._set_dark()

    def join(self, timeout_s: float) -> None:
        """Wait until it is over."""
        self._thread.join(timeout_s)

    def take(self, most: int) -> tuple[NDArray[np.float64], int, int] | None:
        """The next complete samples, at most ``most``: mean volts (inputs, n), ticks with beam, when they began."""
        with self._lock:
            if not self._ready:
                return None
            volts, dwell, begun = self._ready.popleft()
            if len(dwell) > most:
                self._ready.appendleft((volts[:, most:], dwell[most:], begun + int(dwell[:most].sum())))
                volts, dwell = volts[:, :most], dwell[:most]
        return volts, int(dwell.sum()), self._start_ns + round(begun * 1e9 / self._rate_hz)

    def take_lost(self) -> int:
        """Ticks with beam whose samples were cut off or lost, once; to be asked when it is over."""
        lost, self._lost_ticks = self._lost_ticks, 0
        return lost

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._before is not None:
            self._before.join(_BEFORE_S)
            self._before = None
        try:
            self._scan()
        except Starved as error:
            self._fail(Overrun(f"the host was too late for the card: {error}"))
        except Exception as error:  # the vendor's package raises whatever it likes
            self._fail(error)
        self._end()

    def _fail(self, error: Exception) -> None:
        if self.stopping:
            log.warning("the card, while it was stopped: %s", error)
        else:
            self.failure = error

    def _scan(self) -> None:
        if self.stopping:
            return
        total = None
        if self._config.generation == "finite":
            total = total_ticks(self._path, self._first_index, self._rate_hz) + self._tail_ticks
        self._tasks.arm(total, self._rate_hz, max(2, round(self._config.buffer_ms * 1e-3 * self._rate_hz)))
        while not self.stopping and self._fill():
            pass
        if self.stopping:
            return
        self._start_ns = time.monotonic_ns()
        self._tasks.start()
        while self._samples_left and not self._stopping.wait(_TURN_S):
            self._fill()
            self._take()

    def _end(self) -> None:
        for call in (self._blank, self._take, self._tasks.stop):
            try:
                call()
            except Exception as error:
                self._fail(error)
                log.warning("samples of the card are lost: %s", error)
        if self._start_ns and self._samples_left:
            elapsed = int(((self._dark_ns or time.monotonic_ns()) - self._start_ns) * 1e-9 * self._rate_hz) + 1
            self._lost_ticks = self._readings.cut_off() + self._readings.lit_until(elapsed)

    def _blank(self) -> None:
        if not self.dark.is_set():
            self._tasks.blank(self._config.wiring.x.park_volts, self._config.wiring.y.park_volts)
            self._set_dark()

    def _set_dark(self) -> None:
        self._dark_ns = time.monotonic_ns()
        self.dark.set()

    def _fill(self) -> bool:
        """Write as much as the card has room for, at most; whether there was anything to write."""
        space = min(self._tasks.space(), _MOST_TICKS)
        if space <= 0:
            return False
        volts, dark = self._source.take(space)
        left = space - len(dark)
        # A continuous generation must never run dry before it is stopped.
        tail = min(left, self._tail_ticks) if self._config.generation == "finite" else left
        if tail:
            self._tail_ticks -= tail
            wiring = self._config.wiring
            park = np.repeat([[wiring.x.park_volts], [wiring.y.park_volts]], tail, axis=1)
            volts, dark = np.concatenate([volts, park], axis=1), np.concatenate([dark, np.ones(tail, np.bool_)])
        if not len(dark):
            return False
        self._tasks.write(volts, dark)
        return True

    def _take(self) -> None:
        volts = self._tasks.read(_MOST_TICKS)
        skipped = min(self._to_skip, volts.shape[1])
        self._to_skip -= skipped
        means, dwell, begun = self._readings.put(volts[:, skipped:])
        if len(dwell):
            with self._lock:
                self._ready.append((means, dwell, begun))
            self._samples_left -= len(dwell)

    def _volts_of(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        axes = (self._config.wiring.x, self._config.wiring.y)
        centre: NDArray[np.float64] = np.array([axis.centre_volts for axis in axes])
        span: Any = np.array([axis.volts_per_field for axis in axes]) * self._share
        volts = centre + (positions[:, ::-1] - 0.5) * span
        # A plan cannot leave the limits, but a fault of ours could: the last word is here.
        lowest, highest = [axis.lowest_volts for axis in axes], [axis.highest_volts for axis in axes]
        return np.asarray(np.clip(volts, lowest, highest))
