"""The configuration of a simulated microscope. Unknown keys are refused; values that cannot be are named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel, check_detectors
from scancontrol.errors import InvalidInput
from scancontrol.files import load_yaml
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.damage import DamageConfig
from simulators.column.detectors import DetectorConfig
from simulators.faults import Fault
from simulators.probe import Probe
from simulators.specimens.library import AnySpecimen, GoldOnCarbon
from simulators.specimens.motion import Motion

__all__ = ["SimulatorConfig", "Stated", "load_simulator"]


class Stated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the microscope says of itself. ``coil`` and ``detectors`` null state the true ones."""

    sample_clock_mhz: float = 100.0
    shortest_dwell_us: float = 0.05
    longest_dwell_us: float = 8192.0
    max_slew_fields_per_us: float = math.inf
    dac_bits: int = 16
    coil: CoilModel | None = None
    detectors: tuple[DetectorChannel, ...] | None = None
    dose_limit_e_per_a2: float | None = None


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one simulated microscope.

    Raises:
        InvalidInput: anything that cannot be.
    """

    name: str = "simulated STEM"
    seed: int = 1
    pace: Literal["real_time", "fast"] = "real_time"
    fifo_samples: int = 1 << 22  # of the converter: more than this unread is an overrun
    specimen: AnySpecimen = GoldOnCarbon()
    motion: Motion = Motion()
    probe: Probe = Probe()
    beam: BeamConfig = BeamConfig()
    coils: CoilConfig = CoilConfig()
    detectors: tuple[DetectorConfig, ...] = (DetectorConfig(),)
    damage: DamageConfig | None = None
    stated: Stated = Stated()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        remedy = "mend the simulator's configuration"
        if not self.detectors or len(self.detectors) > 8:
            raise InvalidInput("detectors", len(self.detectors), "is outside 1 to 8", remedy)
        check_detectors([detector.name for detector in self.detectors], remedy)
        stated = [channel.name for channel in self.stated.detectors or self.detectors]
        if stated != [detector.name for detector in self.detectors]:
            raise InvalidInput("stated.detectors", ", ".join(stated), "are not the detectors that there are", remedy)
        if not 1 << 12 <= self.fifo_samples <= 1 << 28:
            raise InvalidInput("fifo_samples", self.fifo_samples, f"is outside {1 << 12} to {1 << 28}", remedy)
        if not 0 <= self.seed < 1 << 63:
            raise InvalidInput("seed", self.seed, "is outside 0 to 2⁶³", remedy)
        self.capabilities()  # is checked where it is made

    def capabilities(self) -> Capabilities:
        """What the microscope states when asked."""
        stated = self.stated
        return Capabilities(
            name=self.name,
            detectors=stated.detectors or tuple(detector.stated() for detector in self.detectors),
            dac_bits=stated.dac_bits,
            sample_clock_mhz=stated.sample_clock_mhz,
            shortest_dwell_us=stated.shortest_dwell_us,
            longest_dwell_us=stated.longest_dwell_us,
            coil=stated.coil if stated.coil is not None else self.coils.stated(),
            max_slew_fields_per_us=stated.max_slew_fields_per_us,
            beam_current_pa=self.beam.current_pa,
            beam_energy_kev=self.probe.energy_kev,
            dose_limit_e_per_a2=stated.dose_limit_e_per_a2,
            origin="simulation",
            sample_dtype="<f4" if any(fault.kind == "nan_detector" for fault in self.faults) else "<u2",
        )


def load_simulator(path: Path) -> SimulatorConfig:
    """Read and check one configuration file.

    Raises:
        InvalidInput: it cannot be read, or says something impossible.
    """
    return load_yaml(path, SimulatorConfig)
