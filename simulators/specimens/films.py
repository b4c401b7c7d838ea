"""Amorphous matter: films with the shot noise of their own atoms, and edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["CARBON_PER_NM3", "amorphous", "smooth_noise", "soft_edge"]

CARBON_PER_NM3 = 100.0
"""Atoms per nm³ in evaporated carbon of 2.0 g/cm³."""


def smooth_noise(
    grid: tuple[int, int], pitch_nm: tuple[float, float], scale_nm: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Periodic Gaussian random field of unit variance and correlation length ``scale_nm``, of shape ``grid``."""
    ky, kx = fft.fftfreq(grid[0], pitch_nm[0]), fft.rfftfreq(grid[1], pitch_nm[1])
    spectrum = fft.rfft2(generator.standard_normal(grid, dtype=np.float32))
    spectrum *= np.exp(-2 * (np.pi * scale_nm) ** 2 * (ky[:, None] ** 2 + kx[None, :] ** 2)).astype(np.float32)
    noise = fft.irfft2(spectrum, s=grid)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-12), np.float32)


def amorphous(
    density_per_nm2: NDArray[np.float32],
    pitch_nm: tuple[float, float],
    neighbour_nm: float,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """An areal density (atoms/nm²) with the fluctuation of randomly placed atoms.

    Atoms that keep a distance of ``neighbour_nm`` fluctuate less than Poisson's law at long wavelengths: the power
    falls towards S(0) = 0.15 below ``k = 1/(2·neighbour)``. The fluctuation is Gaussian: mean and spectrum are right
    for what a probe sees, a sum over many cells; a single cell with fewer than an atom or two may lie below zero.
    """
    grid = (density_per_nm2.shape[0], density_per_nm2.shape[1])
    cell = pitch_nm[0] * pitch_nm[1]
    noise = generator.standard_normal(grid, dtype=np.float32) * np.sqrt(
        np.maximum(density_per_nm2, 0) / np.float32(cell)
    )
    ky, kx = fft.fftfreq(grid[0], pitch_nm[0]), fft.rfftfreq(grid[1], pitch_nm[1])
    structure = 1 - 0.85 * np.exp(-((2 * neighbour_nm) ** 2) * (ky[:, None] ** 2 + kx[None, :] ** 2))
    coloured = fft.irfft2(fft.rfft2(noise) * np.sqrt(structure).astype(np.float32), s=grid)
    return np.asarray(density_per_nm2 + coloured, np.float32)


def soft_edge(distance_nm: NDArray[np.float32], width_nm: float) -> NDArray[np.float32]:
    """1 well inside (positive distance), 0 well outside, smooth over ``width_nm``."""
    return np.asarray(0.5 * (1 + np.tanh(distance_nm / np.float32(max(width_nm, 1e-6)))), np.float32)
