"""Spirals from the region's centre outwards: Archimedean (two ways of travelling it) and Fermat.

Both reach the region's corners; the parts of a turn outside the region are left out and the beam is moved
across them blanked. ``extent: inscribed`` ends at the largest circle inside, without any jump.
Sang et al., Adv. Struct. Chem. Imaging 2, 6 (2016) compare the three on a microscope.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas, finite
from scancontrol.paths.pattern import Layout, Pattern
from scancontrol.paths.patterns.clipping import clipped

__all__ = ["Archimedean", "Fermat"]

_GOLDEN_DEG = 180 * (3 - math.sqrt(5))
_EIGHTH, _FIRST_MIRRORED = 8, 1

CENTRE_RATE = 1 / 8
"""Turns per sample near the centre where no microscope states less: eight samples draw the first turn."""


class _Spiral(Pattern, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the spirals share.

    ``step_px`` is the way between samples where the beam is fastest, ``turn_deg`` the angle at which they begin, from x
    towards y. Spirals that are turned against each other see what the others leave out: ``golden`` turns each frame's
    by the golden angle.

    ``mirrored`` is one that turns the other way, from y towards x; ``eighth`` mirrors every eighth frame, the second
    first. Spirals of one sense move what readings that come late saw all in the same way; one of the other sense moves
    it against them, and tells how late they are.
    """

    step_px: float = 1.0
    extent: Literal["corners", "inscribed"] = "corners"
    turn_deg: float | Literal["golden"] | msgspec.UnsetType = msgspec.UNSET  # where not given, in no recipe and no id
    mirrored: bool | Literal["eighth"] | msgspec.UnsetType = msgspec.UNSET

    @property
    def first_turn(self) -> float:
        """The angle of its first sample, in whole turns from 0 to 1."""
        return self.turn_deg / 360 % 1 if isinstance(self.turn_deg, float) else 0.0

    @property
    def backwards(self) -> bool:
        """Whether it turns from y towards x."""
        return self.mirrored is True

    @property
    def changes_per_frame(self) -> bool:
        return self.turn_deg == "golden" or self.mirrored == "eighth"

    def for_frame(self, frame: int) -> Self:
        """Turned by the golden angle for each frame, if it is to be; no other angle fills the gaps as evenly."""
        found = self
        if self.turn_deg == "golden":
            found = msgspec.structs.replace(found, turn_deg=round(frame * _GOLDEN_DEG % 360, 6))
        if self.mirrored == "eighth":
            other = frame % _EIGHTH == _FIRST_MIRRORED
            found = msgspec.structs.replace(found, mirrored=True if other else msgspec.UNSET)
        return found

    def __post_init__(self) -> None:
        finite("step_px", self.step_px)
        if isinstance(self.turn_deg, float):
            finite("turn_deg", self.turn_deg)
        if not 0.05 <= self.step_px <= 1000:
            raise InvalidInput("step_px", self.step_px, "is outside 0.05 to 1000", "1 draws a line without gaps")

    def radius_px(self, canvas: Canvas) -> float:
        """Where the spiral ends."""
        if self.extent == "inscribed":
            return min(canvas.height_px, canvas.width_px) / 2
        return math.hypot(canvas.height_px, canvas.width_px) / 2


