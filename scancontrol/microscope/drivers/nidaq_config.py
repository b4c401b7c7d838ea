"""What an NI card cannot say about itself: its wiring, its clock, and the microscope that it is wired to."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from scancontrol.capabilities import CoilModel, DetectorChannel, check_detectors
from scancontrol.errors import InvalidInput
from scancontrol.microscope.drivers.nidaq_tasks import Wiring

__all__ = ["NidaqConfig"]


class NidaqConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver", tag="nidaq"
):
    """``microscope: {driver: nidaq, …}``.

    Raises:
        InvalidInput: a value that cannot be.
    """

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

    def __post_init__(self) -> None:
        remedy = "mend the microscope's configuration"
        for quantity, low, high in (("rate_khz", 0.1, 1e5), ("buffer_ms", 1, 5000), ("input_lag_ticks", 0, 1000)):
            value = getattr(self, quantity)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(quantity, value, f"is outside {low} to {high}", remedy)
        if len(self.detectors) != len(self.wiring.inputs) or not self.detectors:
            raise InvalidInput("detectors", len(self.detectors), f"are not {len(self.wiring.inputs)} inputs", remedy)
        check_detectors([detector.name for detector in self.detectors], remedy)
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
