"""What a path asks of the coils: how fast the beam is drawn, how sharply it turns, and how far it lags behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths.coils import Lag
from scancontrol.paths.path import ScanPath
from scancontrol.paths.pattern import CONTINUOUS, Pattern
from scancontrol.paths.patterns.spirals import Archimedean
from scancontrol.paths.recipe import PathRecipe
from scancontrol.units import rounded_up

__all__ = ["Motion", "check_slew", "motion"]


@dataclass(frozen=True)
class Motion:
    """The demands of the stretches that are drawn exposed; blanked moves wait for the coils by themselves."""

    fastest_px_per_us: float
    fastest_fields_per_us: float  # fractions of the width of the field
    sharpest_turn_khz: float  # turns of the direction of travel, per millisecond; corners count as what they turn
    smooth_turn_khz: float  # the same without corners above an eighth of a turn, which no coil draws
    lag_rms_px: float
    lag_worst_px: float


def motion(path: ScanPath, coil: CoilModel) -> Motion:
    """Measure ``path`` in one pass, in bounded memory."""
    lag = Lag(coil)
    size = np.array(path.shape, dtype=np.float64)
    fastest = sharpest = smooth = square = worst = 0.0
    tail = np.empty((0, 2))  # the last two positions of the chunk before
    drawn_tail = np.empty(0, dtype=np.bool_)
    dwell_tail = np.empty(0)
    for chunk in path.chunks():
        positions = np.concatenate([tail, chunk.positions * size])
        drawn = np.concatenate([drawn_tail, chunk.kind == CONTINUOUS])
        dwell = np.concatenate([dwell_tail, chunk.dwell_us])
        step = np.diff(positions, axis=0)
        length = np.hypot(step[:, 0], step[:, 1])
        # The command of a sample stands for its dwell: the step to the next one is asked of the coils in that time.
        speed = (length / dwell[:-1])[drawn[1:]]
        fastest = max(fastest, float(speed.max(initial=0.0)))
        both = drawn[1:-1] & drawn[2:] & (length[:-1] > 0) & (length[1:] > 0)
        before, after = step[:-1][both], step[1:][both]
        turned = np.abs(
            np.arctan2(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0], np.einsum("ij,ij->i", before, after))
        ) / (2 * math.pi)
        rate_khz = turned / dwell[1:-1][both] * 1e3
        sharpest = max(sharpest, float(rate_khz.max(initial=0.0)))
        smooth = max(smooth, float(rate_khz[turned <= 0.126].max(initial=0.0)))
        away = np.hypot(*((lag.follow(chunk.positions, chunk.dwell_us, chunk.move_us) - chunk.positions) * size).T)
        square += float((away * away).sum())
        worst = max(worst, float(away.max(initial=0.0)))
        tail, drawn_tail, dwell_tail = positions[-2:], drawn[-2:], dwell[-2:]
    return Motion(
        fastest_px_per_us=fastest,
        fastest_fields_per_us=fastest / path.shape[1],
        sharpest_turn_khz=sharpest,
        smooth_turn_khz=smooth,
        lag_rms_px=math.sqrt(square / path.count),
        lag_worst_px=worst,
    )


def check_slew(asked: Motion, recipe: PathRecipe, limit_fields_per_us: float) -> None:
    """Hold what a path asks of the coils against the fastest that their drivers can.

    Raises:
        InvalidInput: it is drawn faster; says what would fit.
    """
    fastest, limit = asked.fastest_fields_per_us, limit_fields_per_us
    if fastest <= limit:
        return
    dwell_us = recipe.dwell_us
    fits = dwell_us * fastest / limit
    raise InvalidInput(
        "speed",
        f"{fastest:.4g} fields of view per µs",
        f"is above the coils' slew limit, {limit:.4g}",
        f"raise dwell_us from {dwell_us:g} to {rounded_up(fits)}"
        + _velocity_limited(recipe.pattern, limit * recipe.shape[1] * dwell_us),
    )


def _velocity_limited(pattern: Pattern, step_px: float) -> str:
    """The other remedy, where the pattern has one: samples closer together, at a speed that is never passed."""
    if isinstance(pattern, Archimedean) and pattern.speed == "angular":
        return f", or travel the spiral with speed: linear and step_px: {min(1.0, step_px):.3g}"
    if hasattr(pattern, "step_px"):
        return f", or lower step_px to {step_px:.3g}"
    return ""
