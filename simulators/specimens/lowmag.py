"""Specimens whose atoms are not told apart, where matter is thickness: fibres, vesicles, particles."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, within
from simulators.specimens.films import CARBON_PER_NM3, amorphous, smooth_noise
from simulators.specimens.scene import Film, Scene

__all__ = ["Fibres", "Particles", "Vesicles"]

_GRID = (2048, 2048)
Image = NDArray[np.float32]


def _check(specimen: Fibres | Vesicles | Particles) -> None:
    for quantity, low, high in (("size_nm", 10, 1e6), ("count", 0, 2000), ("support_nm", 0, 1000)):
        within(f"specimen.{quantity}", getattr(specimen, quantity), low, high, "mend the specimen's configuration")


def _stamp(image: Image, y: float, x: float, patch: Image, *, largest: bool = False) -> None:
    """Add ``patch`` to the periodic ``image`` with its middle at node (y, x), or keep the larger of the two."""
    rows, cols = patch.shape
    i = (round(y) - rows // 2 + np.arange(rows)) % image.shape[0]
    j = (round(x) - cols // 2 + np.arange(cols)) % image.shape[1]
    at = np.ix_(i, j)
    image[at] = np.maximum(image[at], patch) if largest else image[at] + patch


def _distance(radius: float) -> Image:
    half = math.ceil(radius) + 2
    at = np.arange(-half, half + 1, dtype=np.float32)
    return np.asarray(np.hypot(at[:, None], at[None, :]), np.float32)


def _chord(distance: Image, radius: float) -> Image:
    """Thickness of a sphere or cylinder of ``radius`` at ``distance`` from its middle, in the same unit."""
    return np.asarray(2 * np.sqrt(np.maximum(radius**2 - distance**2, 0)), np.float32)


def _support(thickness_nm: float, size_nm: float, generator: np.random.Generator) -> Film:
    pitch = size_nm / _GRID[0]
    rough = smooth_noise(_GRID, (pitch, pitch), 0.012 * size_nm, generator)
    fine = smooth_noise(_GRID, (pitch, pitch), 0.0012 * size_nm, generator)
    return Film.of(6, np.asarray(thickness_nm * 100.0 * np.maximum(1 + 0.06 * rough + 0.03 * fine, 0), np.float32))


class Fibres(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="fibres"):
    """A web of polymer or carbon fibres, some hollow, that wander and cross.

    Raises:
        InvalidInput: values that cannot be.
    """

    size_nm: float = 4000.0
    count: int = 26
    diameter_nm: float = 120.0
    support_nm: float = 4.0
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self)
        if not 5 <= self.diameter_nm <= self.size_nm / 4:
            raise InvalidInput(
                "specimen.diameter_nm",
                self.diameter_nm,
                f"is outside 5 to {self.size_nm / 4:g}",
                "mend the specimen's configuration",
            )

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene; the same in every frame."""
        generator = np.random.default_rng([self.seed, 11])
        pitch = self.size_nm / _GRID[0]
        web = np.zeros(_GRID, np.float32)
        for _ in range(self.count):
            radius = 0.5 * self.diameter_nm / pitch * generator.lognormal(0, 0.45)
            fibre = np.zeros(_GRID, np.float32)
            patch = _chord(_distance(radius), radius)
            if generator.random() < 0.3:  # a hollow one
                patch = np.maximum(patch - 0.95 * _chord(_distance(radius), 0.55 * radius), 0)
            step = max(1.0, 0.25 * radius)
            turns = np.cumsum(generator.normal(0, 0.012, int(1.5 * _GRID[0] / step)) * math.sqrt(step))
            heading = generator.uniform(0, 2 * np.pi) + np.convolve(turns, np.ones(25) / 25, mode="same")
            y = generator.uniform(0, _GRID[0]) + np.cumsum(np.sin(heading)) * step
            x = generator.uniform(0, _GRID[1]) + np.cumsum(np.cos(heading)) * step
            for at in zip(y, x, strict=True):
                _stamp(fibre, *at, patch, largest=True)
            web += fibre
        films = (Film.of(6, web * np.float32(pitch * 90.0)), _support(self.support_nm, self.size_nm, generator))
        return Scene((self.size_nm, self.size_nm), _GRID, films=films)


