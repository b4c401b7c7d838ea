"""The probe: what the lens, its aperture and the finite source make of a point.

The probe's transfer function is the autocorrelation of the pupil ``A(k)·exp(−iχ(k))`` times the source's Gaussian. With
only even aberrations (defocus, twofold astigmatism, spherical) it is real. Fields are multiplied by it once, when they
are rendered, so that evaluating them at a beam position costs nothing more. E. J. Kirkland, Advanced Computing in
Electron Microscopy, 2nd ed. (2010), sections 2 and 3.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates

from scancontrol.errors import within

__all__ = ["Probe", "wavelength_nm"]

_GRID = 1024
_MARGIN = 1.02  # the transfer function ends at twice the aperture; a little room for interpolation


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic de Broglie wavelength of electrons accelerated by ``energy_kev``."""
    return 1.226426 / math.sqrt(energy_kev * 1e3 * (1 + 0.978476e-6 * energy_kev * 1e3))


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Aperture and aberrations. Defocus and astigmatism are in nm; underfocus is positive.

    Raises:
        InvalidInput: a probe that cannot be, or whose tails this model cannot hold.
    """

    energy_kev: float = 200.0
    convergence_mrad: float = 24.0
    source_fwhm_nm: float = 0.08
    defocus_nm: float = 0.0
    astigmatism_nm: float = 0.0
    astigmatism_angle_deg: float = 0.0
    spherical_um: float = 0.0

    def __post_init__(self) -> None:
        for quantity, low, high in (
            ("energy_kev", 1.0, 3000.0),
            ("convergence_mrad", 0.5, 100.0),
            ("source_fwhm_nm", 0.0, 100.0),
            ("astigmatism_nm", -300.0, 300.0),
            ("defocus_nm", -300.0, 300.0),
            ("astigmatism_angle_deg", -360.0, 360.0),
            ("spherical_um", -3000.0, 3000.0),
        ):
            within(f"probe.{quantity}", getattr(self, quantity), low, high, "mend the configuration")

    @property
    def cutoff_per_nm(self) -> float:
        """Highest spatial frequency that the lens passes, ``2α/λ``."""
        return 2 * self.convergence_mrad * 1e-3 / wavelength_nm(self.energy_kev)

    def intensity(self) -> tuple[NDArray[np.float64], float]:
        """The probe without its source: intensity of unit sum on a centred square grid, and the grid's pitch in nm."""
        span_per_nm = 2 * _MARGIN * self.cutoff_per_nm
        k = (np.arange(_GRID) - _GRID // 2) * (span_per_nm / _GRID)
        ky, kx = k[:, None], k[None, :]
        wavelength = wavelength_nm(self.energy_kev)
        squared = (ky**2 + kx**2) * wavelength**2  # angle², rad²
        azimuth = np.arctan2(ky, kx) - math.radians(self.astigmatism_angle_deg)
        chi = (2 * np.pi / wavelength) * (
            -0.5 * squared * (self.defocus_nm + self.astigmatism_nm * np.cos(2 * azimuth))
            + 0.25 * self.spherical_um * 1e3 * squared**2
        )
        pupil = np.where(squared <= (self.convergence_mrad * 1e-3) ** 2, np.exp(-1j * chi), 0)
        wave = fft.fftshift(fft.ifft2(fft.ifftshift(pupil)))
        density = np.abs(wave) ** 2
        return density / density.sum(), 1 / span_per_nm

    def transfer(self, ky_per_nm: NDArray[np.float64], kx_per_nm: NDArray[np.float64]) -> NDArray[np.float32]:
        """Transfer function on the outer grid of the two axes, shape ``(len(ky), len(kx))``; 1 at the origin."""
        sigma = self.source_fwhm_nm / 2.354820
        source_y = np.exp(-2 * (np.pi * sigma * ky_per_nm) ** 2)
        source_x = np.exp(-2 * (np.pi * sigma * kx_per_nm) ** 2)
        source = (source_y[:, None] * source_x[None, :]).astype(np.float32)
        lens, pitch = _lens(self)
        rows = (ky_per_nm * (pitch * _GRID) + _GRID // 2).astype(np.float32)
        cols = (kx_per_nm * (pitch * _GRID) + _GRID // 2).astype(np.float32)
        at = np.broadcast_arrays(rows[:, None], cols[None, :])
        return np.asarray(map_coordinates(lens, at, order=1, mode="constant", cval=0.0) * source, np.float32)


@lru_cache(maxsize=8)
def _lens(probe: Probe) -> tuple[NDArray[np.float32], float]:
    """Transfer function of the lens alone, zero frequency in the middle, and the pitch of its probe."""
    density, pitch = probe.intensity()
    return fft.fftshift(fft.fft2(fft.ifftshift(density)).real).astype(np.float32), pitch
