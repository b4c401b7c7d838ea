"""Electrons and dose: what a scan costs the specimen, and what limits it.

Dose in e/Å² is electrons over area. The field's mean says what a frame costs; the worst area is what limits are held
against, the mean over the most exposed cell of the field cut into 64 across, as the microscope's own guard cuts it; the
worst pixel is what a sensitive specimen notices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import pixel_index
from scancontrol.paths.path import ScanPath
from scancontrol.units import A2_PER_NM2, ELECTRONS_PER_PA_US

__all__ = ["AREA_CELLS", "FrameDose", "area_map_e_per_a2", "dwell_map_us", "electrons", "frame_dose"]

AREA_CELLS = 64
"""Cells across the field's width over which a dose is averaged before it is held against a limit."""

MAX_MAP_PIXELS = 1 << 26
"""Frames with more pixels have no map of the dwell in each; half a gigabyte is enough."""


@dataclass(frozen=True)
class FrameDose:
    """The dose of one frame, in electrons and in e/Å²."""

    electrons: float
    mean_e_per_a2: float  # over the field of view
    region_e_per_a2: float  # over the scanned region
    worst_area_e_per_a2: float  # over the most exposed cell, see AREA_CELLS
    worst_pixel_e_per_a2: float | None  # over the most exposed pixel; None for frames too large to tell


def electrons(beam_current_pa: float, time_us: float) -> float:
    """Electrons in a beam of ``beam_current_pa`` during ``time_us``."""
    return beam_current_pa * time_us * ELECTRONS_PER_PA_US


def dwell_map_us(path: ScanPath) -> NDArray[np.float64]:
    """Dwell in each pixel (rows, cols) in µs.

    Raises:
        InvalidInput: the frame has more pixels than ``MAX_MAP_PIXELS``.
    """
    if path.shape[0] * path.shape[1] > MAX_MAP_PIXELS:
        raise InvalidInput(
            "shape", f"{path.shape[0]} x {path.shape[1]}", f"is above {MAX_MAP_PIXELS} pixels", "map a smaller frame"
        )
    total = np.zeros(path.shape[0] * path.shape[1])
    for chunk in path.chunks():
        # Only the stretch of pixels that a chunk reaches is added to, so that rasters of large frames stay quick.
        index = pixel_index(chunk.positions, path.shape)
        low = int(index.min())
        part = np.bincount(index - low, weights=chunk.dwell_us)
        total[low : low + len(part)] += part
    return total.reshape(path.shape)


def area_map_e_per_a2(path: ScanPath, beam_current_pa: float) -> NDArray[np.float64]:
    """Mean dose of one frame in e/Å² over square cells (n, 64), 64 across the field's width."""
    rows, cols = path.shape
    height = AREA_CELLS * rows / cols
    cell_rows = max(1, math.ceil(height))
    total = np.zeros(cell_rows * AREA_CELLS)
    for chunk in path.chunks():
        y = np.minimum((chunk.positions[:, 0] * height).astype(np.int64), cell_rows - 1)
        x = (chunk.positions[:, 1] * AREA_CELLS).astype(np.int64)
        total += np.bincount(y * AREA_CELLS + x, weights=chunk.dwell_us, minlength=len(total))
    cell_a2 = (path.fov_nm / AREA_CELLS) ** 2 * A2_PER_NM2
    return (total * (beam_current_pa * ELECTRONS_PER_PA_US / cell_a2)).reshape(cell_rows, AREA_CELLS)


def frame_dose(path: ScanPath, beam_current_pa: float) -> FrameDose:
    """The dose of one frame along ``path``."""
    spent = path.electrons(beam_current_pa)
    rows, cols = path.shape
    pixel_a2 = (path.fov_nm / cols) ** 2 * A2_PER_NM2
    field_a2 = pixel_a2 * rows * cols
    region = path.recipe.region
    worst_pixel = None
    if rows * cols <= MAX_MAP_PIXELS:
        worst_pixel = electrons(beam_current_pa, float(dwell_map_us(path).max())) / pixel_a2
    return FrameDose(
        electrons=spent,
        mean_e_per_a2=spent / field_a2,
        region_e_per_a2=spent / (field_a2 * region.height * region.width),
        worst_area_e_per_a2=float(area_map_e_per_a2(path, beam_current_pa).max()),
        worst_pixel_e_per_a2=worst_pixel,
    )