class Vesicles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="vesicles"):
    """Stained liposomes: spherical shells with a bilayer, some nested, some burst, on a support.

    Raises:
        InvalidInput: values that cannot be.
    """

    size_nm: float = 1200.0
    count: int = 45
    diameter_nm: float = 110.0
    membrane_nm: float = 5.0
    support_nm: float = 15.0
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self)
        if not (0.5 <= self.membrane_nm < self.diameter_nm / 4 and self.diameter_nm <= self.size_nm / 2):
            raise InvalidInput(
                "specimen.membrane_nm",
                self.membrane_nm,
                "does not fit the vesicles' diameter_nm and size_nm",
                "mend the specimen's configuration",
            )

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene; the same in every frame."""
        generator = np.random.default_rng([self.seed, 12])
        pitch = self.size_nm / _GRID[0]
        lipid, stain = np.zeros(_GRID, np.float32), np.zeros(_GRID, np.float32)
        placed: list[tuple[float, float, float]] = []
        for _ in range(self.count * 8):
            if len(placed) >= self.count:
                break
            radius = 0.5 * self.diameter_nm * float(generator.lognormal(0, 0.35)) / pitch
            y, x = generator.uniform(0, _GRID[0]), generator.uniform(0, _GRID[1])
            if any(math.hypot(y - v, x - u) < 0.92 * (radius + r) for v, u, r in placed):
                continue
            placed.append((y, x, radius))
            membrane = self.membrane_nm / pitch
            radii = [radius]
            while generator.random() < 0.3 and radii[-1] > 6 * membrane:
                radii.append(radii[-1] - generator.uniform(1.8, 4) * membrane)
            squash = generator.uniform(0.35, 0.8)  # vesicles flatten as they dry
            for r in radii:
                distance = _distance(radius + 3 * membrane)
                shell = _chord(distance, r) - _chord(distance, r - membrane)
                _stamp(lipid, y, x, np.asarray(shell * squash, np.float32))
            pool = np.exp(-np.abs(_distance(radius + 4 * membrane) - radius - 0.6 * membrane) / (1.1 * membrane))
            _stamp(stain, y, x, np.asarray(pool, np.float32))
        heavy = stain * 2.2 + 0.5 * np.maximum(smooth_noise(_GRID, (pitch, pitch), 20.0, generator) + 0.6, 0)
        films = (
            Film.of(6.6, lipid * np.float32(pitch * 100.0)),
            Film.of(92, np.asarray(heavy * 3.0, np.float32)),
            _support(self.support_nm, self.size_nm, generator),
        )
        return Scene((self.size_nm, self.size_nm), _GRID, films=films)


class Particles(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="particles"
):
    """A supported catalyst: faceted metal particles, log-normal in size, on grains of carbon that end in vacuum.

    Raises:
        InvalidInput: values that cannot be.
    """

    size_nm: float = 26.0
    count: int = 64
    diameter_nm: float = 2.2
    atomic_number: int = 78
    support_nm: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self)
        if not (1 <= self.atomic_number <= 118 and 0.3 <= self.diameter_nm <= self.size_nm / 4):
            raise InvalidInput(
                "specimen.diameter_nm",
                self.diameter_nm,
                f"is outside 0.3 to {self.size_nm / 4:g}, or the element is none",
                "mend the specimen's configuration",
            )

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene; the same in every frame."""
        generator = np.random.default_rng([self.seed, 13])
        pitch = self.size_nm / _GRID[0]
        grains = self._grains(generator)
        metal = np.zeros(_GRID, np.float32)
        places = np.flatnonzero(grains > 0.04 * _GRID[0])
        for _ in range(self.count):
            radius = 0.5 * self.diameter_nm * float(np.clip(generator.lognormal(0, 0.33), 0.35, 1.9)) / pitch
            at = int(generator.choice(places))
            if metal.flat[at] > 0 and generator.random() < 0.7:  # few particles lie on each other
                continue
            _stamp(metal, at // _GRID[1], at % _GRID[1], _faceted(radius, generator))
        carbon = np.asarray(grains * np.float32(pitch * CARBON_PER_NM3), np.float32)
        films = (
            Film.of(6, amorphous(carbon, (pitch, pitch), 0.15, generator)),
            Film.of(self.atomic_number, metal * np.float32(pitch * 66.0)),
            _support(self.support_nm, self.size_nm, generator),
        )
        return Scene((self.size_nm, self.size_nm), _GRID, films=films)

    def _grains(self, generator: np.random.Generator) -> Image:
        """Thickness, in nodes, of round grains that stick to each other, with a rough surface; vacuum between them."""
        grains = np.zeros(_GRID, np.float32)
        centres = [(0.42 * _GRID[0], 0.36 * _GRID[1], 0.2 * _GRID[0])]
        while len(centres) < 8:
            v, u, r = centres[int(generator.integers(len(centres)))]
            radius = _GRID[0] * float(np.clip(generator.lognormal(-1.9, 0.3), 0.08, 0.22))
            angle = generator.uniform(0, 2 * np.pi)
            y, x = v + 0.95 * (r + radius) * math.sin(angle), u + 0.95 * (r + radius) * math.cos(angle)
            if all(math.hypot(y - w, x - t) > 0.8 * (radius + q) for w, t, q in centres):
                centres.append((y, x, radius))
        for y, x, radius in centres:
            _stamp(grains, y, x, _chord(_distance(radius), radius))
        rough = smooth_noise(_GRID, (1.0, 1.0), 0.02 * _GRID[0], generator)
        return np.asarray(grains * np.maximum(1 + 0.12 * rough, 0), np.float32)


_OCTAHEDRAL = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) / math.sqrt(3)
_CUBIC = np.concatenate((np.eye(3), -np.eye(3)))


def _faceted(radius: float, generator: np.random.Generator) -> Image:
    """Thickness of a truncated octahedron of about ``radius``, turned at random, all in nodes."""
    normals = np.concatenate((_OCTAHEDRAL, _CUBIC)) @ np.linalg.qr(generator.normal(size=(3, 3)))[0]
    reach = np.concatenate((np.full(8, radius), np.full(6, 1.12 * radius))) * generator.uniform(0.88, 1.08, 14)
    half = math.ceil(1.4 * radius) + 2
    at = np.arange(-half, half + 1, dtype=np.float32)
    top, bottom = np.full((2 * half + 1,) * 2, np.inf), np.full((2 * half + 1,) * 2, -np.inf)
    for (ny, nx, nz), d in zip(normals, reach, strict=True):
        if abs(nz) < 1e-6:
            continue
        z = (d - ny * at[:, None] - nx * at[None, :]) / nz
        top, bottom = (np.minimum(top, z), bottom) if nz > 0 else (top, np.maximum(bottom, z))
    return np.asarray(np.maximum(top - bottom, 0), np.float32)
