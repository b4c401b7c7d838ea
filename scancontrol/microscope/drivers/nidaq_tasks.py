"""The thin layer of NI-DAQmx tasks under the driver: one clock, two voltages out, a blanker line out, signals in.

:class:`TaskLayer` is what :mod:`scancontrol.microscope.drivers.nidaq` needs and all that a test has to imitate;
:class:`NidaqmxTasks` is the real one. The analogue output is the clock: its sample clock drives the blanker's line
and the inputs, which are armed first, so that nothing is missed. Old samples are never generated again: a host that
does not write in time stops the generation instead (error −200290).
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, LinkError

__all__ = ["AxisWiring", "NidaqmxTasks", "Starved", "TaskLayer", "Wiring"]

_STARVED = {-200290, -200621, -200016, -200018, -200279, -200361}  # nothing to generate, or no room for what came in
_TIMEOUT_S = 2.0


class Starved(Exception):
    """The hardware ran out of samples to generate, or overwrote samples before they were read."""


class AxisWiring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scan axis: ``centre_volts + (fraction − ½) · volts_per_field``, never outside the limits."""

    channel: str
    volts_per_field: float
    centre_volts: float = 0.0
    lowest_volts: float = -10.0
    highest_volts: float = 10.0
    park_volts: float = 0.0


class Wiring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is connected to what. ``blanker`` is one line; ``blank_level`` is its state when the beam is off."""

    x: AxisWiring
    y: AxisWiring
    inputs: tuple[str, ...]
    input_range_volts: float = 10.0
    blanker: str = "Dev1/port0/line0"
    blank_level: bool = True
    start_trigger: str | None = None


class TaskLayer(Protocol):
    """The hardware's tasks, as the driver needs them.

    Raises:
        Starved: the outputs ran out of samples, or the inputs were not read in time; from every method.
        LinkError: any other error of the hardware; from every method.
    """

    def coerced_rate_hz(self, rate_hz: float) -> float:
        """The rate that the hardware's clock makes of ``rate_hz``."""

    def arm(self, ticks: int | None, rate_hz: float, buffer_ticks: int) -> None:
        """Reserve the tasks for ``ticks`` clock ticks, or without end."""

    def space(self) -> int:
        """Ticks that can be written now."""

    def write(self, volts: NDArray[np.float64], blank: NDArray[np.bool_]) -> None:
        """Append ``volts`` (2, n) as (x, y) and the blanker's state (n,)."""

    def start(self) -> None:
        """Begin, or wait for the trigger."""

    def read(self, most: int) -> NDArray[np.float64]:
        """What has come in and was not read: (inputs, k) volts, k ≤ ``most``."""

    def blank(self, x_volts: float, y_volts: float) -> None:
        """Stop the outputs; then the blanker, then the voltages, by software. What came in can still be read."""

    def abort(self, x_volts: float, y_volts: float) -> None:
        """The same at once, from any thread, also while a call of another one is under way, which then fails.

        What came in is lost.
        """

    def stop(self) -> None:
        """Stop and let go of every task. Any number of times."""


