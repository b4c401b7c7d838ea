"""What a microscope says about itself: the limits that every plan is checked against.

A microscope states these when a client says hello; ``scancontrol plan --microscope FILE`` reads the same
structure from YAML. This is the lowest room beside :mod:`scancontrol.errors`: everything above may use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from scancontrol.errors import InvalidInput, within

__all__ = ["Capabilities", "CoilModel", "DetectorChannel", "check_detectors"]

_LONGEST_NAME = 80


def check_detectors(names: Sequence[str], remedy: str) -> None:
    """Refuse names by which detectors could not be told apart, or which HDF5 takes for something else.

    Raises:
        InvalidInput: one is empty, made of dots, long, given twice, or has a slash or a control character in it.
    """
    for at, name in enumerate(names):
        told = repr(name[:_LONGEST_NAME])
        if not 1 <= len(name) <= _LONGEST_NAME or not name.strip(". ") or "/" in name or not name.isprintable():
            letters = f"1 to {_LONGEST_NAME} printable letters, more than dots and without a slash"
            raise InvalidInput("detectors.name", told, f"is not of {letters}", remedy)
        if name in names[:at]:
            raise InvalidInput("detectors.name", told, "is given twice", remedy)


class CoilModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Linear response of the scan coils to a commanded position.

    ``order`` 1 is ``τ·x' + x = u``; ``order`` 2 is ``τ²·x'' + 2·ζ·τ·x' + x = u`` with damping ratio ``ζ``.
    A time constant of 0 means that the beam is where it was told to be. ``delay_us`` is how long after the beam
    was somewhere its signal is sampled. ``*_sd_us`` are one standard deviation, where a calibration measured them.
    """

    order: Literal[1, 2] = 1
    time_constant_us: float = 0.0
    damping: float = 1.0
    delay_us: float = 0.0
    time_constant_sd_us: float | None = None
    delay_sd_us: float | None = None

    @property
    def bandwidth_khz(self) -> float:
        """The −3 dB corner of a first-order lag, ``1/(2πτ)``; infinite without lag."""
        return math.inf if self.time_constant_us == 0 else 1e3 / (2 * math.pi * self.time_constant_us)


class DetectorChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One detector as the data stream carries it: ``counts = offset + gain · electrons``, clipped to the ADC.

    One that ``averages`` gives the mean over its dwell, as a converter of a voltage does: its gain is of one electron a
    microsecond. Its light fades with ``decay_us`` (0: at once), so that part of each sample's signal comes in the next
    ones; ``decay_sd_us`` is one standard deviation, where a calibration measured it.
    """

    name: str
    counts_per_electron: float = 1.0
    offset_counts: float = 0.0
    read_noise_counts: float = 0.0
    adc_bits: int = 16
    decay_us: float = 0.0
    averages: bool = False
    decay_sd_us: float | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one microscope can do. Sent in the answer to ``hello``; never trusted before :meth:`check`.

    Raises:
        InvalidInput: the microscope states something that cannot be.
    """

    name: str
    detectors: tuple[DetectorChannel, ...] = (DetectorChannel(name="HAADF"),)
    dac_bits: int = 16
    sample_clock_mhz: float = 8.0  # a dwell is a whole number of its cycles
    shortest_dwell_us: float = 0.125
    longest_dwell_us: float = 8192.0
    coil: CoilModel = CoilModel()
    max_slew_fields_per_us: float = math.inf  # fraction of the field of view per microsecond
    beam_current_pa: float = 20.0
    beam_energy_kev: float = 200.0
    dose_limit_e_per_a2: float | None = None  # per area; the microscope trips on its own running sum
    overcount: float = 1.0  # times what current and dwell say that the instrument may count, overheads included
    samples_per_path_limit: int = 1 << 28
    origin: Literal["simulation", "experiment"] = "simulation"
    sample_dtype: Literal["<u2", "<f4"] = "<u2"  # of every sample; a recording holds no other

    def detector(self, name: str) -> DetectorChannel:
        """The detector of that name.

        Raises:
            InvalidInput: there is none.
        """
        for channel in self.detectors:
            if channel.name == name:
                return channel
        known = ", ".join(channel.name for channel in self.detectors)
        raise InvalidInput("detector", name, "is no detector of this microscope", f"choose of {known}")

    def __post_init__(self) -> None:
        remedy = "mend the microscope's configuration"
        if not self.detectors:
            raise InvalidInput("detectors", "[]", "names no detector", remedy)
        for low, high, quantity in (
            (4, 32, "dac_bits"),
            (1e-3, 1e5, "sample_clock_mhz"),
            (1e-3, 1e6, "shortest_dwell_us"),
            (1e-3, 1e9, "longest_dwell_us"),
            (0, 1e9, "beam_current_pa"),
            (0.01, 3000, "beam_energy_kev"),
            (1, 1e4, "overcount"),
            (1, 1 << 40, "samples_per_path_limit"),
        ):
            within(quantity, getattr(self, quantity), low, high, remedy)
        check_detectors([detector.name for detector in self.detectors], remedy)
        for detector in self.detectors:
            within("detectors.decay_us", detector.decay_us, 0, 1e6, remedy)
            if detector.decay_sd_us is not None:
                within("detectors.decay_sd_us", detector.decay_sd_us, 0, 1e6, remedy)
        if self.longest_dwell_us < self.shortest_dwell_us:
            raise InvalidInput(
                "longest_dwell_us",
                self.longest_dwell_us,
                f"is below shortest_dwell_us, {self.shortest_dwell_us}",
                remedy,
            )
        if not (math.isfinite(self.coil.time_constant_us) and 0 <= self.coil.time_constant_us <= 1e6):
            raise InvalidInput("coil.time_constant_us", self.coil.time_constant_us, "is outside 0 to 1e6", remedy)
        if not (math.isfinite(self.coil.delay_us) and abs(self.coil.delay_us) <= 1e6):
            raise InvalidInput("coil.delay_us", self.coil.delay_us, "is outside -1e6 to 1e6", remedy)
        if not (math.isfinite(self.coil.damping) and 0.05 <= self.coil.damping <= 20):
            raise InvalidInput("coil.damping", self.coil.damping, "is outside 0.05 to 20", remedy)
        if not self.max_slew_fields_per_us > 0:
            raise InvalidInput("max_slew_fields_per_us", self.max_slew_fields_per_us, "is not above 0", remedy)
        if self.dose_limit_e_per_a2 is not None and not self.dose_limit_e_per_a2 > 0:
            raise InvalidInput("dose_limit_e_per_a2", self.dose_limit_e_per_a2, "is not above 0", remedy)
