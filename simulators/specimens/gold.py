"""Gold nanoparticles, atom by atom: twinned decahedra, truncated octahedra with stacking faults, adatoms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from simulators.specimens.atoms import Atoms, block, join
from simulators.specimens.crystals import gold_001, gold_110

__all__ = ["adatoms", "clusters", "decahedron", "rounded", "truncated_octahedron", "twinned"]

_WEDGE_DEG = 72.0
_TETRAHEDRAL_DEG = math.degrees(2 * math.asin(1 / math.sqrt(3)))  # 70.53°: between two {111} planes


def truncated_octahedron(diameter_nm: float, zone: str = "110", truncation: float = 0.82) -> Atoms:
    """A single crystal bounded by {111} and {100} faces, seen along ``zone`` 110 or 001."""
    cell = gold_110 if zone == "110" else gold_001
    atoms = block(cell, (1.3 * diameter_nm, 1.3 * diameter_nm), 1.3 * diameter_nm)
    middle = atoms.moved(-np.median(atoms.position_nm, axis=0))
    y, x, z = middle.position_nm.T
    if zone == "110":  # cubic axes from (y = [001], x = [1-10], z = [110])
        cubic = np.stack(((z + x) / math.sqrt(2), (z - x) / math.sqrt(2), y), axis=1)
    else:
        cubic = np.stack((y, x, z), axis=1)
    size = np.abs(cubic)
    radius = diameter_nm / 2
    inside = (size.sum(axis=1) <= 1.35 * radius) & (size.max(axis=1) <= truncation * 1.2 * radius)
    return middle.keep(inside)


def twinned(diameter_nm: float, planes: tuple[float, ...] = (0.0,)) -> Atoms:
    """A crystal along [110] with coherent {111} twin planes at the given heights (fractions of the radius)."""
    lattice = block(gold_110, (1.6 * diameter_nm, 1.6 * diameter_nm), diameter_nm)
    lattice = lattice.moved(-np.median(lattice.position_nm, axis=0))
    upright = lattice.turned(_TETRAHEDRAL_DEG / 2 - 90)  # brings the normal of (1-11) onto y
    spacing = 0.4078 / math.sqrt(3)
    y = upright.position_nm[:, 0]
    layer = np.round((y - y[np.argmin(np.abs(y))]) / spacing)
    heights = sorted(round(p * diameter_nm / 2 / spacing) for p in planes)
    flips = np.searchsorted(heights, layer, side="left") % 2
    position = upright.position_nm.copy()
    # a twin mirrors the stacking: from the plane on, each layer slides the other way over the one below it
    below = np.array(heights)[np.clip(np.searchsorted(heights, layer, side="left") - 1, 0, len(heights) - 1)]
    position[:, 1] -= np.where(flips == 1, 2 * _slide_nm(upright, layer) * (layer - below), 0.0)
    moved = Atoms(position, upright.number, upright.thermal_nm)
    radius = np.sqrt((position[:, 0] * 1.08) ** 2 + position[:, 1] ** 2 + position[:, 2] ** 2)
    return moved.keep(radius <= diameter_nm / 2)


def _slide_nm(atoms: Atoms, layer: NDArray[np.float64]) -> float:
    """How far along x the columns of one (111) layer lie aside of those of the layer below, the shorter way."""
    columns_apart = 0.4078 * math.sqrt(6) / 4
    here, above = (atoms.position_nm[layer == n, 1] for n in (0, 1))
    slide = above[0] - here[0]
    return float(slide - columns_apart * round(slide / columns_apart))


def decahedron(diameter_nm: float) -> Atoms:
    """Five {111}-twinned tetrahedra about a common [110] axis, each stretched from 70.53° to 72° to close the gap."""
    cell = gold_110
    size = 1.2 * diameter_nm
    lattice = block(cell, (size, size), diameter_nm)
    # put one column exactly on the axis
    column = lattice.position_nm[np.argmin(np.abs(lattice.position_nm[:, :2]).sum(axis=1))]
    lattice = lattice.moved(np.array([-column[0], -column[1], 0.0]))
    y, x, z = lattice.position_nm.T
    half = math.radians(_TETRAHEDRAL_DEG / 2)
    inside = (y >= -1e-6) & (np.abs(x) <= y * math.tan(half) + 1e-6)
    wedge = lattice.keep(inside)
    y, x, z = wedge.position_nm.T
    stretch = math.tan(math.radians(_WEDGE_DEG / 2)) / math.tan(half)
    radius = diameter_nm / 2
    # Marks' decahedron: a bipyramid, whose thickness falls from the axis outwards, with blunted ends
    height = np.minimum(1.25 * radius, 1.75 * radius - 1.2 * y)
    shaped = Atoms(np.stack((y, x * stretch, z), axis=1), wedge.number, wedge.thermal_nm)
    keep = (np.abs(z - np.median(z)) <= height / 2) & (y <= radius * 0.93) & (np.hypot(y, x * stretch) <= 1.06 * radius)
    shaped = shaped.keep(keep)
    edge = np.abs(shaped.position_nm[:, 1]) > shaped.position_nm[:, 0] * math.tan(math.radians(_WEDGE_DEG / 2)) - 1e-4
    upper = shaped.position_nm[:, 1] < 0
    shaped = shaped.keep(~(edge & upper))  # a twin plane belongs to one of its two neighbours
    parts = [shaped.turned(_WEDGE_DEG * k) for k in range(5)]
    whole = join(*parts)
    near_axis = np.hypot(whole.position_nm[:, 0], whole.position_nm[:, 1]) < 0.02
    axis = whole.keep(near_axis)
    single = axis.keep(np.arange(len(axis)) < len(axis) // max(1, 5))
    return join(whole.keep(~near_axis), single)


def adatoms(count: int, size_nm: tuple[float, float], generator: np.random.Generator) -> Atoms:
    """Single gold atoms at random places of the scene, stirred a little more by heat than those of a crystal."""
    position = np.zeros((count, 3))
    position[:, 0] = generator.uniform(-size_nm[0] / 2, size_nm[0] / 2, count)
    position[:, 1] = generator.uniform(-size_nm[1] / 2, size_nm[1] / 2, count)
    return Atoms(position, np.full(count, 79, np.int16), np.full(count, 0.015))


def clusters(count: int, size_nm: tuple[float, float], generator: np.random.Generator) -> Atoms:
    """Rafts of a few to thirty gold atoms, disordered, as particles look before they crystallise."""
    parts = []
    for _ in range(count):
        members = int(generator.integers(4, 30))
        spread = 0.13 * members**0.45
        position = generator.normal(0, spread, (members * 4, 3)) * np.array([1, 1, 0.5])
        kept: list[NDArray[np.float64]] = []
        for place in position:  # atoms do not sit on each other
            if all(np.linalg.norm(place - other) > 0.25 for other in kept) and len(kept) < members:
                kept.append(place)
        centre = np.array([generator.uniform(-s / 2, s / 2) for s in size_nm] + [0.0])
        parts.append(Atoms(np.array(kept) + centre, np.full(len(kept), 79, np.int16), np.full(len(kept), 0.013)))
    return join(*parts)


def rounded(atoms: Atoms, generator: np.random.Generator) -> Atoms:
    """Without many of the atoms that stick out: edges and corners of real particles are rough."""
    tree = cKDTree(atoms.position_nm)
    neighbours = np.asarray(tree.query_ball_point(atoms.position_nm, 0.33, return_length=True)) - 1
    chance = np.select([neighbours <= 4, neighbours <= 6, neighbours <= 7], [1.0, 0.7, 0.25], 0.02 * (neighbours < 10))
    return atoms.keep(generator.random(len(atoms)) >= chance)
