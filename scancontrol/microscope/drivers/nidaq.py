"""An instrument made of an NI multifunction card: scan voltages out, detector voltages in, one clock for all.

Every dwell and every blanked move is a whole number of clock ticks; the voltages of a tick are held, and the inputs
of all ticks of a dwell are averaged. The last tick of a frame is blanked and parked by the hardware itself.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.drivers.nidaq_tasks import NidaqmxTasks, Starved, TaskLayer, Wiring
from scancontrol.microscope.instrument import Block, Overrun
from scancontrol.paths.path import ELECTRONS_PER_PA_US, PathChunk, ScanPath

__all__ = ["NidaqConfig", "NidaqInstrument"]

_log = logging.getLogger(__name__)
_PIECE = 1 << 14
_DAC_VOLTS = 20.0  # of ±10 V
_DAC_BITS = 16


class NidaqConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver", tag="nidaq"
):
    """``microscope: {driver: nidaq, …}``."""

    wiring: Wiring
    name: str = "NI-DAQ"
    detectors: tuple[DetectorChannel, ...] = (DetectorChannel(name="detector"),)
    coil: CoilModel = CoilModel()
    beam_current_pa: float = 20.0
    beam_energy_kev: float = 20.0
    dose_limit_e_per_a2: float | None = None
    origin: Literal["simulation", "experiment"] = "experiment"
    rate_khz: float = 1000.0  # of the clock: one tick is the shortest dwell
    buffer_ms: float = 100.0  # of output written ahead
    input_lag_ticks: int = 1  # the inputs are sampled as the outputs change: they still see the tick before
    generation: Literal["finite", "continuous"] = "finite"
    full_field_nm: float | None = None  # width that volts_per_field covers; None: each plan's field fills it

    def check(self) -> None:
        """Raise :class:`InvalidInput` for a value that cannot be."""
        remedy = "mend the microscope's configuration"
        for quantity, low, high in (("rate_khz", 0.1, 1e5), ("buffer_ms", 1, 5000), ("input_lag_ticks", 0, 1000)):
            value = getattr(self, quantity)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(quantity, value, f"is outside {low} to {high}", remedy)
        if len(self.detectors) != len(self.wiring.inputs) or not self.detectors:
            raise InvalidInput("detectors", len(self.detectors), f"are not {len(self.wiring.inputs)} inputs", remedy)
        if not 0 < self.wiring.input_range_volts <= 10:
            raise InvalidInput("input_range_volts", self.wiring.input_range_volts, "is outside 0 to 10", remedy)
        head, _, line = self.wiring.blanker.rpartition("line")
        if not head or not line.isdigit():
            raise InvalidInput("blanker", self.wiring.blanker, "is not one line", "give for example Dev1/port0/line0")
        for name, axis in (("x", self.wiring.x), ("y", self.wiring.y)):
            half = abs(axis.volts_per_field) / 2
            for volts in (axis.centre_volts - half, axis.centre_volts + half, axis.park_volts):
                if not axis.lowest_volts <= volts <= axis.highest_volts:
                    raise InvalidInput(
                        f"wiring.{name}",
                        f"{volts:g} V",
                        f"is outside {axis.lowest_volts:g} to {axis.highest_volts:g} V",
                        "lower volts_per_field, or park inside the limits",
                    )


class NidaqInstrument:
    """See :class:`scancontrol.microscope.instrument.Instrument`.

    Raises :class:`InvalidInput` or :class:`LinkError` where the configuration, the package, the driver or the card is
    not what it should be. ``tasks``, ``clock_ns`` and ``sleep`` are injected by tests.
    """

    def __init__(
        self,
        config: NidaqConfig,
        *,
        tasks: TaskLayer | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        config.check()
        self._config = config
        self._clock_ns, self._sleep = clock_ns, sleep
        self._tasks: TaskLayer = NidaqmxTasks(config.wiring) if tasks is None else tasks
        self._rate_hz = self._tasks.coerced_rate_hz(config.rate_khz * 1e3)
        tick_us = 1e6 / self._rate_hz
        span = min(abs(config.wiring.x.volts_per_field), abs(config.wiring.y.volts_per_field))
        self.capabilities = Capabilities(
            name=config.name,
            detectors=config.detectors,
            coil=config.coil,
            origin=config.origin,
            dac_bits=max(4, math.floor(_DAC_BITS + math.log2(span / _DAC_VOLTS))),
            sample_clock_mhz=self._rate_hz * 1e-6,
            shortest_dwell_us=tick_us,
            longest_dwell_us=1e6,
            beam_current_pa=config.beam_current_pa,
            beam_energy_kev=config.beam_energy_kev,
            dose_limit_e_per_a2=config.dose_limit_e_per_a2,
        )
        self.capabilities.check()
        self._path: ScanPath | None = None
        self._lit = False
        self._rest()

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Arm the card, fill its buffer, and start. Raises InvalidInput, LinkError; Overrun if it starves at once."""
        self.blank()
        self._span = self._field_share(path)
        self._path, self._written, self._next = path, first_index, first_index
        self._ticks = np.zeros(0, np.int64)  # of each sample that is written and not read
        self._moves = np.zeros(0, np.int64)
        self._pending_volts = np.zeros((2, 0))
        self._pending_blank = np.zeros(0, np.bool_)
        self._left = np.zeros((len(self._config.detectors), 0))
        self._to_skip = self._config.input_lag_ticks
        self._tailed = False
        self._read_ticks = 0
        total = None
        if self._config.generation == "finite":
            total = (
                sum(
                    int(
                        sum(
                            part.sum() for part in self._whole_ticks(path.chunk(first, min(_PIECE, path.count - first)))
                        )
                    )
                    for first in range(first_index, path.count, _PIECE)
                )
                + self._tail_ticks
            )
        try:
            self._lit = True
            self._tasks.arm(total, self._rate_hz, max(2, round(self._config.buffer_ms * 1e-3 * self._rate_hz)))
            self._fill()
            self._tasks.start()
        except Starved as error:
            self.blank()
            raise Overrun(str(error)) from error
        except Exception:
            self.blank()
            raise
        self._start_ns = self._clock_ns()

    def read(self, max_samples: int) -> Block | None:
        """See :class:`scancontrol.microscope.instrument.Instrument`. Raises :class:`Overrun` when the card starved."""
        if self._path is None:
            return None
        if not self._lit:
            return self._collect(max_samples)
        try:
            self._fill()
            self._take()
        except Starved as error:
            self.blank()
            raise Overrun(f"the host was too late for the card: {error}") from error
        except Exception:
            self.blank()
            raise
        block = self._collect(max_samples)
        if block is None:
            self._sleep(0.002)
        elif self._next >= self._path.count:
            self.blank()  # the hardware has blanked and parked already
        return block

    def blank(self) -> None:
        """Stop the clock, blank, and park. Samples that were complete can still be read."""
        if not self._lit:
            return
        self._lit = False
        try:
            self._take()
        except (Starved, LinkError) as error:
            _log.warning("samples of the card are lost: %s", error)
        self._rest()

    def close(self) -> None:
        """Blank, park, and let go of the card."""
        self._lit = False
        self._rest()

    def _take(self) -> None:
        volts = self._tasks.read(_PIECE * 8)
        skipped = min(self._to_skip, volts.shape[1])
        self._to_skip -= skipped
        self._left = np.concatenate([self._left, volts[:, skipped:]], axis=1)

    def _rest(self) -> None:
        wiring = self._config.wiring
        try:
            self._tasks.stop()
        finally:
            self._tasks.rest(wiring.x.park_volts, wiring.y.park_volts)

    # -- out ----------------------------------------------------------------------------------------------

    @property
    def _tail_ticks(self) -> int:
        return 1 + self._config.input_lag_ticks

    def _field_share(self, path: ScanPath) -> NDArray[np.float64]:
        """(x, y) shares of ``volts_per_field`` that the frame takes."""
        height_nm = path.fov_nm * path.shape[0] / path.shape[1]
        full = self._config.full_field_nm or max(path.fov_nm, height_nm)
        share = np.array([path.fov_nm, height_nm]) / full
        if share.max() > 1 + 1e-9:
            raise InvalidInput(
                "fov_nm",
                max(path.fov_nm, height_nm),
                f"is above the full field, {full:g}",
                "plan a smaller field, or lower the magnification",
            )
        return share

    def _whole_ticks(self, chunk: PathChunk) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        tick_us = 1e6 / self._rate_hz
        dwell = np.maximum(np.rint(chunk.dwell_us / tick_us), 1).astype(np.int64)
        move = np.ceil(chunk.move_us / tick_us - 1e-9).astype(np.int64)
        return dwell, move

    def _fill(self) -> None:
        """Write as much as the card has room for."""
        path = self._path
        while path is not None and (space := self._tasks.space()) > 0:
            if self._pending_blank.size == 0 and not self._more(path):
                return
            n = min(space, self._pending_blank.size)
            self._tasks.write(self._pending_volts[:, :n], self._pending_blank[:n])
            self._pending_volts, self._pending_blank = self._pending_volts[:, n:], self._pending_blank[n:]

    def _more(self, path: ScanPath) -> bool:
        """Turn the next samples into ticks; False when there is nothing to add."""
        wiring = self._config.wiring
        park = np.array([wiring.x.park_volts, wiring.y.park_volts])
        if self._written < path.count:
            chunk = path.chunk(self._written, min(_PIECE, path.count - self._written))
            dwell, move = self._whole_ticks(chunk)
            self._written += len(chunk)
            self._ticks = np.concatenate([self._ticks, dwell])
            self._moves = np.concatenate([self._moves, move])
            axes = (wiring.x, wiring.y)
            centre = np.array([axis.centre_volts for axis in axes])
            span = np.array([axis.volts_per_field for axis in axes]) * self._span
            volts = centre + (chunk.positions[:, ::-1] - 0.5) * span
            # a plan cannot leave the limits, but a fault of ours could: the last word is here
            volts = np.clip(volts, [axis.lowest_volts for axis in axes], [axis.highest_volts for axis in axes])
            self._pending_volts = np.repeat(volts, dwell + move, axis=0).T
            counts = np.stack([move, dwell], axis=1).ravel()
            self._pending_blank = np.repeat(np.tile([True, False], len(chunk)), counts)
            return True
        if self._tailed and self._config.generation == "finite":
            return False
        self._tailed = True
        # a continuous generation must never run dry before it is stopped
        n = self._tail_ticks if self._config.generation == "finite" else max(self._tail_ticks, self._tasks.space())
        self._pending_volts = np.repeat(park[:, None], n, axis=1)
        self._pending_blank = np.ones(n, np.bool_)
        return True

    # -- in -----------------------------------------------------------------------------------------------

    def _collect(self, max_samples: int) -> Block | None:
        ends = np.cumsum(self._ticks[:max_samples] + self._moves[:max_samples])
        count = int(np.searchsorted(ends, self._left.shape[1], side="right"))
        if count == 0:
            return None
        used, dwell, move = int(ends[count - 1]), self._ticks[:count], self._moves[:count]
        lit = np.repeat(np.tile([0.0, 1.0], count), np.stack([move, dwell], axis=1).ravel())
        starts = np.concatenate([[0], ends[: count - 1]])
        mean = np.add.reduceat(self._left[:, :used] * lit, starts, axis=1) / dwell
        self._left = self._left[:, used:]
        self._ticks, self._moves = self._ticks[count:], self._moves[count:]
        self._next += count
        begun_us = self._read_ticks * 1e6 / self._rate_hz
        self._read_ticks += used
        span = self._config.wiring.input_range_volts
        counts = np.clip(np.rint((mean / span + 1) * 32767.5), 0, 65535)
        exposed_us = float(dwell.sum()) * 1e6 / self._rate_hz
        return Block(
            values=counts.astype("<u2"),
            electrons=exposed_us * self._config.beam_current_pa * ELECTRONS_PER_PA_US,
            monotonic_ns=self._start_ns + round(begun_us * 1e3),
        )