class NidaqmxTasks:
    """The vendor's driver through ``nidaqmx``.

    Raises:
        InvalidInput: the package is not installed. LinkError: the driver is not installed, or the device is not there.
    """

    def __init__(self, wiring: Wiring, module: ModuleType | None = None) -> None:
        try:
            self._ni: Any = module or importlib.import_module("nidaqmx")
            self._streams: Any = module or importlib.import_module("nidaqmx.stream_writers")
            self._readers: Any = module or importlib.import_module("nidaqmx.stream_readers")
            self._constants: Any = module or importlib.import_module("nidaqmx.constants")
            self._errors: Any = module or importlib.import_module("nidaqmx.errors")
        except ImportError as error:
            raise InvalidInput(
                "driver", "nidaq", "needs nidaqmx, which is not installed", "pip install 'scancontrol[nidaq]'"
            ) from error
        self._wiring = wiring
        self._tasks: list[Any] = []
        self._outputs: list[Any] = []  # of them
        self._line = int(wiring.blanker.rsplit("line", 1)[1])
        self.blank(wiring.x.park_volts, wiring.y.park_volts)  # says at once if the driver or the device is missing

    def coerced_rate_hz(self, rate_hz: float) -> float:
        """Asks the hardware: configures a task, reads the rate back, and lets go of it."""

        def ask() -> float:
            with self._new_task() as task:
                self._add_outputs(task)
                task.timing.cfg_samp_clk_timing(rate_hz)
                return float(task.timing.samp_clk_rate)

        return float(self._translated(ask))

    def arm(self, ticks: int | None, rate_hz: float, buffer_ticks: int) -> None:
        """See :class:`TaskLayer`."""
        self.stop()
        self._translated(lambda: self._arm(ticks, rate_hz, buffer_ticks))

    def _arm(self, ticks: int | None, rate_hz: float, buffer_ticks: int) -> None:
        c, wiring = self._constants, self._wiring
        mode = c.AcquisitionType.CONTINUOUS if ticks is None else c.AcquisitionType.FINITE
        count = buffer_ticks if ticks is None else ticks
        self._ao, self._do, self._ai = (self._kept_task() for _ in range(3))
        self._outputs = [self._ao, self._do]
        self._add_outputs(self._ao)
        self._ao.timing.cfg_samp_clk_timing(rate_hz, sample_mode=mode, samps_per_chan=count)
        device = wiring.x.channel.split("/")[0]
        clock = f"/{device}/ao/SampleClock"
        self._do.do_channels.add_do_chan(wiring.blanker)
        self._do.timing.cfg_samp_clk_timing(rate_hz, source=clock, sample_mode=mode, samps_per_chan=count)
        for name in wiring.inputs:
            limit = wiring.input_range_volts
            self._ai.ai_channels.add_ai_voltage_chan(name, min_val=-limit, max_val=limit)
        self._ai.timing.cfg_samp_clk_timing(rate_hz, source=clock, sample_mode=mode, samps_per_chan=count)
        for task in (self._ao, self._do):
            task.out_stream.regen_mode = c.RegenerationMode.DONT_ALLOW_REGENERATION
            task.out_stream.output_buf_size = buffer_ticks
        self._ai.in_stream.input_buf_size = 4 * buffer_ticks
        if wiring.start_trigger is not None:
            self._ao.triggers.start_trigger.cfg_dig_edge_start_trig(wiring.start_trigger)
        self._volts_out = self._streams.AnalogMultiChannelWriter(self._ao.out_stream, auto_start=False)
        self._line_out = self._streams.DigitalSingleChannelWriter(self._do.out_stream, auto_start=False)
        self._volts_in = self._readers.AnalogMultiChannelReader(self._ai.in_stream)

    def space(self) -> int:
        """See :class:`TaskLayer`."""
        return int(self._translated(lambda: min(task.out_stream.space_avail for task in (self._ao, self._do))))

    def write(self, volts: NDArray[np.float64], blank: NDArray[np.bool_]) -> None:
        """See :class:`TaskLayer`. The blanker's line is written first, so that no voltage is ever ahead of it."""
        high = blank == self._wiring.blank_level
        port = high.astype(np.uint32) << np.uint32(self._line)  # port format: each line at its own bit
        self._translated(lambda: self._line_out.write_many_sample_port_uint32(port, timeout=_TIMEOUT_S))
        self._translated(lambda: self._volts_out.write_many_sample(np.ascontiguousarray(volts), timeout=_TIMEOUT_S))

    def start(self) -> None:
        """See :class:`TaskLayer`."""
        for task in (self._ai, self._do, self._ao):  # the clock last
            self._translated(task.start)

    def read(self, most: int) -> NDArray[np.float64]:
        """See :class:`TaskLayer`."""
        ready = min(most, int(self._translated(lambda: self._ai.in_stream.avail_samp_per_chan)))
        volts = np.empty((len(self._wiring.inputs), ready))
        if ready:
            self._translated(lambda: self._volts_in.read_many_sample(volts, ready, timeout=_TIMEOUT_S))
        return volts

    def blank(self, x_volts: float, y_volts: float) -> None:
        """See :class:`TaskLayer`. The analogue output is the clock: without it nothing goes on."""
        outputs, self._outputs = self._outputs, []
        for task in outputs:
            self._tasks.remove(task)
            self._translated(task.close)
        self._translated(lambda: self._rest(x_volts, y_volts))

    def abort(self, x_volts: float, y_volts: float) -> None:
        """See :class:`TaskLayer`. DAQmx ends whatever call of a task is under way when the task is aborted."""
        for task in list(self._tasks):
            self._translated(lambda task=task: task.control(self._constants.TaskMode.TASK_ABORT))
        self._translated(lambda: self._rest(x_volts, y_volts))

    def stop(self) -> None:
        """See :class:`TaskLayer`."""
        tasks, self._tasks, self._outputs = self._tasks, [], []
        for task in tasks:
            self._translated(task.close)

    def _rest(self, x_volts: float, y_volts: float) -> None:
        with self._new_task() as line:
            line.do_channels.add_do_chan(self._wiring.blanker)
            line.write(self._wiring.blank_level, auto_start=True)
        with self._new_task() as axes:
            self._add_outputs(axes)
            axes.write([x_volts, y_volts], auto_start=True)

    def _add_outputs(self, task: Any) -> None:
        for axis in (self._wiring.x, self._wiring.y):
            # the limits are the driver's own too: it refuses a voltage outside them whatever the plan says
            task.ao_channels.add_ao_voltage_chan(axis.channel, min_val=axis.lowest_volts, max_val=axis.highest_volts)

    def _new_task(self) -> Any:
        return self._ni.Task()

    def _kept_task(self) -> Any:
        task = self._new_task()
        self._tasks.append(task)
        return task

    def _translated(self, call: Any) -> Any:
        try:
            return call()
        except self._errors.DaqNotFoundError as error:
            raise LinkError(
                "the NI-DAQmx driver is not installed on this machine; install it from ni.com (Windows or Linux), then "
                "start again"
            ) from error
        except self._errors.DaqError as error:
            if getattr(error, "error_code", None) in _STARVED:
                raise Starved(str(error)) from error
            raise LinkError(f"NI-DAQmx: {error}") from error
