"""The scan coils and what drives them: from where the beam was told to be to where it was.

In order: the DAC's steps, the slew limit of the amplifier, the linear response of the coils (first or second order,
plus a slow share that eddy currents in the pole pieces leave behind and that makes settling depend on the jump),
magnetic hysteresis, a landing error after each blanked jump, and the mains' hum. Positions are (y, x) in fractions
of the field of view.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from simulators.recurrence import play, relax

__all__ = ["CoilConfig", "Coils"]

Array = NDArray[np.float64]


class CoilConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True coils, as opposed to what the microscope states of them. Zero switches an effect off."""

    order: Literal[1, 2] = 1
    time_constant_us: float = 0.0
    damping: float = 1.0  # second order: ζ
    slow_share: float = 0.0  # of each step, that follows with slow_time_us (eddy currents)
    slow_time_us: float = 150.0
    slew_fields_per_us: float = math.inf
    hysteresis_fields: float = 0.0  # half-width of the backlash loop
    dac_bits: int | None = None
    landing_error_fields: float = 0.0  # rms error of where a blanked jump (flyback) ends, until the next
    hum_fields: float = 0.0  # amplitude of the mains' pick-up
    hum_hz: float = 50.0

    def check(self) -> None:
        """Raise :class:`InvalidInput` for coils that cannot be."""
        for quantity, low, high in (
            ("time_constant_us", 0.0, 1e5),
            ("damping", 0.05, 20.0),
            ("slow_share", 0.0, 0.5),
            ("slow_time_us", 1e-3, 1e7),
            ("hysteresis_fields", 0.0, 0.5),
            ("landing_error_fields", 0.0, 0.5),
            ("hum_fields", 0.0, 0.5),
            ("hum_hz", 1.0, 1e5),
        ):
            value = getattr(self, quantity)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(
                    f"coils.{quantity}", value, f"is outside {low:g} to {high:g}", "mend the configuration"
                )
        if not self.slew_fields_per_us > 0:
            raise InvalidInput(
                "coils.slew_fields_per_us", self.slew_fields_per_us, "is not above 0", "mend the configuration"
            )
        if self.dac_bits is not None and not 4 <= self.dac_bits <= 32:
            raise InvalidInput("coils.dac_bits", self.dac_bits, "is outside 4 to 32", "mend the configuration")

    def stated(self) -> CoilModel:
        """The linear model that a well-calibrated microscope would state."""
        return CoilModel(order=self.order, time_constant_us=self.time_constant_us, damping=self.damping)


