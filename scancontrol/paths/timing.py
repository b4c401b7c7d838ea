"""How long the beam dwells and how long it is blanked between samples.

Settling after a jump of ``A`` pixels to within ``ε`` pixels takes ``τ·ln(A/ε)`` under a first-order lag. A
second-order lag takes longer; its time here is the one of its decaying envelope, so never too short.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import finite
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK

__all__ = ["Settle", "quantised_dwell_us"]


class Settle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blanked time before a sample that the beam jumps to.

    Raises:
        InvalidInput: a time or the tolerance cannot be.
    """

    time_constant_us: float
    tolerance_px: float = 0.25
    flyback_us: float = 0.0  # the least time of a line or frame flyback, as some scan hardware has
    order: Literal[1, 2] = 1
    damping: float = 1.0
    slew_px_per_us: float | None = None  # the fastest that the coils' drivers move the beam; no limit where None

    def __post_init__(self) -> None:
        for name in ("time_constant_us", "flyback_us"):
            value = getattr(self, name)
            finite(f"settle.{name}", value)
            if value < 0:
                raise InvalidInput(f"settle.{name}", value, "is below 0", "give 0 or more")
        for name in ("tolerance_px", "damping", "slew_px_per_us"):
            value = getattr(self, name)
            if value is None:
                continue
            finite(f"settle.{name}", value)
            if value <= 0:
                raise InvalidInput(f"settle.{name}", value, "is not above 0", "give a value above 0, such as 0.25")

    def time_us(self, distance_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Time (n,) in µs until the beam is within the tolerance after a jump of ``distance_px`` (n,).

        Where the drivers limit the slew, the time that they need is added: no less than what it takes.
        """
        ratio = np.maximum(np.asarray(distance_px, dtype=np.float64) / self.tolerance_px, 1.0)
        tau, zeta = self.time_constant_us, self.damping
        if self.order == 1:
            time: NDArray[np.float64] = tau * np.log(ratio)
        elif zeta < 1:  # |error| <= A exp(-ζt/τ) / sqrt(1 - ζ²)
            time = np.where(ratio > 1, tau / zeta * np.log(ratio / math.sqrt(1 - zeta * zeta)), 0.0)
        elif zeta == 1:  # error = A (1 + s) exp(-s), s = t/τ; Newton on s - ln(1 + s) = ln(ratio)
            target = np.log(ratio)
            s = target + np.sqrt(2 * target)
            for _ in range(8):
                s = np.where(s > 0, s - (s - np.log1p(s) - target) * (1 + s) / np.maximum(s, 1e-12), 0.0)
            time = tau * s
        else:  # the slow pole alone bounds the error from above once its weight is counted
            root = math.sqrt(zeta * zeta - 1)
            slow = tau * (zeta + root)
            time = np.where(ratio > 1, slow * np.log(ratio * (zeta + root) / (2 * root)), 0.0)
        if self.slew_px_per_us is not None:
            time = time + np.asarray(distance_px, dtype=np.float64) / self.slew_px_per_us
        return time

    def moves_us(self, distance_px: NDArray[np.float64], move: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Blanked time (n,) before each sample, 0 where ``move`` (n,) says that the beam is drawn there."""
        moves = np.zeros(len(move))
        blanked = move != CONTINUOUS
        moves[blanked] = self.time_us(distance_px[blanked])
        if self.flyback_us:
            back = move == FLYBACK
            moves[back] = np.maximum(moves[back], self.flyback_us)
        return moves


def quantised_dwell_us(dwell_us: NDArray[np.float64], clock_mhz: float | None) -> NDArray[np.float64]:
    """Dwell (n,) as whole cycles of the sample clock, one at least; unchanged without a clock."""
    if clock_mhz is None:
        return dwell_us
    return np.maximum(np.rint(dwell_us * clock_mhz), 1.0) / clock_mhz
