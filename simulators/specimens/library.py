"""The specimens that a configuration can ask for by ``kind``, as frozen recipes that build scenes.

Each recipe has ``scene(width_nm, height_nm, frame)``: what lies under the beam in that frame. The field of view matters
only to specimens that fill it (micrographs); the others have a size of their own and repeat beyond it.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from simulators.specimens import gold
from simulators.specimens.atoms import Atoms, Cell, block, join
from simulators.specimens.crystals import CRYSTALS
from simulators.specimens.films import CARBON_PER_NM3, amorphous, smooth_noise, soft_edge
from simulators.specimens.lowmag import Fibres, Particles, Vesicles
from simulators.specimens.micrograph import micrograph_scene, read_micrograph
from simulators.specimens.scene import Film, Scene, grid_for

__all__ = ["AnySpecimen", "Crystal", "GoldOnCarbon", "GrainBoundary", "Micrograph", "Structure"]

_REMEDY = "mend the specimen's configuration"
_ATOMIC_PITCH_NM = 0.0125
_ATOMIC_GRID = 4096


class Structure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A crystal structure of the user's: rectangular cell (y, x, z) with the beam along z, atoms as [Z, y, x, z]."""

    name: str = "own"
    cell_nm: tuple[float, float, float]
    atoms: tuple[tuple[int, float, float, float], ...]
    thermal_nm: float = 0.008
    layered: bool = False

    def cell(self) -> Cell:
        """The same as a checked :class:`Cell`."""
        return Cell(self.name, self.cell_nm, self.atoms, self.thermal_nm, self.layered)


