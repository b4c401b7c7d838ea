"""Kinds of crystal that fill the field: perfect, strained, bent, on a wedge, of several grains, random.

All but the random ones have 3 % of vacancies at 55 % of their height.

Every kind is a function of the field's shape, a generator of random numbers and a period in pixels (None: drawn).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulators.specimens.truths.columns import (
    Atom,
    Cell,
    Displacement,
    hexagonal,
    laid,
    oblique,
    rendered,
    square,
    two_species,
    with_dopants,
    with_vacancies,
)
from simulators.specimens.truths.truth import ColumnKind, Columns, Truth

__all__ = [
    "LONGEST_PERIOD_PX",
    "SHORTEST_PERIOD_PX",
    "antiphase",
    "bent",
    "drawn_cell",
    "drawn_period_px",
    "perfect",
    "random_cell",
    "random_columns",
    "random_grains",
    "strained",
    "tilt_boundary",
    "two_grains",
    "wavy",
    "wedge",
    "with_defects",
]

SHORTEST_PERIOD_PX, LONGEST_PERIOD_PX = 4.0, 30.0
_BACKGROUND = 0.05
_VACANCIES, _VACANCY_HEIGHT = 0.03, 0.55
_DOPANTS, _DOPANT_HEIGHT = 0.02, 1.5
_STRAIN = 0.02

Shape = tuple[int, int]
Kind = Callable[[Shape, np.random.Generator, float | None], Truth]


def drawn_period_px(rng: np.random.Generator) -> float:
    """A period, as often in each octave."""
    return float(np.exp(rng.uniform(math.log(SHORTEST_PERIOD_PX), math.log(LONGEST_PERIOD_PX))))


def drawn_cell(rng: np.random.Generator, period_px: float | None = None) -> Cell:
    """A cell of any symmetry with one to five columns that keep apart, of any height and width, turned anyhow."""
    period = drawn_period_px(rng) if period_px is None else period_px
    cell = oblique(period, float(rng.uniform(1.0, 1.8)), float(rng.uniform(50, 130)))
    vectors = np.array(cell.vectors_px)
    spread = float(rng.uniform(0.1, 0.2))
    atoms: list[Atom] = []
    for wanted in range(int(rng.choice(5, p=(0.3, 0.3, 0.2, 0.1, 0.1))) + 1):
        for _ in range(8):
            place = rng.random(2)
            gaps = [(place - np.array(atom.place) + 0.5) % 1.0 - 0.5 for atom in atoms]
            if all(math.hypot(*(gap @ vectors)) > 0.4 * period for gap in gaps):
                sigma_px = max(0.6, period * spread * float(rng.uniform(0.8, 1.25)))
                height = float(rng.uniform(0.15, 1.0)) if wanted else 1.0
                atoms.append(Atom((float(place[0]), float(place[1])), height, sigma_px))
                break
    return replace(cell, atoms=tuple(atoms)).turned(float(rng.uniform(0, 360)))


def with_defects(columns: Columns, rng: np.random.Generator) -> Columns:
    """Any share, up to a twelfth, of vacancies of any depth and of dopants of any strength; often none."""
    if rng.random() < 0.7:
        columns = with_vacancies(columns, float(rng.uniform(0, 0.08)), float(rng.uniform(0, 0.8)), rng)
    if rng.random() < 0.3:
        columns = with_dopants(columns, float(rng.uniform(0, 0.04)), float(rng.uniform(1.2, 2.0)), rng)
    return columns


def _turned(cell: Cell, rng: np.random.Generator) -> Cell:
    return cell.turned(float(rng.uniform(0, 360)))


def _offset(rng: np.random.Generator) -> tuple[float, float]:
    y, x = rng.random(2)
    return float(y), float(x)


def _period(rng: np.random.Generator, period_px: float | None) -> float:
    return drawn_period_px(rng) if period_px is None else period_px


def _truth(
    kind: str, shape: Shape, columns: Columns, period_px: float | None, background: float = _BACKGROUND
) -> Truth:
    return Truth(kind, rendered(columns, shape) + np.float32(background), columns, period_px=period_px)


def _ordinary_defects(columns: Columns, rng: np.random.Generator) -> Columns:
    return with_vacancies(columns, _VACANCIES, _VACANCY_HEIGHT, rng)


def perfect(kind: str, cell_of: Callable[[float], Cell], dopants: float = 0.0) -> Kind:
    """A lattice without distortion, with 3 % of vacancies at 55 % of the height, and dopants if asked."""

    def built(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
        cell = _turned(cell_of(_period(rng, period_px)), rng)
        columns = _ordinary_defects(laid(cell, shape, _offset(rng)), rng)
        if dopants:
            columns = with_dopants(columns, dopants, _DOPANT_HEIGHT, rng)
        return _truth(kind, shape, columns, cell.period_px)

    return built


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * math.pi)
    return np.array((math.sin(angle), math.cos(angle)))


def _parabola(shape: Shape, along: NDArray[np.float64], moved: NDArray[np.float64]) -> Displacement:
    """Displacement along ``moved`` whose gradient along ``along`` goes from -2 to 2 % across the field."""
    half = max(shape) / 2
    middle = (np.array(shape) - 1) / 2

    def displacement(sites: NDArray[np.float64]) -> NDArray[np.float64]:
        way = (sites - middle) @ along
        return np.outer(_STRAIN * np.square(way) / (2 * half), moved)

    return displacement


def wavy(shape: Shape, rng: np.random.Generator, strongest: float) -> Displacement:
    """A smooth random displacement whose gradients stay below ``strongest``."""
    waves = []
    count = int(rng.integers(1, 5))
    for _ in range(count):
        wave = 2 * math.pi * _direction(rng) * float(rng.uniform(0.3, 2.0)) / max(shape)
        reach = strongest / count / float(np.linalg.norm(wave))
        waves.append((wave, reach * _direction(rng), float(rng.uniform(0, 2 * math.pi))))

    def displacement(sites: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = np.zeros_like(sites)
        for wave, reach, phase in waves:
            moved += np.outer(np.sin(sites @ wave + phase), reach)
        return moved

    return displacement


def strained(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species, whose period grows from 2 % too short to 2 % too long across the field."""
    along = _direction(rng)
    return _displaced("strained", shape, rng, period_px, _parabola(shape, along, along))


