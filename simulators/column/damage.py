"""What the beam does to the specimen: dose, and what follows from it.

The dose map is the integral of every electron that hit, blanker leaks included. From it follow, a few times per frame:

- **amorphisation**: order ``η = 1/(1 + (D/D_c)^p)`` of the effective dose D against a critical one;
- **mass loss**: a share ``m·(1 − exp(−(D − D_m)/D_s))`` of all matter past an onset;
- **knock-on**: every susceptible atom leaves when the dose at its place passes a threshold of its own, drawn so that
  the probability of having left is ``1 − exp(−σD)``;
- **diffusion**: what a sample leaves behind (radicals, charge, heat) spreads and fades; where it piles up past a limit
  because neighbours are visited soon after one another, it adds to the effective dose. So the order of visits matters.
  A. Velazco et al., Ultramicroscopy 232, 113398 (2022); D. Jannis et al., Ultramicroscopy 240, 113568 (2022).

Doses are in e/Å². The maps lie on the specimen, so that drift smears them as it does at an instrument.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from scancontrol.errors import InvalidInput, within
from scancontrol.units import A2_PER_NM2
from simulators.specimens.scene import Field, wrap

__all__ = ["Damage", "DamageConfig", "DoseMap", "KnockOn"]


class KnockOn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Displacement of one element's atoms: cross section in barn (1e-8 Å²)."""

    atomic_number: int = 16
    cross_section_barn: float = 20.0


class DamageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How tender the specimen is. Infinite doses switch an effect off.

    Raises:
        InvalidInput: values that cannot be.
    """

    critical_dose_e_per_a2: float = 2000.0
    sharpness: float = 3.0  # p
    mass_loss: float = 0.0  # m, the largest share lost
    mass_onset_e_per_a2: float = 2000.0
    mass_scale_e_per_a2: float = 4000.0
    disorder_nm: float = 0.12  # rms displacement in the amorphous state
    delocalisation_nm: float = 0.1  # how far an electron's damage reaches
    knock_on: KnockOn | None = None
    diffusion_nm2_per_s: float = 0.0
    diffusion_life_s: float = 0.05
    diffusion_limit_e_per_a2: float = math.inf
    diffusion_gain: float = 1.0

    def __post_init__(self) -> None:
        remedy = "mend the configuration"
        for quantity in (
            "critical_dose_e_per_a2",
            "mass_onset_e_per_a2",
            "mass_scale_e_per_a2",
            "diffusion_life_s",
            "diffusion_limit_e_per_a2",
        ):
            if not getattr(self, quantity) > 0:
                raise InvalidInput(f"damage.{quantity}", getattr(self, quantity), "is not above 0", remedy)
        for quantity, low, high in (
            ("sharpness", 0.1, 20.0),
            ("mass_loss", 0.0, 1.0),
            ("disorder_nm", 0.0, 1.0),
            ("delocalisation_nm", 0.0, 1e4),
            ("diffusion_nm2_per_s", 0.0, 1e9),
            ("diffusion_gain", 0.0, 1e6),
        ):
            within(f"damage.{quantity}", getattr(self, quantity), low, high, remedy)
        if self.knock_on is not None and not (
            1 <= self.knock_on.atomic_number <= 118 and 0 <= self.knock_on.cross_section_barn <= 1e9
        ):
            raise InvalidInput(
                "damage.knock_on", self.knock_on, "names no element, or no cross section of 0 to 1e9 barn", remedy
            )


class DoseMap:
    """Electrons that hit each cell of a periodic grid over the specimen."""

    def __init__(self, extent_nm: tuple[float, float], cell_nm: float, most: int = 1024) -> None:
        self.extent_nm = extent_nm
        rows, cols = (min(most, max(8, round(length / cell_nm))) for length in extent_nm)
        self.electrons = np.zeros((rows, cols))

    @property
    def cell_a2(self) -> float:
        """Area of one cell in Å²."""
        rows, cols = self.electrons.shape
        return self.extent_nm[0] * self.extent_nm[1] / (rows * cols) * A2_PER_NM2

    def cells(self, y_nm: NDArray[np.float32], x_nm: NDArray[np.float32]) -> NDArray[np.intp]:
        """Flat index (n,) of the cell at each position, origin in the scene's middle."""
        rows, cols = self.electrons.shape
        v = y_nm * np.float32(rows / self.extent_nm[0]) + np.float32(rows / 2)
        u = x_nm * np.float32(cols / self.extent_nm[1]) + np.float32(cols / 2)
        i, j = (wrap(np.floor(at, out=at).astype(np.int32), size) for at, size in ((v, rows), (u, cols)))
        i *= np.int32(cols)
        i += j
        return i.astype(np.intp)

    def add(self, cells: NDArray[np.intp], electrons: NDArray[np.float32]) -> None:
        """Add ``electrons`` (n,) to ``cells`` (n,)."""
        np.add.at(self.electrons.reshape(-1), cells, electrons.astype(np.float64))  # one kind: numpy's fast path


