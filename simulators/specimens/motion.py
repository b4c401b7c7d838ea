"""How the specimen moves under the beam: drift, thermal creep, sudden steps, vibration."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["Motion", "Step", "Vibration"]

Pair = tuple[float, float]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stage slips ``by_nm`` (y, x) at ``time_s``."""

    time_s: float
    by_nm: Pair


class Vibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sine of ``amplitude_nm`` (y, x): floor, pumps, sound."""

    frequency_hz: float
    amplitude_nm: Pair


class Motion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that moves the specimen; everything zero by default.

    Raises:
        InvalidInput: a motion that cannot be.
    """

    drift_nm_per_s: Pair = (0.0, 0.0)
    creep_nm: Pair = (0.0, 0.0)  # approached as 1 − exp(−t/creep_time_s)
    creep_time_s: float = 60.0
    steps: tuple[Step, ...] = ()
    vibrations: tuple[Vibration, ...] = ()

    def __post_init__(self) -> None:
        remedy = "mend the configuration"
        values = [*self.drift_nm_per_s, *self.creep_nm]
        values += [v for s in self.steps for v in (*s.by_nm, s.time_s)]
        values += [v for s in self.vibrations for v in s.amplitude_nm]
        if not all(math.isfinite(v) and abs(v) <= 1e6 for v in values):
            raise InvalidInput("motion", values, "holds a value outside −1e6 to 1e6", remedy)
        if not (math.isfinite(self.creep_time_s) and self.creep_time_s > 0):
            raise InvalidInput("motion.creep_time_s", self.creep_time_s, "is not above 0", remedy)
        for vibration in self.vibrations:
            if not 0 < vibration.frequency_hz <= 1e6:
                raise InvalidInput(
                    "motion.vibrations.frequency_hz", vibration.frequency_hz, "is outside 0 to 1e6", remedy
                )

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self == Motion(creep_time_s=self.creep_time_s)

    def displacement_nm(self, time_us: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the specimen has moved to, y (n,) and x (n,), at times (n,) since the microscope was switched on.

        Slow parts are drawn as straight lines between the first and the last of the times, which are those of one
        block of samples; steps and vibration are exact.
        """
        ends = time_us[[0, -1]] * 1e-6
        slow = np.array(
            [
                [
                    v * t + c * -math.expm1(-t / self.creep_time_s)
                    for v, c in zip(self.drift_nm_per_s, self.creep_nm, strict=True)
                ]
                for t in ends
            ]
        )
        span = time_us[-1] - time_us[0]
        within = (time_us - time_us[0]).astype(np.float32)
        along = within * np.float32(1 / span if span > 0 else 0)
        moved = [along * np.float32(slow[1, axis] - slow[0, axis]) + np.float32(slow[0, axis]) for axis in (0, 1)]
        for step in self.steps:
            if step.time_s <= ends[1]:
                for axis in (0, 1):
                    moved[axis] += (time_us >= step.time_s * 1e6) * np.float32(step.by_nm[axis])
        for vibration in self.vibrations:
            turns_per_us = vibration.frequency_hz * 1e-6
            phase = within * np.float32(2 * np.pi * turns_per_us)
            phase += np.float32(2 * np.pi * math.fmod(time_us[0] * turns_per_us, 1.0))
            swing = np.sin(phase)
            for axis in (0, 1):
                if vibration.amplitude_nm[axis]:
                    moved[axis] += swing * np.float32(vibration.amplitude_nm[axis])
        return moved[0], moved[1]