def bent(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species, whose rows turn from -2 to 2 % (1.1°) across the field."""
    along = _direction(rng)
    return _displaced("bent", shape, rng, period_px, _parabola(shape, along, along[::-1] * (1, -1)))


def _displaced(
    kind: str, shape: Shape, rng: np.random.Generator, period_px: float | None, displacement: Displacement
) -> Truth:
    cell = _turned(two_species(_period(rng, period_px)), rng)
    columns = _ordinary_defects(laid(cell, shape, _offset(rng), displacement), rng)
    return _truth(kind, shape, columns, cell.period_px)


def _ramp(shape: Shape, rng: np.random.Generator, thinnest: float) -> tuple[NDArray[np.float64], float]:
    """A plane that goes from ``thinnest`` to 1 across the field, as a gradient and its value in the middle."""
    return _direction(rng) * (1 - thinnest) / math.hypot(*shape), (1 + thinnest) / 2


def wedge(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species on a thickness that falls to 0.3 across the field: heights and background alike."""
    cell = _turned(two_species(_period(rng, period_px)), rng)
    columns = _ordinary_defects(laid(cell, shape, _offset(rng)), rng)
    columns, background = _thinned(columns, shape, *_ramp(shape, rng, 0.3))
    return Truth("wedge", rendered(columns, shape) + background, columns, period_px=cell.period_px)


def _thinned(
    columns: Columns, shape: Shape, gradient: NDArray[np.float64], middle: float
) -> tuple[Columns, NDArray[np.float32]]:
    centre = (np.array(shape) - 1) / 2
    thickness = np.clip((columns.position_px - centre) @ gradient + middle, 0.0, None)
    thinned = replace(columns, height=columns.height * thickness, ordinary_height=columns.ordinary_height * thickness)
    rows, cols = (np.arange(n, dtype=np.float32) - c for n, c in zip(shape, centre, strict=True))
    plane = gradient[0] * rows[:, None] + gradient[1] * cols[None, :] + middle
    return thinned, np.asarray(3 * _BACKGROUND * plane, np.float32)


def _beside(shape: Shape, rng: np.random.Generator, period_px: float, left: Columns, right: Columns) -> Columns:
    """``left`` and ``right`` of a line near the middle, no closer than a third of a period; what is near is marked."""
    normal = _direction(rng)
    point = (np.array(shape) - 1) / 2 + rng.uniform(-0.15, 0.15, 2) * shape
    parts = []
    for columns, side in ((left, 1.0), (right, -1.0)):
        depth = side * ((columns.position_px - point) @ normal)
        kept = columns.where(depth > period_px / 6)
        near = (depth[depth > period_px / 6] < period_px) & ~kept.defect
        parts.append(replace(kept, kind=np.where(near, np.int8(ColumnKind.BOUNDARY), kept.kind)))
    return Columns.joined(*parts)


def _bicrystal(
    kind: str, shape: Shape, rng: np.random.Generator, cells: tuple[Cell, Cell], shift: tuple[float, float] = (0, 0)
) -> Truth:
    offset = _offset(rng)
    left = laid(cells[0], shape, offset)
    right = laid(cells[1], shape, (offset[0] + shift[0], offset[1] + shift[1]))
    period = min(cell.period_px for cell in cells)
    columns = _beside(shape, rng, period, _ordinary_defects(left, rng), _ordinary_defects(right, rng))
    return _truth(kind, shape, columns, period)


def antiphase(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species that change places beyond a boundary."""
    cell = _turned(two_species(_period(rng, period_px)), rng)
    return _bicrystal("antiphase", shape, rng, (cell, cell), (0.5, 0.5))


def tilt_boundary(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species, turned by 3 to 20° beyond a boundary."""
    cell = _turned(two_species(_period(rng, period_px)), rng)
    return _bicrystal("tilt_boundary", shape, rng, (cell, cell.turned(float(rng.uniform(3, 20)))))


def two_grains(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two species beside a hexagonal crystal of another period and direction."""
    period = _period(rng, period_px)
    first, second = two_species(period), hexagonal(period * float(rng.uniform(1.0, 1.3)))
    return _bicrystal("two_grains", shape, rng, (_turned(first, rng), _turned(second, rng)))


def random_cell(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Any cell, any defects, any smooth distortion up to 3 %, any wedge, on any background."""
    cell = drawn_cell(rng, period_px)
    displacement = wavy(shape, rng, float(rng.uniform(0, 0.03))) if rng.random() < 0.6 else None
    columns = with_defects(laid(cell, shape, _offset(rng), displacement), rng)
    if rng.random() < 0.5:
        columns, background = _thinned(columns, shape, *_ramp(shape, rng, float(rng.uniform(0.1, 1.0))))
        return Truth("random_cell", rendered(columns, shape) + background, columns, period_px=cell.period_px)
    return _truth("random_cell", shape, columns, cell.period_px, float(rng.uniform(0, 0.4)))


def random_grains(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Two to six grains of any cell, or of one cell in any directions, between straight boundaries."""
    count = int(rng.integers(2, 7))
    seeds = rng.random((count, 2)) * shape
    common = drawn_cell(rng, period_px)
    alike = rng.random() < 0.5
    parts = []
    for number in range(count):
        cell = _turned(common, rng) if alike else drawn_cell(rng, period_px)
        columns = laid(cell, shape, _offset(rng))
        for other in np.delete(seeds, number, axis=0):
            towards = (other - seeds[number]) / np.linalg.norm(other - seeds[number])
            beyond = (columns.position_px - (other + seeds[number]) / 2) @ towards
            columns = columns.where(beyond < -cell.period_px / 6)
        parts.append(with_defects(columns, rng))
    return _truth("random_grains", shape, Columns.joined(*parts), None, float(rng.uniform(0, 0.3)))


def random_columns(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Columns without a lattice: one at most in each cell of a hidden grid, anywhere in it, of any height."""
    period = _period(rng, period_px)
    cell = square(period)
    columns = laid(_turned(cell, rng), shape, _offset(rng))
    columns = columns.where(rng.random(len(columns)) < rng.uniform(0.2, 1.0))
    moved = rng.uniform(-1, 1, (len(columns), 2)) * period * float(rng.uniform(0.05, 0.4))
    height = rng.uniform(float(rng.uniform(0.1, 0.9)), 1.0, len(columns))
    columns = replace(
        columns, position_px=columns.position_px + moved, height=height, ordinary_height=height, displacement_px=moved
    )
    return _truth("random_columns", shape, columns, None, float(rng.uniform(0, 0.4)))
