"""The figures of a full raster, to hold a plan's paths beside, from its rows and columns alone.

Every line of a raster is like the one before it. So nothing but one row of column positions and one column of row
positions is computed, where the pixels of a large frame would take longer than the plan's own paths.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel
from scancontrol.dose.electrons import AREA_CELLS, MAX_MAP_PIXELS, FrameDose, electrons
from scancontrol.paths import expand
from scancontrol.paths.coils import lagged
from scancontrol.paths.geometry import on_dac
from scancontrol.paths.motion import Motion
from scancontrol.paths.path import Coverage
from scancontrol.paths.pattern import FLYBACK
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import quantised_dwell_us
from scancontrol.plan.figures import PathFigures
from scancontrol.units import A2_PER_NM2

__all__ = ["full_raster"]

_TITLE = "full raster"
_FORGOTTEN = 60.0
"""Time constants after which no coil, however little damped, knows of the line before."""

Array = NDArray[np.float64]


def full_raster(recipe: PathRecipe, beam_current_pa: float, coil: CoilModel) -> PathFigures:
    """What a raster of one sample a pixel costs in the frame and region of ``recipe``; its pattern does not count.

    The same as :meth:`PathFigures.of` of that raster, which a turned one is given to: its pixels are not
    rows and columns of the frame's.
    """
    recipe = msgspec.structs.replace(recipe, pattern=Raster())
    if recipe.rotation_deg % 360:
        return PathFigures.of(expand(recipe), beam_current_pa, coil, _TITLE)
    y, x = _lines(recipe)
    rows, cols = recipe.shape
    dwell_us = float(quantised_dwell_us(np.array([recipe.dwell_us]), recipe.clock_mhz)[0])
    pixels, samples = recipe.placement.canvas.pixels, len(y) * len(x)
    back_us = _flybacks_us(recipe, y, x)
    spent = electrons(beam_current_pa, samples * dwell_us)
    pixel_a2 = (recipe.fov_nm / cols) ** 2 * A2_PER_NM2
    cell_a2 = (recipe.fov_nm / AREA_CELLS) ** 2 * A2_PER_NM2
    worst_pixel = _most_in_one(y, rows) * _most_in_one(x, cols)
    worst_area = _most_in_one(y, AREA_CELLS * rows / cols) * _most_in_one(x, AREA_CELLS)
    return PathFigures(
        title=_TITLE,
        recipe=recipe,
        samples=samples,
        coverage=Coverage(
            nominal=Raster().geometric_coverage(recipe.placement.canvas),
            touched=min(1.0, len(np.unique((y * rows).astype(int))) * len(np.unique((x * cols).astype(int))) / pixels),
            dose=samples / pixels,
        ),
        dwell_per_pixel_us=dwell_us,
        exposure_us=samples * dwell_us,
        settle_us=0.0,
        flyback_us=float(back_us.sum()),
        moves=len(y),
        dose=FrameDose(
            electrons=spent,
            mean_e_per_a2=spent / (pixel_a2 * rows * cols),
            region_e_per_a2=spent / (pixel_a2 * pixels),
            worst_area_e_per_a2=electrons(beam_current_pa, dwell_us * worst_area) / cell_a2,
            worst_pixel_e_per_a2=electrons(beam_current_pa, dwell_us * worst_pixel) / pixel_a2
            if rows * cols <= MAX_MAP_PIXELS
            else None,
        ),
        motion=_motion(recipe, y, x, dwell_us, back_us, coil),
    )


def _lines(recipe: PathRecipe) -> tuple[Array, Array]:
    """Where the lines lie (L,) and where their samples (n,), in fractions of the field."""
    counts = Raster().grid(recipe.placement.canvas)
    middles = []
    for axis, count in enumerate(counts):
        fractions = np.full((count, 2), 0.5)
        fractions[:, axis] = (np.arange(count) + 0.5) / count
        middles.append(on_dac(recipe.placement.to_field(fractions), recipe.dac_bits)[:, axis])
    return middles[0], middles[1]


def _flybacks_us(recipe: PathRecipe, y: Array, x: Array) -> Array:
    """Blanked time before each line (L,); before the first, from the end of the frame before."""
    if recipe.settle is None:
        return np.zeros(len(y))
    distance = np.hypot((y - np.roll(y, 1)) * recipe.shape[0], (x[0] - x[-1]) * recipe.shape[1])
    return recipe.settle.moves_us(distance, np.full(len(y), FLYBACK, dtype=np.uint8))


def _most_in_one(positions: Array, cells: float) -> int:
    """Samples in the fullest of equal cells across the field, in one direction."""
    last = max(1, math.ceil(cells)) - 1
    return int(np.bincount(np.minimum((positions * cells).astype(np.int64), last)).max())


def _motion(recipe: PathRecipe, y: Array, x: Array, dwell_us: float, back_us: Array, coil: CoilModel) -> Motion:
    """Measured on the first lines, until the coils have forgotten the first."""
    rows, cols = recipe.shape
    lines = min(len(y), 3 + math.ceil(_FORGOTTEN * coil.time_constant_us / (len(x) * dwell_us)))
    positions = np.stack([np.repeat(y[:lines], len(x)), np.tile(x, lines)], axis=1)
    moves_us = np.zeros((lines, len(x)))
    moves_us[:, 0] = back_us[:lines]
    achieved = lagged(positions, np.full(len(positions), dwell_us), moves_us.ravel(), coil)
    away = np.hypot(*((achieved - positions) * (rows, cols)).T).reshape(lines, len(x))
    square = (away * away).sum(axis=1)
    fastest = float(np.diff(x).max(initial=0.0)) * cols / dwell_us
    return Motion(
        fastest_px_per_us=fastest,
        fastest_fields_per_us=fastest / cols,
        sharpest_turn_khz=0.0,
        smooth_turn_khz=0.0,
        lag_rms_px=math.sqrt((square.sum() + (len(y) - lines) * square[-1]) / (len(y) * len(x))),
        lag_worst_px=float(away.max()),
    )
