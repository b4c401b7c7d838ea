"""A card as NI-DAQmx shows it to its tasks: clock rounding, buffers, starvation, limits; its calls take time."""

from __future__ import annotations

import threading
import time

import numpy as np

from scancontrol.errors import LinkError
from scancontrol.microscope.drivers.nidaq_tasks import Starved, Wiring

TIMEBASE_HZ = 100e6


class FakeCard:
    """Implements TaskLayer. ``signal(x_volts, y_volts)`` is what every input sees while the beam is on.

    Each call takes ``call_s``; the one named in ``hangs`` takes without end, until the tasks are aborted.
    """

    def __init__(self, wiring: Wiring, *, signal=lambda x, y: x, dark_volts=-1.0, call_s=0.0):
        self.wiring, self._signal, self._dark, self.call_s = wiring, signal, dark_volts, call_s
        self.hangs = ""
        self.refuses = 0  # how often the blanker fails before it obeys
        self._lock = threading.RLock()
        self._aborted = threading.Event()
        self.armed = False
        self.running = False
        self.at_rest = None  # (x, y) after the blanker was set by software
        self.exposed_ticks = 0
        self.volts, self.blanked = np.zeros((2, 0)), np.zeros(0, bool)
        self.started_ns = 0
        self.stopped_at = None

    def is_lit(self) -> bool:
        with self._lock:
            if not self.running:
                return self.armed and self.stopped_at is not None and self.at_rest is None
            n = self._ticks()
            return n < len(self.blanked) and not self.blanked[n]

    def coerced_rate_hz(self, rate_hz):
        return TIMEBASE_HZ / round(TIMEBASE_HZ / rate_hz)

    def _spend(self, call):
        time.sleep(self.call_s)
        if call == self.hangs:
            self._aborted.wait(10)
        if self._aborted.is_set() and call not in ("arm", "blank"):
            raise LinkError("NI-DAQmx: -88710: the task was aborted")

    def arm(self, ticks, rate_hz, buffer_ticks):
        self._aborted.clear()
        self._spend("arm")
        with self._lock:
            assert not self.armed
            self.armed, self.ticks, self.rate_hz, self.buffer_ticks = True, ticks, rate_hz, buffer_ticks
            self.volts, self.blanked = np.zeros((2, 0)), np.zeros(0, bool)
            self.read_ticks, self.stopped_at, self.at_rest = 0, None, None

    def _ticks(self) -> int:
        if self.stopped_at is not None:
            return self.stopped_at
        if not self.running:
            return 0
        n = int((time.monotonic_ns() - self.started_ns) * 1e-9 * self.rate_hz + 1e-6)
        return n if self.ticks is None else min(n, self.ticks)

    def generated(self) -> int:
        n = self._ticks()
        if n > self.volts.shape[1]:
            raise Starved("-200290: generation stopped to prevent the regeneration of old samples")
        return n

    def space(self):
        with self._lock:
            free = self.buffer_ticks - (self.volts.shape[1] - self.generated())
            return free if self.ticks is None else min(free, self.ticks - self.volts.shape[1])

    def write(self, volts, blank):
        self._spend("write")
        with self._lock:
            assert volts.shape == (2, len(blank))
            assert len(blank) <= self.space(), "write_many_sample would block"
            for axis, values in zip((self.wiring.x, self.wiring.y), volts, strict=True):
                if values.size and not (axis.lowest_volts <= values.min() and values.max() <= axis.highest_volts):
                    raise LinkError("NI-DAQmx: -200077: value outside the channel's limits")
            self.volts = np.concatenate([self.volts, volts], axis=1)
            self.blanked = np.concatenate([self.blanked, blank])

    def start(self):
        self._spend("start")
        with self._lock:
            assert self.volts.shape[1] > 0, "-200462: generation cannot be started without samples"
            self.started_ns, self.running = time.monotonic_ns(), True

    def read(self, most):
        self._spend("read")
        with self._lock:
            n = self.generated()
            if n - self.read_ticks > 4 * self.buffer_ticks:
                raise Starved("-200279: samples no longer available")
            first, last = self.read_ticks, min(n, self.read_ticks + most)
            self.read_ticks = last
            seen = np.arange(first, last) - 1  # the converter samples as the output changes: it sees the tick before
            x, y = self.volts[0][seen], self.volts[1][seen]
            value = np.where((seen < 0) | self.blanked[seen], self._dark, self._signal(x, y))
            return np.stack([value] * len(self.wiring.inputs))

    def blank(self, x_volts, y_volts):
        self._spend("blank")
        self._rest(x_volts, y_volts)

    def abort(self, x_volts, y_volts):
        self._aborted.set()
        self._rest(x_volts, y_volts)

    def _rest(self, x_volts, y_volts):
        with self._lock:
            if self.refuses:
                self.refuses -= 1
                raise LinkError("NI-DAQmx: -50103: the resource is reserved")
            if self.running:
                self.stopped_at = min(self._ticks(), len(self.blanked))
                self.exposed_ticks += int(np.count_nonzero(~self.blanked[: self.stopped_at]))
                self.running = False
            self.at_rest = (x_volts, y_volts)

    def stop(self):
        with self._lock:
            if self.running:
                self.stopped_at = min(self._ticks(), len(self.blanked))
                self.exposed_ticks += int(np.count_nonzero(~self.blanked[: self.stopped_at]))
            self.armed = self.running = False