class Coils:
    """The coils in motion: :meth:`follow` is called with one contiguous run of samples after the other."""

    def __init__(self, config: CoilConfig) -> None:
        self.config = config
        self._modes = _modes(config)
        self._at: list[Array | NDArray[np.complex128]] = []
        self._told = np.zeros(2)
        self._play = np.zeros(2)
        self._landing = np.zeros(2)

    def settle_on(self, position: Array) -> None:
        """Come to rest at ``position`` (2,), as a parked beam does while it is blanked."""
        self._told = np.array(position, np.float64)
        self._at = [
            self._told.astype(np.complex128 if isinstance(rate, complex) else np.float64) for _, rate in self._modes
        ]
        self._play = self._told.copy()
        self._landing = np.zeros(2)

    def follow(
        self, commands: Array, dwell_us: Array, move_us: Array, start_us: float, generator: np.random.Generator
    ) -> Array:
        """Mean achieved position over each dwell, (n, 2); commands (n, 2) each begin with a blanked move (n,)."""
        config = self.config
        told = commands
        if config.dac_bits is not None:
            codes = 2.0**config.dac_bits
            told = commands * codes
            np.rint(told, out=told)
            np.clip(told, 0, codes - 1, out=told)
            told *= 1 / codes
        step_us = move_us + dwell_us
        if math.isfinite(config.slew_fields_per_us):
            told = self._slewed(told, step_us * config.slew_fields_per_us)
        achieved = self._lagged(told, dwell_us, move_us)
        self._told = told[-1]
        if config.hysteresis_fields > 0:
            achieved = play(self._play, achieved, config.hysteresis_fields)
            self._play = achieved[-1].copy()
        if config.landing_error_fields > 0:
            achieved += self._landed(move_us > 0, generator)
        if config.hum_fields > 0:
            turns_per_us = config.hum_hz * 1e-6
            phase = np.cumsum(step_us).astype(np.float32)  # to the end of each dwell, within this block
            phase *= np.float32(2 * np.pi * turns_per_us)
            phase += np.float32(2 * np.pi * math.fmod((start_us - dwell_us[0] / 2) * turns_per_us, 1.0))
            achieved[:, 0] += np.float32(0.6 * config.hum_fields) * np.sin(phase)
            phase += np.float32(0.7)
            achieved[:, 1] += np.float32(config.hum_fields) * np.sin(phase)
        return achieved

    def _lagged(self, told: Array, dwell_us: Array, move_us: Array) -> Array:
        if not self._modes:
            return told.copy()
        even = bool((dwell_us[1:] == dwell_us[:-1]).all())
        moves = bool(move_us.any())
        dwell = dwell_us[:1] if even else dwell_us
        achieved = told.copy()  # the modes' weights sum to 1
        for number, (weight, rate) in enumerate(self._modes):
            keep = np.exp(-rate * dwell)  # (n,), or (1,) where every step is the same
            mean = weight * -np.expm1(-rate * dwell) / (rate * dwell)
            if moves:
                moving = np.exp(-rate * move_us)
                keep, mean = keep * moving, mean * moving
            at = relax(self._at[number], (1 - keep)[:, None] * told, keep)
            achieved[0] -= (mean[0] * (told[0] - self._at[number])).real
            later = mean[1:, None] if len(mean) > 1 else mean[:, None]
            achieved[1:] -= (later * (told[1:] - at[:-1])).real
            self._at[number] = at[-1].copy()
        return achieved

    def _slewed(self, told: Array, reach: Array) -> Array:
        """The command after an amplifier that moves at most ``reach`` (n,) in each step, either axis by itself."""
        jumps = np.diff(told, axis=0, prepend=self._told[None])
        least = reach.min()
        if -least <= jumps.min() and jumps.max() <= least:
            return told  # it keeps up throughout
        out = told.copy()
        for axis in (0, 1):
            column = out[:, axis]
            jump = np.abs(np.diff(column, prepend=self._told[axis]))
            too_far = np.flatnonzero(jump > reach)
            position = 0
            while position < too_far.size:  # only where it falls behind, until it has caught up
                k = int(too_far[position])
                at = float(column[k - 1]) if k else float(self._told[axis])
                while k < len(column):
                    target, most = float(told[k, axis]), float(reach[k])
                    caught_up = abs(target - at) <= most
                    at = target if caught_up else at + math.copysign(most, target - at)
                    column[k] = at
                    k += 1
                    if caught_up:
                        break
                position = int(np.searchsorted(too_far, k))
        return out

    def _landed(self, jumped: NDArray[np.bool_], generator: np.random.Generator) -> Array:
        """The landing error of each sample, (n, 2) or (1, 2): drawn at each jump and kept until the next."""
        if not jumped.any():
            return self._landing[None]
        errors = generator.normal(0, self.config.landing_error_fields, (int(jumped.sum()), 2))
        table = np.concatenate((self._landing[None], errors))
        self._landing = table[-1]
        return np.asarray(table[np.cumsum(jumped)])


def _modes(config: CoilConfig) -> list[tuple[float | complex, float | complex]]:
    """Weights and rates (1/µs) of first-order lags that sum to the coils' response; none for ideal coils."""
    tau = config.time_constant_us
    fast = 1.0 - config.slow_share
    modes: list[tuple[float | complex, float | complex]] = []
    if tau == 0:
        if config.slow_share == 0:
            return []
        modes.append((fast, 1e9))
    elif config.order == 1:
        modes.append((fast, 1 / tau))
    else:
        zeta = config.damping if abs(config.damping - 1) > 1e-4 else 1.000001  # two equal modes are one, and a ramp
        if zeta > 1:
            p, q = zeta + math.sqrt(zeta**2 - 1), zeta - math.sqrt(zeta**2 - 1)
            modes += [(fast * q / (q - p), p / tau), (fast * p / (p - q), q / tau)]
        else:
            root = complex(zeta, math.sqrt(1 - zeta**2))
            other = root.conjugate()
            modes.append((2 * fast * other / (other - root), root / tau))  # the real part of one of a conjugate pair
    if config.slow_share > 0:
        modes.append((config.slow_share, 1 / config.slow_time_us))
    return modes
