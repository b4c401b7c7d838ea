"""Where on the specimen the dose went: a sparse map in specimen coordinates, as fine as each field deserves.

A field of view is mapped on square cells whose side is a power of two of a nanometre, between 1/128 and 1/64 of the
field's width: never coarser than the cells of the microscope's own guard. Cells of all sizes share their corners, so
doses of fields of any size add up. Seen from one field, a finer map counts with its highest cell and a coarser one with
the cell around: the sum is never below the truth of the maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.units import A2_PER_NM2

__all__ = ["TILE", "AreaMap", "Patch", "patch_of"]

TILE = 64
"""Cells along the side of a tile, the piece in which the map is kept."""

MAX_TILES = 1 << 14  # half a gigabyte
_FIELD_CELLS = 64
_STEP = 1 << 18
_FARTHEST_NM = 1e9  # a metre: no stage goes farther

_Key = tuple[int, int, int]  # level, tile row, tile column


@dataclass(frozen=True, eq=False)
class Patch:
    """Dwell of some samples, on the cells of one level: cell (i, j) spans [row + i, row + i + 1) sides in y.

    ``exposure_us`` is (rows, cols); ``level`` the power of two that is the side in nm.
    """

    level: int
    row: int
    col: int
    exposure_us: NDArray[np.float64]

    @property
    def side_nm(self) -> float:
        """Side of a cell."""
        return math.ldexp(1.0, self.level)

    @property
    def total_us(self) -> float:
        """Dwell of all samples."""
        return float(self.exposure_us.sum())

    def dose_e_per_a2(self, electrons: float) -> NDArray[np.float64]:
        """Dose of each cell if these samples got ``electrons`` together, in proportion to their dwell."""
        total = self.total_us
        if total <= 0:
            return np.zeros_like(self.exposure_us)
        return self.exposure_us * (electrons / total / (self.side_nm**2 * A2_PER_NM2))


def patch_of(path: ScanPath, stage_nm: tuple[float, float], first: int = 0, stop: int | None = None) -> Patch:
    """Where samples ``first`` to ``stop`` of a path fall, with the centre of the field at ``stage_nm``, (y, x).

    Raises:
        InvalidInput: a stage position that cannot be.
    """
    for axis, at in zip("yx", stage_nm, strict=True):
        if not (math.isfinite(at) and abs(at) <= _FARTHEST_NM):
            raise InvalidInput(f"stage {axis} (nm)", at, f"is outside ±{_FARTHEST_NM:g}", "give the stage's position")
    rows, cols = path.shape
    size = (path.fov_nm * rows / cols, path.fov_nm)
    level = math.floor(math.log2(path.fov_nm / _FIELD_CELLS))
    side = math.ldexp(1.0, level)
    low = [at - length / 2 for at, length in zip(stage_nm, size, strict=True)]
    corner = [math.floor(at / side) for at in low]
    shape = [
        math.floor((at + length) / side) - first_cell + 1
        for at, length, first_cell in zip(low, size, corner, strict=True)
    ]
    total = np.zeros(shape[0] * shape[1])
    stop = path.count if stop is None else stop
    # A sample's dose lies on one pixel, or one cell where cells are smaller; so a raster comes out even.
    half = min(path.fov_nm / cols, side) / 2 / side
    for at in range(first, stop, _STEP):
        chunk = path.chunk(at, min(_STEP, stop - at))
        shares = [
            _shares((low[axis] + chunk.positions[:, axis] * size[axis]) / side - corner[axis], half, shape[axis])
            for axis in (0, 1)
        ]
        for row, of_row in shares[0]:
            for col, of_col in shares[1]:
                weights = chunk.dwell_us * of_row * of_col
                total += np.bincount(row * shape[1] + col, weights=weights, minlength=len(total))
    return Patch(level, corner[0], corner[1], total.reshape(shape))


def _shares(
    at: NDArray[np.float64], half: float, count: int
) -> tuple[tuple[NDArray[np.intp], NDArray[np.float64]], ...]:
    """The one or two cells that [at − half, at + half) lies on, along one axis, and the share of each."""
    low = np.clip(np.floor(at - half), 0, count - 1).astype(np.intp)
    high = np.clip(np.floor(at + half), 0, count - 1).astype(np.intp)
    upper = np.where(high > low, np.clip((at + half - high) / (2 * half), 0.0, 1.0), 0.0)
    return (low, 1 - upper), (high, upper)


class AreaMap:
    """Dose in e/Å² on tiles of cells, of as many levels as there were sizes of field."""

    def __init__(self) -> None:
        self.tiles: dict[_Key, NDArray[np.float64]] = {}

    def room_for(self, patch: Patch) -> bool:
        """Whether this patch can be added within the bound on memory."""
        new = sum(key not in self.tiles for key, _, _ in _overlaps(patch))
        return len(self.tiles) + new <= MAX_TILES

    def add(self, patch: Patch, electrons: float) -> None:
        """Count a patch that got so many electrons.

        Raises:
            InvalidInput: the map is full.
        """
        if not self.room_for(patch):
            raise InvalidInput("dose map", f"{len(self.tiles)} tiles", "is full", "name a new specimen")
        dose = patch.dose_e_per_a2(electrons)
        for key, inside, outside in _overlaps(patch):
            tile = self.tiles.setdefault(key, np.zeros((TILE, TILE)))
            tile[inside] += dose[outside]

    def under(self, patch: Patch) -> NDArray[np.float64]:
        """Dose so far, seen in the cells of ``patch``: an upper bound where fields of several sizes overlap."""
        total = np.zeros(patch.exposure_us.shape)
        for level in sorted({key[0] for key in self.tiles}):
            if level == patch.level:
                for key, inside, outside in _overlaps(patch):
                    if key in self.tiles:
                        total[outside] += self.tiles[key][inside]
            elif level < patch.level:
                total += self._highest_inside(patch, level)
            else:
                total += self._around(patch, level)
        return total

    def _around(self, patch: Patch, level: int) -> NDArray[np.float64]:
        """Of a coarser level: the cell around each cell."""
        up = level - patch.level
        rows, cols = patch.exposure_us.shape
        row = np.arange(patch.row, patch.row + rows) >> up
        col = np.arange(patch.col, patch.col + cols) >> up
        result = np.zeros((rows, cols))
        for tile_row in np.unique(row // TILE):
            for tile_col in np.unique(col // TILE):
                tile = self.tiles.get((level, int(tile_row), int(tile_col)))
                if tile is not None:
                    at_row, at_col = np.flatnonzero(row // TILE == tile_row), np.flatnonzero(col // TILE == tile_col)
                    result[np.ix_(at_row, at_col)] = tile[np.ix_(row[at_row] % TILE, col[at_col] % TILE)]
        return result

    def _highest_inside(self, patch: Patch, level: int) -> NDArray[np.float64]:
        """Of a finer level: the highest cell inside each cell."""
        down = patch.level - level
        rows, cols = patch.exposure_us.shape
        result = np.zeros((rows, cols))
        for (found, tile_row, tile_col), tile in self.tiles.items():
            if found != level:
                continue
            row = ((np.arange(TILE) + tile_row * TILE) >> down) - patch.row
            col = ((np.arange(TILE) + tile_col * TILE) >> down) - patch.col
            if row[-1] < 0 or row[0] >= rows or col[-1] < 0 or col[0] >= cols:
                continue
            at_row, at_col = np.flatnonzero((row >= 0) & (row < rows)), np.flatnonzero((col >= 0) & (col < cols))
            part = tile[np.ix_(at_row, at_col)]
            np.maximum.at(result, np.ix_(row[at_row], col[at_col]), part)
        return result

    def worst_e_per_a2(self) -> float:
        """The highest dose of any cell, fields of other sizes counted in."""
        worst = 0.0
        for (level, tile_row, tile_col), tile in self.tiles.items():
            patch = Patch(level, tile_row * TILE, tile_col * TILE, tile)
            worst = max(worst, float(self.under(patch).max()))
        return worst


def _overlaps(patch: Patch) -> list[tuple[_Key, tuple[slice, slice], tuple[slice, slice]]]:
    """The tiles under a patch: key, the part of the tile, the part of the patch."""
    rows, cols = patch.exposure_us.shape
    found = []
    for tile_row in range(patch.row // TILE, (patch.row + rows - 1) // TILE + 1):
        for tile_col in range(patch.col // TILE, (patch.col + cols - 1) // TILE + 1):
            inside, outside = [], []
            for tile, at, count in ((tile_row, patch.row, rows), (tile_col, patch.col, cols)):
                low, high = max(tile * TILE, at), min((tile + 1) * TILE, at + count)
                inside.append(slice(low - tile * TILE, high - tile * TILE))
                outside.append(slice(low - at, high - at))
            found.append(((patch.level, tile_row, tile_col), (inside[0], inside[1]), (outside[0], outside[1])))
    return found
