"""A card as NI-DAQmx shows it to its tasks: clock rounding, buffers, starvation, limits. Time is injected."""

from __future__ import annotations

import numpy as np

from scancontrol.errors import LinkError
from scancontrol.microscope.drivers.nidaq_tasks import Starved, Wiring

TIMEBASE_HZ = 100e6


class FakeCard:
    """Implements TaskLayer. ``signal(x_volts, y_volts)`` is what the first input sees while the beam is on."""

    def __init__(self, wiring: Wiring, clock_ns, signal=lambda x, y: x, dark_volts=-1.0):
        self.wiring, self._clock_ns, self._signal, self._dark = wiring, clock_ns, signal, dark_volts
        self.armed = False
        self.at_rest = None  # (x, y) after rest, with the blanker on
        self.exposed_ticks = 0
        self.rests = 0
        self.regenerated = False

    def coerced_rate_hz(self, rate_hz):
        return TIMEBASE_HZ / round(TIMEBASE_HZ / rate_hz)

    def arm(self, ticks, rate_hz, buffer_ticks):
        assert not self.armed
        self.armed, self.ticks, self.rate_hz, self.buffer_ticks = True, ticks, rate_hz, buffer_ticks
        self.volts, self.blanked = np.zeros((2, 0)), np.zeros(0, bool)
        self.read_ticks, self.started_ns, self.at_rest = 0, None, None

    def generated(self) -> int:
        if self.started_ns is None:
            return 0
        n = int((self._clock_ns() - self.started_ns) * 1e-9 * self.rate_hz + 1e-6)
        n = n if self.ticks is None else min(n, self.ticks)
        if n > self.volts.shape[1]:
            raise Starved("-200290: generation stopped to prevent the regeneration of old samples")
        return n

    def space(self):
        free = self.buffer_ticks - (self.volts.shape[1] - self.generated())
        return free if self.ticks is None else min(free, self.ticks - self.volts.shape[1])

    def write(self, volts, blank):
        assert volts.shape == (2, len(blank))
        assert len(blank) <= self.space(), "write_many_sample would block"
        for axis, values in zip((self.wiring.x, self.wiring.y), volts, strict=True):
            if values.size and not (axis.lowest_volts <= values.min() and values.max() <= axis.highest_volts):
                raise LinkError("NI-DAQmx: -200077: value outside the channel's limits")
        self.volts = np.concatenate([self.volts, volts], axis=1)
        self.blanked = np.concatenate([self.blanked, blank])

    def start(self):
        assert self.volts.shape[1] > 0, "-200462: generation cannot be started without samples"
        self.started_ns = self._clock_ns()

    def read(self, most):
        n = self.generated()
        if n - self.read_ticks > 4 * self.buffer_ticks:
            raise Starved("-200279: samples no longer available")
        first, last = self.read_ticks, min(n, self.read_ticks + most)
        self.read_ticks = last
        seen = np.arange(first, last) - 1  # the converter samples as the output changes: it sees the tick before
        value = np.where(
            (seen < 0) | self.blanked[seen], self._dark, self._signal(self.volts[0][seen], self.volts[1][seen])
        )
        return np.stack([value] * len(self.wiring.inputs))

    def stop(self):
        if self.armed:
            shown = min(self.generated_quietly(), len(self.blanked))
            self.exposed_ticks += int(np.count_nonzero(~self.blanked[:shown]))
        self.armed = False

    def generated_quietly(self) -> int:
        try:
            return self.generated()
        except Starved:
            return len(self.blanked)

    def rest(self, x_volts, y_volts):
        assert not self.armed, "-50103: the resource is reserved"
        self.at_rest = (x_volts, y_volts)
        self.rests += 1
