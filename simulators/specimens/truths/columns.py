"""Lattices as columns: unit cells, their sites over a field, defects among them, and the picture of it all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulators.specimens.truths.truth import ColumnKind, Columns

__all__ = [
    "Atom",
    "Cell",
    "Displacement",
    "hexagonal",
    "laid",
    "oblique",
    "rendered",
    "square",
    "two_species",
    "with_dopants",
    "with_vacancies",
]

Displacement = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sites (n, 2) in pixels to how far they are moved, (n, 2) in pixels."""

SIGMA_OF_PERIOD = 1 / 6
SECOND_HEIGHT = 0.45
_REACH = 4.0  # σ to which a column is drawn: 3e-4 of its height is left out
_AT_ONCE = 1_000_000  # pixels of columns in one pass, 20 MB


@dataclass(frozen=True)
class Atom:
    """One column of a unit cell: its place in fractions of the vectors, its height, its width."""

    place: tuple[float, float]
    height: float
    sigma_px: float


@dataclass(frozen=True)
class Cell:
    """A unit cell: two vectors as (y, x) in pixels, and what stands in it."""

    vectors_px: tuple[tuple[float, float], tuple[float, float]]
    atoms: tuple[Atom, ...]

    @property
    def period_px(self) -> float:
        """Length of the shorter vector."""
        return min(math.hypot(*vector) for vector in self.vectors_px)

    def turned(self, angle_deg: float) -> Cell:
        """The same cell, turned."""
        c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        (ay, ax), (by, bx) = self.vectors_px
        return replace(self, vectors_px=((c * ay - s * ax, s * ay + c * ax), (c * by - s * bx, s * by + c * bx)))


def oblique(period_px: float, ratio: float, angle_deg: float) -> Cell:
    """One column in a cell of vectors ``period_px`` and ``ratio * period_px``, ``angle_deg`` apart."""
    angle = math.radians(angle_deg)
    second = (ratio * period_px * math.sin(angle), ratio * period_px * math.cos(angle))
    return Cell(((0.0, period_px), second), (Atom((0.0, 0.0), 1.0, period_px * SIGMA_OF_PERIOD),))


def square(period_px: float) -> Cell:
    """One column in a square cell."""
    return oblique(period_px, 1.0, 90.0)


def hexagonal(period_px: float) -> Cell:
    """One column in a hexagonal cell."""
    return oblique(period_px, 1.0, 60.0)


def two_species(period_px: float) -> Cell:
    """Bright columns on a square lattice and columns of 0.45 of their height in the middle of its cells."""
    second = Atom((0.5, 0.5), SECOND_HEIGHT, period_px * SIGMA_OF_PERIOD)
    cell = square(period_px)
    return replace(cell, atoms=(*cell.atoms, second))


def laid(
    cell: Cell, shape: tuple[int, int], offset: tuple[float, float], displacement: Displacement | None = None
) -> Columns:
    """The lattice over a field of ``shape`` and a little beyond, so that columns outside reach in.

    Args:
        cell: what is repeated.
        shape: of the field, (rows, cols).
        offset: of the lattice from the middle of the field, in fractions of the cell's vectors.
        displacement: moves each column from its site.
    """
    vectors = np.array(cell.vectors_px)
    margin = _REACH * max(atom.sigma_px for atom in cell.atoms) + cell.period_px
    if displacement is not None:
        margin += 0.02 * max(shape)
    half = np.array(shape) / 2 + margin
    corners = np.array([(y, x) for y in (-half[0], half[0]) for x in (-half[1], half[1])]) @ np.linalg.inv(vectors)
    low, high = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 1
    u, v = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1].reshape(2, -1)
    whole = np.stack((u, v), -1) + np.array(offset)
    places = np.array([atom.place for atom in cell.atoms])
    sites = (whole[:, None, :] + places[None]).reshape(-1, 2) @ vectors
    which = np.tile(np.arange(len(places)), len(whole))
    inside = (np.abs(sites) < half).all(1)
    sites, which = sites[inside] + (np.array(shape) - 1) / 2, which[inside]
    moved = np.zeros_like(sites) if displacement is None else displacement(sites)
    height = np.array([atom.height for atom in cell.atoms])[which]
    return Columns(
        position_px=sites + moved,
        height=height,
        ordinary_height=height,
        sigma_px=np.array([atom.sigma_px for atom in cell.atoms])[which],
        kind=np.full(len(sites), ColumnKind.ORDINARY, np.int8),
        species=which.astype(np.int8),
        displacement_px=moved,
    )


def with_vacancies(columns: Columns, fraction: float, share: float, rng: np.random.Generator) -> Columns:
    """A ``fraction`` of the columns have only a ``share`` of their height."""
    return _with_defects(columns, fraction, share, ColumnKind.VACANCY, rng)


def with_dopants(columns: Columns, fraction: float, share: float, rng: np.random.Generator) -> Columns:
    """A ``fraction`` of the columns have ``share`` (above 1) times their height."""
    return _with_defects(columns, fraction, share, ColumnKind.DOPANT, rng)


def _with_defects(
    columns: Columns, fraction: float, share: float, kind: ColumnKind, rng: np.random.Generator
) -> Columns:
    struck = (rng.random(len(columns)) < fraction) & ~columns.defect
    return replace(
        columns,
        height=np.where(struck, columns.ordinary_height * share, columns.height),
        kind=np.where(struck, np.int8(kind), columns.kind),
    )


def rendered(columns: Columns, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The sum of the columns' Gaussians at the pixels' centres, float32 (rows, cols)."""
    image = np.zeros(shape)
    half_octave = np.ceil(2 * np.log2(_REACH * columns.sigma_px))
    for step in np.unique(half_octave):  # columns of about the same width together: they share one window
        image += _of_one_reach(columns.where(half_octave == step), math.ceil(2 ** (step / 2)), shape)
    return image.astype(np.float32)


def _of_one_reach(columns: Columns, reach: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    inside = (columns.position_px > -reach) & (columns.position_px < np.array(shape) - 1 + reach)
    columns = columns.where(inside[:, 0] & inside[:, 1])
    pad = 2 * reach + 1
    rows, cols = shape[0] + 2 * pad, shape[1] + 2 * pad
    offsets = np.arange(-reach, reach + 1)
    image = np.zeros(rows * cols)
    step = max(1, _AT_ONCE // len(offsets) ** 2)
    for first in range(0, len(columns), step):
        part = slice(first, first + step)
        base = np.rint(columns.position_px[part]).astype(np.int64)
        away = offsets[None, :, None] - (columns.position_px[part] - base)[:, None, :]
        profile = np.exp(-0.5 * np.square(away / columns.sigma_px[part, None, None])).astype(np.float32)
        profile[:, :, 0] *= columns.height[part, None]
        values = profile[:, :, None, 0] * profile[:, None, :, 1]
        corner = (base[:, 0] + pad) * cols + base[:, 1] + pad
        index = corner[:, None, None] + (offsets[:, None] * cols + offsets[None, :])
        image += np.bincount(index.ravel(), values.ravel(), minlength=image.size)
    return image.reshape(rows, cols)[pad:-pad, pad:-pad]
