"""The beam before the specimen: its current, how that wavers, and the blanker.

Emission decays exponentially; on top the current flickers with a first-order (Lorentzian) spectrum, as cold field
emitters do. The blanker opens and closes in a finite time, during which the beam is neither on nor off.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, within
from scancontrol.units import ELECTRONS_PER_PA_US
from simulators.numerics.recurrence import solve

__all__ = ["Beam", "BeamConfig"]

_KNOT = 64  # samples from one drawn value of the flicker to the next


class BeamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Probe current and its faults. Zero (or infinity for times of decay) switches an effect off.

    Raises:
        InvalidInput: a beam that cannot be.
    """

    current_pa: float = 40.0
    flicker_pct: float = 0.0  # rms
    flicker_time_us: float = 20000.0
    decay_time_s: float = math.inf
    blanker_ns: float = 0.0  # to open, and to close

    def __post_init__(self) -> None:
        for quantity, low, high in (
            ("current_pa", 0.0, 1e6),
            ("flicker_pct", 0.0, 50.0),
            ("flicker_time_us", 1.0, 1e9),
            ("blanker_ns", 0.0, 1e6),
        ):
            within(f"beam.{quantity}", getattr(self, quantity), low, high, "mend the configuration")
        if not self.decay_time_s > 0:
            raise InvalidInput("beam.decay_time_s", self.decay_time_s, "is not above 0", "mend the configuration")


class Beam:
    """Electrons that leave the gun for each sample."""

    def __init__(self, config: BeamConfig) -> None:
        self.config = config
        self._flicker = 0.0

    def electrons(
        self,
        dwell_us: NDArray[np.float64],
        move_us: NDArray[np.float64] | None,
        start_us: float,
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Expected electrons during each dwell (n,), and those that leak while the blanker closes before each move.

        The leak (None without blanked moves) hits where the sample before was, and no detector counts it.
        """
        config = self.config
        per_us = config.current_pa * ELECTRONS_PER_PA_US
        incident = (dwell_us * per_us).astype(np.float32)
        if math.isfinite(config.decay_time_s):
            incident *= np.float32(math.exp(-start_us * 1e-6 / config.decay_time_s))
        if config.flicker_pct > 0:
            incident *= self._flickering(len(dwell_us), float(dwell_us.mean()), generator)
        if config.blanker_ns == 0 or move_us is None:
            return incident, None
        half_us = 0.5 * config.blanker_ns * 1e-3
        # opening and closing are ramps: half of each is lost, respectively leaks
        leak = np.minimum(move_us, 2 * half_us).astype(np.float32)
        if not leak.any():
            return incident, None
        leak *= np.float32(0.5 * per_us)
        lost = np.maximum(1 - half_us / dwell_us, 0.0).astype(np.float32)
        np.multiply(incident, lost, out=incident, where=leak > 0)
        return incident, leak

    def _flickering(self, n: int, dwell_us: float, generator: np.random.Generator) -> NDArray[np.float32]:
        """The current relative to its mean (n,): drawn every few samples, straight lines between."""
        config = self.config
        pieces = -(-n // _KNOT)
        keep = math.exp(-dwell_us * _KNOT / config.flicker_time_us)
        knots = np.empty((pieces + 1, 1))
        knots[0] = self._flicker
        generator.standard_normal(out=knots[1:])
        knots[1:] *= math.sqrt(1 - keep**2) * config.flicker_pct / 100
        walked = np.asarray(solve(np.array([keep]), knots)[:, 0], np.float64)
        self._flicker = float(walked[-1])
        at = np.maximum(walked + 1, 0).astype(np.float32)
        along = np.arange(_KNOT, dtype=np.float32) * np.float32(1 / _KNOT)
        relative = np.diff(at)[:, None] * along
        relative += at[:-1, None]
        return relative.reshape(-1)[:n]
