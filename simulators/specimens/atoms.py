"""Atoms, and the plain operations that make specimens of them: cut, turn, displace, replace, remove.

A specimen of atoms is a list of atoms in space; every defect is an operation on that list. Coordinates are
``(y, x, z)`` in nm, the beam runs along z, and the origin lies in the middle of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["MAX_ATOMS", "Atoms", "Cell", "block", "join"]

MAX_ATOMS = 6_000_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Atoms:
    """Positions (n, 3) as (y, x, z), atomic numbers (n,), thermal displacements (n,) in nm (rms, per axis)."""

    position_nm: Array
    number: NDArray[np.int16]
    thermal_nm: Array

    def __len__(self) -> int:
        return len(self.number)

    def keep(self, mask: NDArray[np.bool_]) -> Atoms:
        """Those atoms for which ``mask`` ``(n,)`` is true."""
        return Atoms(self.position_nm[mask], self.number[mask], self.thermal_nm[mask])

    def moved(self, by_nm: Array) -> Atoms:
        """Displaced by ``(3,)`` or ``(n, 3)`` nm."""
        return replace(self, position_nm=self.position_nm + by_nm)

    def turned(self, angle_deg: float) -> Atoms:
        """Turned about the beam through the origin."""
        angle = np.deg2rad(angle_deg)
        c, s = np.cos(angle), np.sin(angle)
        y, x, z = self.position_nm.T
        return replace(self, position_nm=np.stack((c * y - s * x, s * y + c * x, z), axis=1))

    def with_vacancies(self, fraction: float, number: int | None, generator: np.random.Generator) -> Atoms:
        """Without a random ``fraction`` of its atoms (of one element, if ``number`` says which)."""
        gone = generator.random(len(self)) < fraction
        if number is not None:
            gone &= self.number == number
        return self.keep(~gone)

    def doped(self, fraction: float, host: int, dopant: int, generator: np.random.Generator) -> Atoms:
        """With a random ``fraction`` of the element ``host`` replaced by ``dopant``."""
        chosen = (self.number == host) & (generator.random(len(self)) < fraction)
        return replace(self, number=np.where(chosen, dopant, self.number).astype(np.int16))


def join(*parts: Atoms) -> Atoms:
    """All atoms of all parts."""
    return Atoms(
        np.concatenate([p.position_nm for p in parts]) if parts else np.zeros((0, 3)),
        np.concatenate([p.number for p in parts]) if parts else np.zeros(0, np.int16),
        np.concatenate([p.thermal_nm for p in parts]) if parts else np.zeros(0),
    )


@dataclass(frozen=True)
class Cell:
    """A rectangular cell: lengths (y, x, z) in nm, and its atoms as rows ``(Z, y, x, z)`` in fractions of the cell.

    ``layered`` crystals are one cell thick whatever thickness is asked for.

    Raises:
        InvalidInput: a structure that cannot be.
    """

    name: str
    lengths_nm: tuple[float, float, float]
    basis: tuple[tuple[int, float, float, float], ...]
    thermal_nm: float = 0.008
    layered: bool = False

    def __post_init__(self) -> None:
        remedy = "mend the structure"
        if not all(np.isfinite(v) and 0.05 <= v <= 50 for v in self.lengths_nm):
            raise InvalidInput(f"structure {self.name}: cell_nm", self.lengths_nm, "is outside 0.05 to 50 nm", remedy)
        if not self.basis:
            raise InvalidInput(f"structure {self.name}: atoms", "[]", "names no atom", remedy)
        if not 0 <= self.thermal_nm <= 0.1:
            raise InvalidInput(f"structure {self.name}: thermal_nm", self.thermal_nm, "is outside 0 to 0.1", remedy)
        for row in self.basis:
            if not 1 <= row[0] <= 118:
                raise InvalidInput(f"structure {self.name}: atomic number", row[0], "is outside 1 to 118", remedy)
            if not all(np.isfinite(v) and 0 <= v < 1 for v in row[1:]):
                raise InvalidInput(f"structure {self.name}: position", row[1:], "is outside the cell, 0 to 1", remedy)
        positions = np.array([row[1:] for row in self.basis])
        if len(positions) > 1:
            apart = positions[:, None] - positions[None]
            apart = (apart - np.round(apart)) * np.asarray(self.lengths_nm)
            distance = np.linalg.norm(apart, axis=2) + 9.0 * np.eye(len(positions))
            if distance.min() < 0.05:
                raise InvalidInput(
                    f"structure {self.name}: distance between two atoms",
                    f"{distance.min():.3g} nm",
                    "is below 0.05 nm",
                    remedy,
                )


def block(cell: Cell, size_nm: tuple[float, float], thickness_nm: float) -> Atoms:
    """Whole cells that cover ``size_nm`` (height, width) and ``thickness_nm``, centred on the origin, bottom at z = 0.

    Raises:
        InvalidInput: more than :data:`MAX_ATOMS` atoms would be needed.
    """
    a, b, c = cell.lengths_nm
    rows, cols = max(1, round(size_nm[0] / a)), max(1, round(size_nm[1] / b))
    layers = 1 if cell.layered else max(1, round(thickness_nm / c))
    count = rows * cols * layers * len(cell.basis)
    if count > MAX_ATOMS:
        raise InvalidInput(
            "atoms of the specimen", count, f"is above {MAX_ATOMS}", "lower specimen.size_nm or specimen.thickness_nm"
        )
    basis = np.array([row[1:] for row in cell.basis])
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), np.arange(layers), indexing="ij"), axis=-1)
    position = (grid.reshape(-1, 1, 3) + basis).reshape(-1, 3) * np.array(cell.lengths_nm)
    position[:, 0] -= rows * a / 2
    position[:, 1] -= cols * b / 2
    number = np.tile(np.array([row[0] for row in cell.basis], np.int16), rows * cols * layers)
    return Atoms(position, number, np.full(len(number), cell.thermal_nm))
