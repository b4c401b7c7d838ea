"""A scene is what lies under the beam; a field is the same, seen by a probe, ready to be looked up.

Rendering is exact: atoms are spread on a fine periodic grid with cubic B-splines, whose own transfer function is
divided out again in Fourier space (as in particle-mesh Ewald sums: Essmann et al., J. Chem. Phys. 103, 8577, 1995),
where thermal blur and the probe are applied too. The grid is fine enough for bilinear lookup between its nodes, so a
field is a continuous function of the beam position at a constant cost of about 40 ns per position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from simulators.probe import Probe
from simulators.specimens.atoms import Atoms, join
from simulators.specimens.scattering import high_angle_nm2, low_angle_nm2

__all__ = ["Field", "Film", "Scene", "grid_for", "render", "spread", "wrap"]

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Film:
    """Matter too fine or too plentiful for single atoms: areal density in atoms/nm² on the scene's grid."""

    density_per_nm2: Image
    high_nm2: float
    low_nm2: float

    @classmethod
    def of(cls, atomic_number: float, density_per_nm2: Image) -> Film:
        """A film of one (mean) element."""
        return cls(density_per_nm2, float(high_angle_nm2(atomic_number)), float(low_angle_nm2(atomic_number)))


@dataclass(frozen=True)
class Scene:
    """Atoms and films over ``extent_nm`` (height, width), repeated periodically beyond, on a ``grid`` of (rows, cols).

    Node (i, j) of the grid lies at ``((i + offset)/rows − ½)·height`` and likewise in x.
    """

    extent_nm: tuple[float, float]
    grid: tuple[int, int]
    atoms: Atoms = field(default_factory=join)
    films: tuple[Film, ...] = ()
    offset: float = 0.0
    seen: bool = False  # a probe has been here before (micrographs): it is not blurred again

    @property
    def pitch_nm(self) -> tuple[float, float]:
        """Distance between the nodes, (y, x)."""
        return self.extent_nm[0] / self.grid[0], self.extent_nm[1] / self.grid[1]