class Damage:
    """The specimen's state under the beam, on the cells of a dose map."""

    def __init__(self, config: DamageConfig, dose: DoseMap, seed: int) -> None:
        self.config = config
        self.dose = dose
        self.effective = np.zeros_like(dose.electrons)  # e/Å², delocalised, with what diffusion added
        self._seen = np.zeros_like(dose.electrons)
        self._pool: NDArray[np.floating] = np.zeros_like(dose.electrons)
        self.order = np.ones(dose.electrons.shape, np.float32)
        self.mass = np.ones(dose.electrons.shape, np.float32)
        self._seed = seed
        self._thresholds: NDArray[np.float64] | None = None
        rows, cols = dose.electrons.shape
        ky = fft.fftfreq(rows, dose.extent_nm[0] / rows)
        kx = fft.rfftfreq(cols, dose.extent_nm[1] / cols)
        self._k2 = ky[:, None] ** 2 + kx[None, :] ** 2
        self._reach = np.exp(-2 * (np.pi * config.delocalisation_nm) ** 2 * self._k2).astype(np.float32)

    def act(self, layers: tuple[NDArray[np.float32], ...], cells: NDArray[np.intp]) -> tuple[NDArray[np.float32], ...]:
        """Depths of the damaged specimen; the first half of ``layers`` is the crystal's, the second the amorphous's."""
        half = len(layers) // 2
        order, mass = self.order.reshape(-1).take(cells), self.mass.reshape(-1).take(cells)
        return tuple(
            mass * (lost + order * (whole - lost)) for whole, lost in zip(layers[:half], layers[half:], strict=True)
        )

    def advance(self, elapsed_us: float) -> None:
        """Let the dose since the last call take effect, ``elapsed_us`` after that call."""
        config = self.config
        fresh = (self.dose.electrons - self._seen).astype(np.float32)  # enough for what came since; sums are in double
        fresh *= np.float32(1 / self.dose.cell_a2)
        np.copyto(self._seen, self.dose.electrons)
        spectrum = fft.rfft2(fresh)
        spectrum *= self._reach
        shape = fresh.shape
        spread = fft.irfft2(spectrum, s=shape)
        self.effective += np.maximum(spread, 0, out=spread)
        if config.diffusion_nm2_per_s > 0 and math.isfinite(config.diffusion_limit_e_per_a2):
            seconds = elapsed_us * 1e-6
            fade = math.exp(-seconds / config.diffusion_life_s)
            flow = np.exp(-4 * np.pi**2 * config.diffusion_nm2_per_s * seconds * self._k2) * fade
            self._pool = np.maximum(fft.irfft2(fft.rfft2(self._pool) * flow + spectrum * np.sqrt(flow), s=shape), 0)
            above = np.maximum(self._pool - config.diffusion_limit_e_per_a2, 0)
            self.effective += config.diffusion_gain * above * min(1.0, seconds / config.diffusion_life_s)
        relative = (self.effective / config.critical_dose_e_per_a2).astype(np.float32)
        self.order = np.asarray(1 / (1 + _power(relative, config.sharpness)), np.float32)
        if config.mass_loss > 0:
            past = (self.effective - config.mass_onset_e_per_a2).astype(np.float32)
            past *= np.float32(-1 / config.mass_scale_e_per_a2)
            left = np.exp(np.minimum(past, 0, out=past), out=past)
            self.mass = np.float32(1 - config.mass_loss) + np.float32(config.mass_loss) * left

    def displaced(self, field: Field) -> NDArray[np.int64]:
        """Indices of the scene's atoms that the dose up to now has knocked out since the last call."""
        config = self.config.knock_on
        if config is None:
            return np.zeros(0, np.int64)
        atoms = field.scene.atoms
        if self._thresholds is None or len(self._thresholds) != len(atoms):
            generator = np.random.default_rng([self._seed, 21])
            per_a2 = config.cross_section_barn * 1e-8  # 1 barn = 1e-28 m² = 1e-8 Å²
            self._thresholds = generator.exponential(1.0, len(atoms)) / max(per_a2, 1e-300)
            self._thresholds[atoms.number != config.atomic_number] = np.inf
        at = self.dose.cells(atoms.position_nm[:, 0].astype(np.float32), atoms.position_nm[:, 1].astype(np.float32))
        gone = np.flatnonzero(self.effective.reshape(-1)[at] > self._thresholds)
        self._thresholds[gone] = np.inf
        return gone


def _power(base: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """``base ** exponent`` in single precision; small whole exponents, which are usual, cost nine times less."""
    if not (exponent.is_integer() and 1 <= exponent <= 8):
        return np.asarray(base ** np.float32(exponent))
    out = base.copy()
    for _ in range(int(exponent) - 1):
        out *= base
    return out
