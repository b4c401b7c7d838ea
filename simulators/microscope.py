"""The simulated microscope: an instrument that :func:`scancontrol.microscope.host.serve` hosts like any other.

Physics lives in :mod:`simulators.exposure`; here is time. In real time a sample exists once its dwell is over; as fast
as it goes, at once. Dose counts when a sample is exposed, not when it is computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from scancontrol.microscope.instrument import BeamOff, Block, Overrun
from scancontrol.paths import ScanPath
from simulators.config import SimulatorConfig
from simulators.exposure import Exposed, Exposure
from simulators.faults import Fault, FaultPlan, blinded, stuck
from simulators.side_files.exposure_log import ExposureLog
from simulators.side_files.truth import TruthFile

__all__ = ["SimulatedMicroscope"]

_WAIT_S = 0.01
_READ_S = 0.002  # in real time, how much exposure is worth a block


class SimulatedMicroscope:
    """Implements :class:`scancontrol.microscope.instrument.Instrument`.

    Args:
        config: everything about it.
        truth: where to write the ground truth of the first frame, if anywhere.
        log: where to note what was exposed, if anywhere.
        plan: faults, if they are shared with the link; those of ``config`` otherwise.
        crash: what a ``crash`` fault calls.
        clock_ns, sleep: monotonic time, injected by tests.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        truth: TruthFile | None = None,
        log: ExposureLog | None = None,
        plan: FaultPlan | None = None,
        crash: Callable[[Fault], None] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.capabilities = config.capabilities()
        self.exposure = Exposure(config)
        self.faults = plan if plan is not None else FaultPlan(config.faults)
        self._config = config
        self._truth = truth
        self._log = log
        self._crash = crash
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._path: ScanPath | None = None  # that is scanned
        self._exposing = False
        self._blanked_ns: int | None = None  # when the blanker was asked for; all that blank() changes
        self._blanks = 0  # times that the blanker was asked for
        self._block: Exposed | None = None  # computed ahead, and handed over as its time comes
        self._next = 0  # index of the next sample to hand over
        self._limit = 0  # index that exposure stopped before, once blanked
        self._cut = 0.0  # electrons of the sample that blanking cut off, until they are told
        self._stalled_until_ns = 0  # by a fault: nothing is handed over before
        self._skew: Fault | None = None  # of the clock that is told
        self._bad: Fault | None = None  # of a detector
        self._bad_from = 0  # index of the sample at which it began
        self._bad_value: int | None = None  # that a stuck detector repeats
        self.warm_up()

    @property
    def lit(self) -> bool:
        """Whether the beam is on the specimen now."""
        return self._exposing and self._blanked_ns is None

    def warm_up(self) -> None:
        """Render what can be rendered before the first scan is known, so that the first frame need not wait."""
        if getattr(self._config.specimen, "file", None) is None:
            self.exposure.specimen.field(20.0, 20.0, 0)

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Unblank, and expose ``path`` from ``first_index`` on."""
        blanks = self._blanks
        self._stop()
        self.exposure.begin(path, first_index, frame)
        if self._truth is not None:
            self._truth.frame_begins(self.exposure, path, frame, first_index)
        self._path, self._frame = path, frame
        self._block, self._next = None, first_index
        self._start_ns = self._clock_ns()
        self._limit, self._exposing, self._cut = first_index, True, 0.0
        self._blanked_ns = None
        if self._blanks != blanks:  # asked to blank meanwhile: nothing is exposed
            self._blanked_ns = self._start_ns

    def read(self, max_samples: int) -> Block | None:
        """The next samples already exposed; see :meth:`scancontrol.microscope.instrument.Instrument.read`.

        Raises:
            Overrun: more samples were exposed than the converter's FIFO holds.
            BeamOff: a fault of the schedule that ends the scan.
        """
        if self._path is None or max_samples < 1:
            return None
        if self._blanked_ns is not None:
            self._stop()
        if not self._exposing and (self._block is None or self._next >= self._limit):
            return self._cut_off()
        if self._exposing:
            self._act_out_faults()
            if self._stalled():
                return None
        if self._block is None:
            self._block = self.exposure.block(self._next)
        block = self._block
        start = self._next - block.first_index
        stop = min(len(block), start + max_samples)
        if self._exposing:
            if self._config.pace == "real_time":
                stop = self._wait_for(block, start, stop)
            waiting = self.faults.next_sample(self._frame, self._next)
            if waiting is not None:
                stop = min(stop, waiting - block.first_index)
        else:
            stop = min(stop, self._limit - block.first_index)
        if stop <= start:
            return None
        return self._hand_over(block, start, stop)

    def blank(self) -> None:
        """Blank now, from whatever thread. What was exposed up to now can still be read."""
        if self._blanked_ns is None:
            self._blanked_ns = self._clock_ns()
        self._blanks += 1

    def _stop(self) -> None:
        """What blanking means for the samples: those that were over by then were exposed, and no others."""
        if not self._exposing:
            return
        self._exposing = False
        self._limit = self._next
        block = self._block
        if block is None and self._config.pace == "real_time" and self._path is not None:
            self._block = block = self.exposure.block(self._next)
        if block is not None and self._config.pace == "real_time":
            self._limit = block.first_index + max(self._next - block.first_index, self._exposed(block))
        if block is not None:
            self._note(block, self._next - block.first_index, self._limit - block.first_index)
            self.exposure.hit(block, self._limit - block.first_index)
            if self._config.pace == "real_time" and self._limit < self._path_count:
                self._cut = self.exposure.begun(block, self._limit - block.first_index, self._now_us())

    def _cut_off(self) -> Block | None:
        """The electrons of the sample that was being exposed when the beam went off, once."""
        electrons, self._cut = self._cut, 0.0
        if electrons == 0:
            return None
        nothing = np.empty((len(self.capabilities.detectors), 0), self.capabilities.sample_dtype)
        return Block(nothing, electrons, self._stamp(self._now_us()))

    @property
    def _path_count(self) -> int:
        return 0 if self._path is None else self._path.count

    def close(self) -> None:
        """Blank, and let go of the threads."""
        self.blank()
        self._stop()
        self.exposure.specimen.close()
        if self._log is not None:
            self._log.close()

    def _note(self, block: Exposed, start: int, stop: int) -> None:
        """Samples ``start`` to ``stop`` of the block were exposed."""
        if self._log is not None and self._path is not None and stop > start:
            electrons = float(block.electrons[start:stop].sum(dtype=np.float64))
            first = block.first_index
            self._log.exposed(self._frame, self._path.path_id, first + start, first + stop, electrons)

    def _hand_over(self, block: Exposed, start: int, stop: int) -> Block:
        if self._exposing:  # what was exposed before a blank was noted then
            self._note(block, start, stop)
        values = block.values[:, start:stop] if len(block) != stop - start else block.values
        if self.capabilities.sample_dtype == "<f4":
            values = values.astype("<f4")
        values = self._spoiled(np.ascontiguousarray(values), block.first_index + start)
        begun_us = block.end_us[start - 1] if start else block.end_us[0]
        made = Block(values, float(block.electrons[start:stop].sum(dtype=np.float64)), self._stamp(float(begun_us)))
        if self._truth is not None:
            self._truth.exposed(block, start, stop)
        self._next = block.first_index + stop
        if self._exposing and stop == len(block):
            self.exposure.hit(block, len(block))
            self._block = None
            if self._next >= self._path_count:
                self._exposing = False  # the path is over: it blanks by itself
                self._limit = self._next
        return made

    # -- time -----------------------------------------------------------------------------------------

    def _now_us(self) -> float:
        """Microseconds since the frame began, until the beam was blanked."""
        now_ns = self._clock_ns() if self._blanked_ns is None else self._blanked_ns
        return (now_ns - self._start_ns) * 1e-3

    def _exposed(self, block: Exposed) -> int:
        """How many samples of the block are over by now."""
        return int(np.searchsorted(block.end_us, self._now_us(), side="right"))

    def _wait_for(self, block: Exposed, start: int, stop: int) -> int:
        """Wait until enough of samples ``start`` to ``stop`` is exposed, at most about 10 ms; where it ends."""
        now_us = self._now_us()
        enough_us = min(block.end_us[stop - 1], block.end_us[start] + 1e6 * _READ_S)
        if enough_us > now_us:
            self._sleep(min(_WAIT_S, (enough_us - now_us) * 1e-6))
        behind_us = self._now_us() - float(block.end_us[start])
        if behind_us * len(block) / max(float(block.end_us[-1] - block.end_us[0]), 1e-9) > self._config.fifo_samples:
            self.blank()
            raise Overrun(
                f"the beam is {behind_us * 1e-3:.0f} ms ahead of the samples, more than the FIFO's "
                f"{self._config.fifo_samples}: "
                "lengthen the dwell, or read faster"
            )
        return min(stop, self._exposed(block))

    def _stamp(self, since_begin_us: float) -> int:
        """Monotonic time of a sample, as this microscope's clock has it."""
        now_ns = self._start_ns + int(since_begin_us * 1e3) if self._config.pace == "real_time" else self._clock_ns()
        if self._skew is not None:
            now_ns += self._skew.skew_ns + int((now_ns - self._start_ns) * self._skew.skew_ppm * 1e-6)
        return now_ns

    # -- faults ---------------------------------------------------------------------------------------

    def _act_out_faults(self) -> None:
        self.faults.reach(self._frame, self._next)
        for fault in self.faults.take(
            "stall", "clock_skew", "stuck_detector", "nan_detector", "beam_trip", "operator_blank", "overrun", "crash"
        ):
            if fault.kind == "stall":
                self._stalled_until_ns = self._clock_ns() + int(fault.duration_s * 1e9)
            elif fault.kind == "clock_skew":
                self._skew = fault
            elif fault.kind in ("stuck_detector", "nan_detector"):
                self._bad, self._bad_from, self._bad_value = fault, self._next, None
            elif fault.kind == "crash" and self._crash is not None:
                self._crash(fault)
            elif fault.kind == "overrun":
                self.blank()
                raise Overrun("the converter's FIFO ran over (a fault of the schedule)")
            elif fault.kind in ("beam_trip", "operator_blank"):
                self.blank()
                if fault.kind == "operator_blank":
                    raise BeamOff("the operator blanked the beam at the column", by_operator=True)
                raise BeamOff("the high tension tripped")

    def _stalled(self) -> bool:
        left_ns = self._stalled_until_ns - self._clock_ns()
        if left_ns <= 0:
            return False
        self._sleep(min(_WAIT_S, left_ns * 1e-9))
        self._start_ns += int(min(_WAIT_S * 1e9, left_ns))  # the scan itself halts, its time with it
        return True

    def _spoiled(self, values: np.ndarray, first_index: int) -> np.ndarray:
        fault = self._bad
        if fault is None:
            return values
        left = self._bad_from + fault.count - first_index
        if left <= 0 or fault.channel >= len(values):
            self._bad = None
            return values
        last = min(left, values.shape[1])
        if fault.kind == "nan_detector":
            return blinded(values, fault.channel, last)
        if self._bad_value is None:
            self._bad_value = int(values[fault.channel, 0])
        return stuck(values, fault.channel, last, self._bad_value)