def _within(quantity: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInput(f"specimen.{quantity}", value, f"is outside {low:g} to {high:g}", _REMEDY)


def _cell(structure: str | Structure) -> Cell:
    if isinstance(structure, Structure):
        return structure.cell()
    if structure not in CRYSTALS:
        raise InvalidInput(
            "specimen.structure",
            structure,
            f"is not one of {', '.join(CRYSTALS)}",
            "name one, or give cell_nm and atoms",
        )
    return CRYSTALS[structure]


class Crystal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="crystal"):
    """A crystal on a zone axis, with what a real one has: vacancies, dopants, steps, strain, tilt, a carbon film.

    Raises:
        InvalidInput: values that cannot be.
    """

    structure: str | Structure = "srtio3"
    size_nm: float = 20.0
    thickness_nm: float = 12.0
    rotation_deg: float = 0.0
    vacancy_fraction: float = 0.0
    vacancy_number: int | None = None
    dopant_number: int | None = None
    dopant_host: int | None = None
    dopant_fraction: float = 0.0
    steps: int = 0  # surface terraces across the scene, each two cells high
    wedge: float = 0.0  # relative change of thickness across the scene, left to right
    strain_pct: float = 0.0  # peak of a slow, random dilatation
    tilt_mrad: float = 0.0  # at the scene's right edge; 0 at its left
    film_nm: float = 0.0  # amorphous carbon on top
    edge: bool = False  # ends in vacuum, in a ragged line
    seed: int = 1

    def __post_init__(self) -> None:
        _cell(self.structure)
        for quantity, low, high in (
            ("size_nm", 1, 50),
            ("thickness_nm", 0.1, 200),
            ("rotation_deg", -360, 360),
            ("vacancy_fraction", 0, 1),
            ("dopant_fraction", 0, 1),
            ("steps", 0, 50),
            ("wedge", -1, 1),
            ("strain_pct", 0, 10),
            ("tilt_mrad", -50, 50),
            ("film_nm", 0, 200),
        ):
            _within(quantity, getattr(self, quantity), low, high)
        if self.dopant_fraction > 0 and (self.dopant_number is None or self.dopant_host is None):
            raise InvalidInput(
                "specimen.dopant_fraction", self.dopant_fraction, "names no dopant_number or dopant_host", _REMEDY
            )

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene; the same in every frame."""
        generator = np.random.default_rng([self.seed, 1])
        cell = _cell(self.structure)
        cut = cell.lengths_nm
        reach = 1.0 if self.rotation_deg % 90 == 0 else 1.45
        extent = (cut[0] * max(1, round(self.size_nm / cut[0])), cut[1] * max(1, round(self.size_nm / cut[1])))
        atoms = block(cell, (extent[0] * reach, extent[1] * reach), self.thickness_nm)
        if self.rotation_deg:
            atoms = atoms.turned(self.rotation_deg)
            inside = (np.abs(atoms.position_nm[:, 0]) < extent[0] / 2) & (
                np.abs(atoms.position_nm[:, 1]) < extent[1] / 2
            )
            atoms = atoms.keep(inside)
        atoms = self._shaped(atoms, extent, cut[2], generator)
        atoms = atoms.with_vacancies(self.vacancy_fraction, self.vacancy_number, generator)
        if self.dopant_number is not None and self.dopant_host is not None:
            atoms = atoms.doped(self.dopant_fraction, self.dopant_host, self.dopant_number, generator)
        grid = grid_for(extent, _ATOMIC_PITCH_NM, _ATOMIC_GRID)
        return Scene(extent, grid, self._displaced(atoms, extent, generator), films=self._film(extent, grid, generator))

    def _shaped(
        self, atoms: Atoms, extent: tuple[float, float], layer_nm: float, generator: np.random.Generator
    ) -> Atoms:
        y, x, z = atoms.position_nm.T
        top = np.full(len(atoms), self.thickness_nm)
        if self.steps:
            wander = _ragged(y, extent[0], 0.06 * extent[1], generator)
            terrace = np.floor((x + wander) / extent[1] * self.steps + self.steps / 2)
            top = top - 2 * layer_nm * terrace
        top = top * (1 + self.wedge * x / extent[1])
        keep = z < top if (self.steps or self.wedge) else np.ones(len(atoms), bool)
        if self.edge:
            line = extent[1] * 0.22 + _ragged(y, extent[0], 0.05 * extent[1], generator)
            depth = line - x
            keep &= (depth > 0) & (z < self.thickness_nm * np.clip(0.25 + depth / (0.25 * extent[1]), 0, 1))
        return atoms.keep(keep)

    def _displaced(self, atoms: Atoms, extent: tuple[float, float], generator: np.random.Generator) -> Atoms:
        y, x, z = atoms.position_nm.T
        moved = np.zeros((len(atoms), 3))
        if self.strain_pct:
            for axis in (0, 1):
                for harmonic in (1, 2):
                    phase = generator.uniform(0, 2 * np.pi, 2)
                    k = 2 * np.pi * harmonic
                    shape = np.sin(k * y / extent[0] + phase[0]) + np.sin(k * x / extent[1] + phase[1])
                    moved[:, axis] += 0.01 * self.strain_pct * extent[axis] / (2 * k) * shape
        if self.tilt_mrad:
            moved[:, 1] += 1e-3 * self.tilt_mrad * (x / extent[1] + 0.5) * (z - self.thickness_nm / 2)
        return atoms.moved(moved)

    def _film(
        self, extent: tuple[float, float], grid: tuple[int, int], generator: np.random.Generator
    ) -> tuple[Film, ...]:
        if self.film_nm == 0:
            return ()
        pitch = (extent[0] / grid[0], extent[1] / grid[1])
        mean = np.full(grid, self.film_nm * CARBON_PER_NM3, np.float32)
        return (Film.of(6, amorphous(mean, pitch, 0.15, generator)),)


def _ragged(
    y: NDArray[np.float64], period_nm: float, amplitude_nm: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """A periodic, wandering line x(y)."""
    line = np.zeros_like(y)
    for harmonic in range(1, 7):
        phase = generator.uniform(0, 2 * np.pi)
        line += amplitude_nm / harmonic**0.9 * generator.normal() * np.sin(2 * np.pi * harmonic * y / period_nm + phase)
    return line


class GrainBoundary(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="grain_boundary"
):
    """A symmetric tilt boundary down the middle, decorated with a dopant, in SrTiO3 unless told otherwise.

    Raises:
        InvalidInput: values that cannot be.
    """

    structure: str | Structure = "srtio3"
    misorientation_deg: float = 36.87  # Σ5 (310) in cubic crystals
    size_nm: float = 18.0
    thickness_nm: float = 12.0
    dopant_number: int | None = 57
    dopant_host: int | None = 38
    dopant_fraction: float = 0.02
    boundary_fraction: float = 0.5  # of the host within 0.4 nm of the boundary
    seed: int = 1

    def __post_init__(self) -> None:
        _cell(self.structure)
        for quantity, low, high in (
            ("size_nm", 1, 50),
            ("thickness_nm", 0.1, 200),
            ("misorientation_deg", -90, 90),
            ("dopant_fraction", 0, 1),
            ("boundary_fraction", 0, 1),
        ):
            _within(quantity, getattr(self, quantity), low, high)

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene; the same in every frame."""
        generator = np.random.default_rng([self.seed, 2])
        cell = _cell(self.structure)
        extent = (self.size_nm, self.size_nm)
        lattice = block(cell, (1.5 * self.size_nm, 1.5 * self.size_nm), self.thickness_nm)
        grains = []
        for side, angle in ((-1, self.misorientation_deg / 2), (1, -self.misorientation_deg / 2)):
            grain = lattice.turned(angle)
            y, x, _ = grain.position_nm.T
            grains.append(grain.keep((side * x >= 0.04) & (np.abs(x) < extent[1] / 2) & (np.abs(y) < extent[0] / 2)))
        atoms = join(*grains)
        near = np.abs(atoms.position_nm[:, 1]) < 0.4
        if self.dopant_number is not None and self.dopant_host is not None:
            core = atoms.keep(near).doped(self.boundary_fraction, self.dopant_host, self.dopant_number, generator)
            bulk = atoms.keep(~near).doped(self.dopant_fraction, self.dopant_host, self.dopant_number, generator)
            atoms = join(core, bulk)
        relaxed = (
            0.03 * np.exp(-np.abs(atoms.position_nm[:, 1]) / 0.25)[:, None] * generator.normal(size=(len(atoms), 3))
        )
        return Scene(extent, grid_for(extent, _ATOMIC_PITCH_NM, _ATOMIC_GRID), atoms.moved(relaxed))