@dataclass(frozen=True)
class Field:
    """Optical depths of a scene as a probe sees them: ``layers`` of shape (k, rows, cols), periodic."""

    layers: NDArray[np.float32]
    scene: Scene
    probe: Probe
    low: bool = False  # whether every other layer is a low-angle depth

    @property
    def extent_nm(self) -> tuple[float, float]:
        """Height and width after which the field repeats."""
        return self.scene.extent_nm

    def without(self, atoms: NDArray[np.int64]) -> None:
        """Take the scene's ``atoms`` (indices) out of every layer, in place."""
        _, rows, cols = self.layers.shape
        half = 32
        pitch_y, pitch_x = self.scene.pitch_nm
        for index in atoms:
            y, x, _ = self.scene.atoms.position_nm[index]
            at = (
                (y / self.extent_nm[0] + 0.5) * rows - self.scene.offset,
                (x / self.extent_nm[1] + 0.5) * cols - self.scene.offset,
            )
            node = math.floor(at[0] + 0.5), math.floor(at[1] + 0.5)
            number, thermal = int(self.scene.atoms.number[index]), float(self.scene.atoms.thermal_nm[index])
            patch = _single_atom(number, thermal, self.probe, pitch_y, pitch_x, half)
            i, j = (node[0] + np.arange(-half, half)) % rows, (node[1] + np.arange(-half, half)) % cols
            here = np.ix_(i, j)
            for layer, plane in enumerate(self.layers):
                plane[here] = np.maximum(plane[here] - patch[layer % (2 if self.low else 1)], 0)

    def lookup(self, y_nm: NDArray[np.float32], x_nm: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """The ``k`` layers at the positions (n,), origin in the scene's middle: bilinear between the nodes."""
        _, rows, cols = self.layers.shape
        v = y_nm * np.float32(rows / self.extent_nm[0]) + np.float32(rows / 2 - self.scene.offset)
        u = x_nm * np.float32(cols / self.extent_nm[1]) + np.float32(cols / 2 - self.scene.offset)
        v0, u0 = np.floor(v), np.floor(u)
        v -= v0
        u -= u0
        i, j = wrap(v0.astype(np.int32), rows), wrap(u0.astype(np.int32), cols)
        below, right = wrap(i + 1, rows), wrap(j + 1, cols)
        i *= cols
        below *= cols
        corners = (i + j, i + right, below + j, below + right)
        found = []
        for layer in self.layers:
            plane = layer.reshape(-1)
            top_left, top_right, low_left, low_right = (plane.take(index, mode="clip") for index in corners)
            top_right -= top_left
            top_right *= u
            top_right += top_left
            low_right -= low_left
            low_right *= u
            low_right += low_left
            low_right -= top_right
            low_right *= v
            low_right += top_right
            found.append(low_right)
        return tuple(found)


def wrap(index: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Periodic index; a power of two needs no division."""
    if size & (size - 1) == 0:
        return np.asarray(index & np.int32(size - 1))
    return np.asarray(index % np.int32(size))


def grid_for(extent_nm: tuple[float, float], finest_nm: float, limit: int) -> tuple[int, int]:
    """A grid of powers of two with a pitch of at most ``finest_nm``, where ``limit`` nodes a side allow it."""
    rows, cols = (min(limit, 1 << max(6, math.ceil(math.log2(length / finest_nm)))) for length in extent_nm)
    return rows, cols


def spread(scene: Scene, atoms: Atoms) -> Image:
    """Number of atoms per node, each spread over 4 × 4 nodes with the cubic B-spline."""
    rows, cols = scene.grid
    total = np.zeros(rows * cols)
    for first in range(0, len(atoms), 500_000):  # bounded memory
        position = atoms.position_nm[first : first + 500_000]
        index, weight = [], []
        for axis, size in ((0, rows), (1, cols)):
            at = (position[:, axis] / scene.extent_nm[axis] + 0.5) * size - scene.offset
            base = np.floor(at)
            f = at - base
            weight.append(((1 - f) ** 3 / 6, 2 / 3 - f**2 + f**3 / 2, 1 / 6 + (f + f**2 - f**3) / 2, f**3 / 6))
            index.append([np.remainder(base.astype(np.int64) + step, size) for step in (-1, 0, 1, 2)])
        for i, wi in zip(index[0], weight[0], strict=True):
            for j, wj in zip(index[1], weight[1], strict=True):
                np.add.at(total, i * cols + j, wi * wj)
    return total.reshape(rows, cols).astype(np.float32)


def render(scene: Scene, probe: Probe, *, low: bool = False, disorder_nm: float = 0.0, seed: int = 0) -> Field:
    """The scene as ``probe`` sees it.

    Layers: the high-angle depth; with ``low`` also the low-angle depth; with ``disorder_nm`` above 0 each of these
    once more with every atom displaced at random by that much (rms, per axis), which is what is left of a crystal
    after it has turned amorphous.
    """
    versions = [scene.atoms]
    if disorder_nm > 0:
        generator = np.random.default_rng([seed, 7])
        versions.append(scene.atoms.moved(generator.normal(0, disorder_nm, scene.atoms.position_nm.shape)))
    planes = [plane for atoms in versions for plane in _depths(scene, atoms, probe, low)]
    return Field(np.stack(planes), scene, probe, low)


@lru_cache(maxsize=16)
def _single_atom(
    number: int, thermal_nm: float, probe: Probe, pitch_y: float, pitch_x: float, half: int
) -> tuple[Image, Image]:
    """High- and low-angle depth of one atom on 2·half × 2·half nodes, at the node (half, half)."""
    size = 2 * half
    scene = Scene(
        (size * pitch_y, size * pitch_x),
        (size, size),
        Atoms(np.zeros((1, 3)), np.array([number], np.int16), np.array([thermal_nm])),
    )
    high, low = _depths(scene, scene.atoms, probe, low=True)
    return high, low


def _depths(scene: Scene, atoms: Atoms, probe: Probe, low: bool) -> list[Image]:
    if scene.seen:
        areas = [[film.high_nm2, film.low_nm2] for film in scene.films]
        return [
            np.sum(
                [film.density_per_nm2 * np.float32(area[k]) for film, area in zip(scene.films, areas, strict=True)],
                axis=0,
            )
            for k in range(2 if low else 1)
        ]
    rows, cols = scene.grid
    pitch_y, pitch_x = scene.pitch_nm
    ky, kx = fft.fftfreq(rows, pitch_y), fft.rfftfreq(cols, pitch_x)
    squared = (ky[:, None] ** 2 + kx[None, :] ** 2).astype(np.float32)
    spline = np.sinc(ky * pitch_y)[:, None] ** 4 * np.sinc(kx * pitch_x)[None, :] ** 4
    spectra = [np.zeros((rows, kx.size), np.complex64) for _ in range(2 if low else 1)]
    for number in np.unique(atoms.number):
        for thermal in np.unique(atoms.thermal_nm[atoms.number == number]):
            chosen = atoms.keep((atoms.number == number) & (atoms.thermal_nm == thermal))
            spectrum = fft.rfft2(spread(scene, chosen))
            spectrum *= np.exp(squared * np.float32(-2 * (np.pi * thermal) ** 2))
            for target, area in zip(spectra, (high_angle_nm2(number), low_angle_nm2(number)), strict=False):
                target += spectrum * np.float32(area / (pitch_y * pitch_x))
    for target in spectra:
        target /= spline.astype(np.float32)
    if scene.films:
        for film in scene.films:
            spectrum = fft.rfft2(film.density_per_nm2)
            for target, of_film in zip(spectra, (film.high_nm2, film.low_nm2), strict=False):
                target += spectrum * np.float32(of_film)
    transfer = probe.transfer(ky, kx)
    return [np.maximum(fft.irfft2(target * transfer, s=(rows, cols)), 0).astype(np.float32) for target in spectra]
