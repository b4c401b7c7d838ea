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
from scancontrol.errors import InvalidInput, within
from simulators.numerics.recurrence import linger, play

__all__ = ["CoilConfig", "Coils"]

Array = NDArray[np.float64]


class CoilConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True coils, as opposed to what the microscope states of them. Zero switches an effect off.

    Raises:
        InvalidInput: coils that cannot be.
    """

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

    def __post_init__(self) -> None:
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
            within(f"coils.{quantity}", getattr(self, quantity), low, high, "mend the configuration")
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
        modes = _modes(config)
        self._weight = np.array([weight for weight, _ in modes])
        self._rate = np.array([rate for _, rate in modes])
        alike = config.order == 2 and abs(config.damping - 1) < 0.1  # two modes that all but cancel
        kind = np.result_type(np.float64 if alike else np.float32, np.complex64 if np.iscomplexobj(self._rate) else "f")
        self._rest = np.zeros((len(modes), 2), kind)
        self._lag = self._rest  # how far the coils are behind what they were told, by mode
        self._told = np.zeros(2, np.float32)
        self._play = np.zeros(2, np.float32)
        self._landing = np.zeros(2, np.float32)

    def settle_on(self, position: NDArray[np.floating]) -> None:
        """Come to rest at ``position`` (2,), as a parked beam does while it is blanked."""
        self._told = np.array(position, np.float32)
        self._lag = self._rest
        self._play = self._told.copy()
        self._landing = np.zeros(2, np.float32)

    def follow(
        self,
        commands: NDArray[np.floating],
        dwell_us: Array,
        move_us: Array | None,
        start_us: float,
        generator: np.random.Generator,
        end_us: Array | None = None,
    ) -> NDArray[np.float32]:
        """Mean achieved position over each dwell, (n, 2); commands (n, 2) each begin with a blanked move (n,), if any.

        In single precision, 6e-8 of the field, and stored axis by axis: ``follow(...).T`` is contiguous. ``end_us`` is
        the cumulative sum of moves and dwells, if the caller has it already.
        """
        config = self.config
        told = np.array(commands.T, np.float32, order="C")
        if config.dac_bits is not None:
            codes = 2.0**config.dac_bits
            told *= np.float32(codes)
            np.rint(told, out=told)
            np.clip(told, 0, np.float32(codes - 1), out=told)
            told *= np.float32(1 / codes)
        even = bool(dwell_us[0] == dwell_us[-1] and (dwell_us == dwell_us[0]).all())
        jumps = self._jumps(told)
        if math.isfinite(config.slew_fields_per_us):
            least = (dwell_us[0] if even else dwell_us.min()) * config.slew_fields_per_us
            if jumps.min() < -least or jumps.max() > least:
                reach = (dwell_us if move_us is None else dwell_us + move_us) * config.slew_fields_per_us
                told = self._slewed(told, jumps, reach)
                jumps = self._jumps(told)
        self._told = told[:, -1].copy()
        achieved = told
        if len(self._rate):
            dwell = dwell_us[:1] if even else dwell_us
            turns = np.multiply.outer(self._rate, dwell)
            weight = self._weight[:, None] * -np.expm1(-turns) / turns
            seen, self._lag = linger(self._lag, jumps, weight[:, 0] if even else weight, self._rate, dwell, move_us)
            achieved = np.subtract(told, seen, dtype=np.float32)  # the modes' weights sum to 1
        if config.hysteresis_fields > 0:
            played = play(self._play, achieved.T, config.hysteresis_fields)
            self._play = played[-1].copy()
            achieved = np.ascontiguousarray(played.T)
        if config.landing_error_fields > 0:
            achieved += self._landed(move_us, len(dwell_us), generator)
        if config.hum_fields > 0:
            ends = end_us
            if ends is None:
                ends = np.cumsum(dwell_us if move_us is None else dwell_us + move_us)
            turns_per_us = config.hum_hz * 1e-6
            phase = (ends * (2 * np.pi * turns_per_us)).astype(np.float32)  # to the end of each dwell, in this block
            phase += np.float32(2 * np.pi * math.fmod((start_us - dwell_us[0] / 2) * turns_per_us, 1.0))
            hum = np.sin(phase)
            hum *= np.float32(0.6 * config.hum_fields)
            achieved[0] += hum
            phase += np.float32(0.7)
            np.sin(phase, out=hum)
            hum *= np.float32(config.hum_fields)
            achieved[1] += hum
        return achieved.T

    def _jumps(self, told: NDArray[np.float32]) -> NDArray[np.float32]:
        jumps = np.empty_like(told)
        np.subtract(told[:, 1:], told[:, :-1], out=jumps[:, 1:])
        np.subtract(told[:, 0], self._told, out=jumps[:, 0])
        return jumps

    def _slewed(
        self, told: NDArray[np.float32], jumps: NDArray[np.float32], reach: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """The command after an amplifier that moves at most ``reach`` (n,) in each step, either axis by itself."""
        for axis in (0, 1):
            column, start = told[axis], float(self._told[axis])
            wanted = column.astype(np.float64)
            too_far = np.flatnonzero(np.abs(jumps[axis]) > reach)
            position = 0
            while position < too_far.size:  # only where it falls behind, until it has caught up
                k = int(too_far[position])
                at = float(column[k - 1]) if k else start
                while k < len(column):
                    target, most = float(wanted[k]), float(reach[k])
                    caught_up = abs(target - at) <= most
                    at = target if caught_up else at + math.copysign(most, target - at)
                    column[k] = at
                    k += 1
                    if caught_up:
                        break
                position = int(np.searchsorted(too_far, k))
        return told

    def _landed(self, move_us: Array | None, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """The landing error of each sample, (2, count) or (2, 1): drawn at each jump and kept until the next."""
        moved = np.zeros(0, np.intp) if move_us is None else np.flatnonzero(move_us > 0)
        if not len(moved):
            return self._landing[:, None]
        errors = generator.standard_normal((2, len(moved)), np.float32)
        errors *= np.float32(self.config.landing_error_fields)
        before, self._landing = self._landing, errors[:, -1].copy()
        if len(moved) == count:
            return errors
        lasts = np.diff(moved, append=count)
        out = np.empty((2, count), np.float32)
        for axis in (0, 1):
            out[axis, : moved[0]] = before[axis]
            out[axis, moved[0] :] = np.repeat(errors[axis], lasts)
        return out


def _modes(config: CoilConfig) -> list[tuple[float | complex, float | complex]]:
    """Weights and rates (1/µs) of first-order lags that sum to the coils' response; none for ideal coils."""
    tau = config.time_constant_us
    fast = 1.0 - config.slow_share
    modes: list[tuple[float | complex, float | complex]] = []
    if tau > 0 and config.order == 1:
        modes.append((fast, 1 / tau))
    elif tau > 0:  # without a time constant the fast share does not lag
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