class GoldOnCarbon(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="gold_on_carbon"
):
    """Gold nanoparticles and single atoms on the edge of an amorphous carbon film.

    With ``growth_nm_per_frame`` the particles ripen from frame to frame; with ``hop_nm`` the single atoms wander.

    Raises:
        InvalidInput: values that cannot be.
    """

    size_nm: float = 20.0
    film_nm: float = 20.0
    adatoms: int = 80
    clusters: int = 14
    growth_nm_per_frame: float = 0.0
    hop_nm: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for quantity, low, high in (
            ("size_nm", 8, 50),
            ("film_nm", 0.5, 200),
            ("adatoms", 0, 10000),
            ("clusters", 0, 1000),
            ("growth_nm_per_frame", -1, 1),
            ("hop_nm", 0, 5),
        ):
            _within(quantity, getattr(self, quantity), low, high)

    @property
    def evolves(self) -> bool:
        """Whether the scene differs from frame to frame."""
        return self.growth_nm_per_frame != 0 or self.hop_nm != 0

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The scene of one frame."""
        generator = np.random.default_rng([self.seed, 3])
        s = self.size_nm / 20.0
        grow = self.growth_nm_per_frame * frame
        particles = join(
            *(
                gold.rounded(shape(max(0.8, diameter * s + grow * share)), np.random.default_rng([self.seed, 5]))
                .turned(angle)
                .moved(np.array([y * s, x * s, 0.0]))
                for shape, diameter, share, angle, y, x in (
                    (gold.decahedron, 7.4, 1.0, 11.0, -1.2, -3.6),
                    (lambda d: gold.twinned(d, (-0.25, 0.3)), 5.6, 0.8, 37.0, -5.4, 4.4),
                    (lambda d: gold.truncated_octahedron(d, "110"), 4.6, 0.6, -21.0, 5.6, 1.6),
                    (lambda d: gold.truncated_octahedron(d, "001"), 3.4, 0.4, 28.0, 1.2, 5.4),
                    (lambda d: gold.truncated_octahedron(d, "001"), 2.0, -0.2, 5.0, 6.6, -6.4),
                    (lambda d: gold.twinned(d, (0.0,)), 2.4, -0.2, -50.0, -7.6, -7.6),
                )
            )
        )
        extent = (self.size_nm, self.size_nm)
        grid = grid_for(extent, _ATOMIC_PITCH_NM, _ATOMIC_GRID)
        film, edge_nm = self._film(extent, grid, generator)
        single = join(gold.adatoms(self.adatoms, extent, generator), gold.clusters(self.clusters, extent, generator))
        if self.hop_nm:
            for step in range(frame):
                hop = np.random.default_rng([self.seed, 4, step]).normal(0, self.hop_nm, (len(single), 3))
                hop[:, 2] = 0
                single = single.moved(hop)
        position = single.position_nm
        wrapped = (position[:, :2] / self.size_nm + 0.5) % 1.0
        i, j = (wrapped * np.array(grid)).astype(int).T
        on_film = edge_nm[i, j] > 0.3
        return Scene(extent, grid, join(particles, single.keep(on_film)), films=(film,))

    def _film(
        self, extent: tuple[float, float], grid: tuple[int, int], generator: np.random.Generator
    ) -> tuple[Film, NDArray[np.float32]]:
        pitch = (extent[0] / grid[0], extent[1] / grid[1])
        y = ((np.arange(grid[0]) / grid[0] - 0.5) * extent[0]).astype(np.float32)[:, None]
        x = ((np.arange(grid[1]) / grid[1] - 0.5) * extent[1]).astype(np.float32)[None, :]
        rough = smooth_noise(grid, pitch, 0.03 * self.size_nm, generator)
        # a hole of the film in the lower right corner
        inside = (
            np.hypot(y - 0.56 * extent[0], x - 0.56 * extent[1]) - 0.46 * self.size_nm + 0.012 * self.size_nm * rough
        )
        thick = self.film_nm * (1 + 0.12 * smooth_noise(grid, pitch, 0.06 * self.size_nm, generator))
        mean = thick * soft_edge(inside, 0.02 * self.size_nm) * CARBON_PER_NM3
        return Film.of(6, amorphous(np.asarray(mean, np.float32), pitch, 0.15, generator)), inside


class Micrograph(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="micrograph"
):
    """Any image file; it fills the first scan's field of view unless ``size_nm`` says how wide it is.

    Raises:
        InvalidInput: values that cannot be.
    """

    file: Path
    size_nm: float | None = None
    darkest: float = 0.02
    brightest: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.darkest < self.brightest <= 0.95:
            raise InvalidInput(
                "specimen.darkest", self.darkest, f"is not from 0 to below brightest, {self.brightest}", _REMEDY
            )
        if self.size_nm is not None:
            _within("size_nm", self.size_nm, 1e-3, 1e9)

    def image(self) -> NDArray[np.float32]:
        """What the file shows.

        Raises:
            InvalidInput: it cannot be read.
        """
        return read_micrograph(self.file)

    def scene(self, width_nm: float, height_nm: float, frame: int) -> Scene:
        """The image, ``size_nm`` wide, or just large enough to cover the field of view."""
        image = self.image()
        covering_nm = max(width_nm, height_nm * image.shape[1] / image.shape[0])
        return micrograph_scene(image, self.size_nm or covering_nm, self.darkest, self.brightest)


AnySpecimen = Crystal | GrainBoundary | GoldOnCarbon | Micrograph | Fibres | Vesicles | Particles
"""What a configuration's ``specimen`` may be; ``kind`` says which."""
