"""An instrument made of an NI multifunction card: scan voltages out, detector voltages in, one clock for all.

Every dwell and every blanked move is a whole number of clock ticks; the voltages of a tick are held, and the inputs
of all ticks of a dwell are averaged. The last tick of a frame is blanked and parked by the hardware itself.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput
from scancontrol.microscope.drivers.nidaq_config import NidaqConfig
from scancontrol.microscope.drivers.nidaq_generation import Generation
from scancontrol.microscope.drivers.nidaq_tasks import NidaqmxTasks, TaskLayer
from scancontrol.microscope.instrument import Block
from scancontrol.paths.path import ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["NidaqConfig", "NidaqInstrument"]

_ORDERLY_S = 0.015  # for the generation to blank by itself, its samples kept, before it is aborted
_WAIT_S = 0.002
_DAC_VOLTS = 20.0  # of ±10 V
_DAC_BITS = 16


class NidaqInstrument:
    """See :class:`scancontrol.microscope.instrument.Instrument`. The card is served by a thread of the driver's own.

    Args:
        config: what is connected to what.
        tasks: the layer of tasks under the driver; the vendor's where None.
    Raises:
        InvalidInput: the configuration cannot be, or the package is not installed.
        LinkError: the driver or the card is not there.
    """

    def __init__(self, config: NidaqConfig, *, tasks: TaskLayer | None = None) -> None:
        self._config = config
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
        self._generation: Generation | None = None
        self._blanks = 0
        self._park()

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Have the card armed, filled and started.

        Raises:
            InvalidInput: the frame is larger than what the voltages cover.
        """
        blanks = self._blanks
        before = self._generation
        share = self._field_share(path)
        generation = Generation(self._config, self._tasks, self._rate_hz, path, first_index, share)
        if before is not None:
            before.stop()
        self._generation = generation
        if self._blanks != blanks:
            generation.stop()
        generation.start(before)

    def read(self, max_samples: int) -> Block | None:
        """See :class:`scancontrol.microscope.instrument.Instrument`.

        Raises:
            Overrun: the card starved; what it had exposed was handed over before.
            LinkError: it failed.
        """
        generation = self._generation
        if generation is None:
            return None
        taken = generation.take(max_samples)
        if taken is None and not generation.over:
            time.sleep(_WAIT_S)
            taken = generation.take(max_samples)
        if taken is not None:
            volts, lit_ticks, begun_ns = taken
            span = self._config.wiring.input_range_volts
            counts = np.clip(np.rint((volts / span + 1) * 32767.5), 0, 65535)
            return Block(counts.astype("<u2"), self._electrons(lit_ticks), begun_ns)
        if not generation.over:
            return self._nothing(0) if generation.stopping else None
        lost_ticks = generation.take_lost()
        if lost_ticks:
            return self._nothing(lost_ticks)
        if generation.dark.is_set():
            self._generation = None
        failure, generation.failure = generation.failure, None
        if failure is not None:
            raise failure
        return None

    def blank(self) -> None:
        """Blank and park, from whatever thread. Samples that were complete can still be read.

        Raises:
            LinkError: the card does not obey.
        """
        self._blanks += 1
        generation = self._generation
        if generation is None or generation.dark.is_set():
            return
        generation.stop()
        if not generation.dark.wait(_ORDERLY_S):
            self._tasks.abort(self._config.wiring.x.park_volts, self._config.wiring.y.park_volts)
            generation.was_aborted()

    def close(self) -> None:
        """Let go of the card, blanked and parked."""
        generation, self._generation = self._generation, None
        if generation is not None:
            generation.stop()
            generation.join(1.0)
        self._park()

    def _park(self) -> None:
        wiring = self._config.wiring
        try:
            self._tasks.stop()
        finally:
            self._tasks.blank(wiring.x.park_volts, wiring.y.park_volts)

    def _electrons(self, ticks: int) -> float:
        return ticks * 1e6 / self._rate_hz * self._config.beam_current_pa * ELECTRONS_PER_PA_US

    def _nothing(self, lost_ticks: int) -> Block:
        nothing = np.empty((len(self._config.detectors), 0), "<u2")
        return Block(nothing, self._electrons(lost_ticks), time.monotonic_ns())

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
