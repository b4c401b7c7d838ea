"""What is known of a noise-free specimen: its picture, its columns, and its sharp edges."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_COLUMNS", "NO_EDGES", "ColumnKind", "Columns", "Edges", "Truth"]


class ColumnKind(IntEnum):
    """What a column is beside its species. Everything but ordinary columns is a defect."""

    ORDINARY = 0
    VACANCY = 1
    DOPANT = 2
    BOUNDARY = 3  # within a period of a boundary between two lattices


@dataclass(frozen=True)
class Columns:
    """Atomic columns: Gaussian peaks on a background. All arrays have one entry for each of n columns."""

    position_px: NDArray[np.float64]  # (n, 2) as (y, x), centres of pixels at whole numbers
    height: NDArray[np.float64]  # (n,) of the peak above the background
    ordinary_height: NDArray[np.float64]  # (n,) that a column without a defect would have here
    sigma_px: NDArray[np.float64]  # (n,)
    kind: NDArray[np.int8]  # (n,) of ColumnKind
    species: NDArray[np.int8]  # (n,) 0 for the brightest columns of a cell, 1 for the next that its cell names, …
    displacement_px: NDArray[np.float64]  # (n, 2) from the site of the unstrained lattice

    def __len__(self) -> int:
        return len(self.height)

    def where(self, keep: NDArray[np.bool_]) -> Columns:
        """The columns where ``keep`` (n,) is true."""
        return Columns(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})

    @property
    def defect(self) -> NDArray[np.bool_]:
        """(n,) whether a column is a vacancy, a dopant or at a boundary."""
        return np.asarray(self.kind != ColumnKind.ORDINARY)

    @staticmethod
    def joined(*parts: Columns) -> Columns:
        """All columns of ``parts``, in their order."""
        if not parts:
            return NO_COLUMNS
        return Columns(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Columns)}
        )


NO_COLUMNS = Columns(
    position_px=np.zeros((0, 2)),
    height=np.zeros(0),
    ordinary_height=np.zeros(0),
    sigma_px=np.zeros(0),
    kind=np.zeros(0, np.int8),
    species=np.zeros(0, np.int8),
    displacement_px=np.zeros((0, 2)),
)


@dataclass(frozen=True)
class Edges:
    """Points on sharp edges, with room on both sides to measure them. All arrays have one entry for each of n."""

    position_px: NDArray[np.float64]  # (n, 2) as (y, x)
    normal: NDArray[np.float64]  # (n, 2), unit vectors from bright to dark
    width_px: NDArray[np.float64]  # (n,) from 10 to 90 % of the step
    reach_px: NDArray[np.float64]  # (n,) to either side along the normal, within which the picture is only this edge

    def __len__(self) -> int:
        return len(self.width_px)


NO_EDGES = Edges(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Truth:
    """A specimen without noise.

    ``image`` is float32 (rows, cols) at full resolution, between 0 and about 1 (a bright column's peak);
    ``period_px`` the shortest period of its lattice, None where it has none or several.
    """

    kind: str
    image: NDArray[np.float32]
    columns: Columns = NO_COLUMNS
    edges: Edges = NO_EDGES
    period_px: float | None = None