class Archimedean(_Spiral, frozen=True, kw_only=True, tag="archimedean"):
    """``r = turn_spacing·θ/2π``, at constant linear speed or at constant angular rate.

    ``linear`` keeps the speed at ``step_px`` per sample, never 1 % above it, and turns no faster than
    ``max_turns_per_sample`` near the centre (a plan sets it from the coils' bandwidth). ``angular`` takes equally
    many samples on every turn, so the dose rises as 1/r towards the centre.
    """

    speed: Literal["linear", "angular"] = "linear"
    turn_spacing_px: float | None = None
    max_turns_per_sample: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("turn_spacing_px", 1e-3), ("max_turns_per_sample", 1e-9)):
            value = getattr(self, name)
            if value is not None:
                finite(name, value)
                if value < least:
                    raise InvalidInput(name, value, f"is below {least:g}", "give a larger value, or leave it out")
        if self.turn_spacing_px is None and self.coverage is None:
            raise InvalidInput("turn_spacing_px", None, "is missing", "give it, or the coverage to solve it for")

    @property
    def solved(self) -> bool:
        return self.turn_spacing_px is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        return msgspec.structs.replace(self, turn_spacing_px=1 / density)

    def geometric_coverage(self, canvas: Canvas) -> float:
        return min(1.0, 1 / (self.turn_spacing_px or 1.0))

    def lay(self, canvas: Canvas) -> Layout:
        spacing = self.turn_spacing_px or 1.0
        end = self.radius_px(canvas) / spacing  # turns
        if self.speed == "angular":
            rate = self.step_px / (2 * math.pi * self.radius_px(canvas))  # turns per sample
            count = math.ceil(end / rate)
            return clipped(
                max(1, count),
                lambda turns: spacing * turns,
                lambda index: index * rate,
                canvas,
                self.first_turn,
                self.backwards,
            )
        cap = min(self.max_turns_per_sample or CENTRE_RATE, CENTRE_RATE)
        law = _LinearSpeed(2 * math.pi * self.step_px / spacing, 2 * math.pi * cap)
        count = math.ceil(law.index(2 * math.pi * end))
        return clipped(max(1, count), lambda turns: spacing * turns, law.turns, canvas, self.first_turn, self.backwards)


class _LinearSpeed:
    """θ as a function of the sample's index: at constant linear speed, but turning no faster than ``cap`` (rad/sample).

    With x the arc length in units of the radius that a radian adds, ``θ² = 2x²/(2 + x)`` keeps the speed between
    0.87 and 1.01 of its value for large θ, and needs no sine, logarithm or iteration. ``step`` is x per sample.
    """

    def __init__(self, step: float, cap: float) -> None:
        self._step, self._cap = step, cap
        self._slow_end = 0.0  # θ up to which the cap holds
        if step > cap:
            low, high = 0.0, 2 * (step / cap) ** 2 + 4
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (middle, high) if self._rate(middle) > cap else (low, middle)
            self._slow_end = self._theta(high)
        self._slow_samples = self._slow_end / cap
        self._x0 = self._length(self._slow_end)

    def _theta(self, x: float) -> float:
        return math.sqrt(2 * x * x / (2 + x))

    def _rate(self, x: float) -> float:
        """dθ per sample at x."""
        return self._step * (4 + x) * math.sqrt(2 / (2 + x)) / (2 * (2 + x))

    def _length(self, theta: float) -> float:
        square = theta * theta
        return (square + math.sqrt(square * square + 16 * square)) / 4

    def index(self, theta: float) -> float:
        """The (fractional) index of the sample at ``theta`` radians."""
        if theta <= self._slow_end:
            return theta / self._cap
        return self._slow_samples + (self._length(theta) - self._x0) / self._step

    def turns(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole turns at each index (n,)."""
        x = (index - self._slow_samples) * self._step
        x += self._x0
        np.maximum(x, 0.0, out=x)
        turns = np.sqrt(2 / (2 + x))
        turns *= x
        turns *= 1 / (2 * math.pi)
        if len(index) and index[0] < self._slow_samples:
            turns = np.where(index < self._slow_samples, index * (self._cap / (2 * math.pi)), turns)
        return turns


class Fermat(_Spiral, frozen=True, kw_only=True, tag="fermat"):
    """``r = R·sqrt(θ/θ_end)`` at constant angular rate: samples of equal area everywhere, turns closer outwards."""

    turns: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns is not None:
            finite("turns", self.turns)
            if not 0 < self.turns <= 1e6:
                raise InvalidInput("turns", self.turns, "is outside 0 to 1e6", "give the number of turns")
        elif self.coverage is None:
            raise InvalidInput("turns", None, "is missing", "give it, or the coverage to solve it for")

    @property
    def solved(self) -> bool:
        return self.turns is not None

    def at_density(self, density: float, canvas: Canvas) -> Self:
        radius = self.radius_px(canvas)
        return msgspec.structs.replace(self, turns=density * radius / 2)

    def lay(self, canvas: Canvas) -> Layout:
        radius, end = self.radius_px(canvas), self.turns or 1.0
        rate = self.step_px / (2 * math.pi * radius)  # turns per sample
        scale = radius / math.sqrt(end)
        return clipped(
            max(1, math.ceil(end / rate)),
            lambda turns: scale * np.sqrt(turns),
            lambda index: index * rate,
            canvas,
            self.first_turn,
            self.backwards,
        )
