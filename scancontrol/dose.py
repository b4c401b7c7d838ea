"""Electrons and dose: what a scan costs the specimen, and what limits it.

Dose in e/Å² is electrons over area. The mean over the field is what a dose limit per area usually means; the worst
local dose, on the pixel that the beam dwelt on longest, is what a sensitive specimen notices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import pixel_index
from scancontrol.paths.path import ELECTRONS_PER_PA_US, ScanPath

__all__ = ["A2_PER_NM2", "ELECTRONS_PER_PA_US", "FrameDose", "check_limit", "dwell_map_us", "electrons", "frame_dose"]

A2_PER_NM2 = 100.0


@dataclass(frozen=True)
class FrameDose:
    """The dose of one frame."""

    electrons: float
    mean_e_per_a2: float  # over the field of view
    region_e_per_a2: float  # over the scanned region
    worst_pixel_e_per_a2: float  # over the pixel that the beam dwelt on longest


def electrons(beam_current_pa: float, time_us: float) -> float:
    """Electrons in a beam of ``beam_current_pa`` during ``time_us``."""
    return beam_current_pa * time_us * ELECTRONS_PER_PA_US


def dwell_map_us(path: ScanPath) -> NDArray[np.float64]:
    """Dwell in each pixel (rows, cols) in µs."""
    total = np.zeros(path.shape[0] * path.shape[1])
    for chunk in path.chunks():
        # Only the stretch of rows that a chunk reaches is added to, so a long scan of a large frame stays quick.
        index = pixel_index(chunk.positions, path.shape)
        low = int(index.min())
        part = np.bincount(index - low, weights=chunk.dwell_us)
        total[low : low + len(part)] += part
    return total.reshape(path.shape)


def frame_dose(path: ScanPath, beam_current_pa: float) -> FrameDose:
    """The dose of one frame along ``path``."""
    spent = path.electrons(beam_current_pa)
    rows, cols = path.shape
    pixel_a2 = (path.fov_nm / cols) ** 2 * A2_PER_NM2
    region = path.recipe.region
    field_a2 = pixel_a2 * rows * cols
    worst_us = float(dwell_map_us(path).max())
    return FrameDose(
        electrons=spent,
        mean_e_per_a2=spent / field_a2,
        region_e_per_a2=spent / (field_a2 * region.height * region.width),
        worst_pixel_e_per_a2=electrons(beam_current_pa, worst_us) / pixel_a2,
    )


def check_limit(quantity: str, dose_e_per_a2: float, limit_e_per_a2: float, *, dwell_us: float, coverage: float,
                frames: int) -> None:
    """Raise :class:`InvalidInput` if a dose passes its limit, saying by how much and what would fit."""
    if dose_e_per_a2 <= limit_e_per_a2:
        return
    factor = limit_e_per_a2 / dose_e_per_a2
    fitting = int(frames * factor * (1 + 1e-12))
    few = f", or take {fitting} frames instead of {frames}" if frames > 1 and fitting >= 1 else ""
    raise InvalidInput(
        quantity, f"{dose_e_per_a2:.4g} e/Å²",
        f"passes the limit of {limit_e_per_a2:.4g} e/Å² by {dose_e_per_a2 - limit_e_per_a2:.4g} e/Å² "
        f"({dose_e_per_a2 / limit_e_per_a2:.4g} times)",
        f"lower dwell_us from {dwell_us:.4g} to {dwell_us * factor:.4g}, or the dose coverage from "
        f"1/{1 / coverage:.4g} to 1/{1 / (coverage * factor):.4g}{few}",
    )
