"""Where on a coarse map of the field the samples of a path fall, worked out once per path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scancontrol.dose.electrons import AREA_CELLS
from scancontrol.paths import ScanPath
from scancontrol.units import A2_PER_NM2

__all__ = ["CELLS", "PathCells"]

CELLS = AREA_CELLS
"""Cells of the map along the field's width; cells are square."""

_KEPT_SAMPLES = 1 << 22  # up to this many samples the cell of each is kept, 24 bytes a sample at most
_BLOCK = 1 << 18  # of longer paths the exposure per cell is kept for each block of so many samples


_Located = tuple[NDArray[np.intp], NDArray[np.float64]]  # cell of each sample, dwell of each


class _Runs:
    """Samples that follow on one another within one cell, as one: a chunk of a raster crosses few cells."""

    def __init__(self, cells: NDArray[np.intp], dwell_us: NDArray[np.float64]) -> None:
        starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
        self._cells = cells[starts]
        self._bounds = np.append(starts, len(cells))
        same = bool((dwell_us == dwell_us[0]).all())
        self._each_us = float(dwell_us[0]) if same else None
        self._before_us = None if same else np.concatenate([[0.0], np.cumsum(dwell_us)])

    def located(self, first: int, count: int) -> _Located:
        """Cell and dwell of each run that these samples are part of, as far as they are."""
        low = int(np.searchsorted(self._bounds, first, side="right")) - 1
        high = int(np.searchsorted(self._bounds, first + count, side="left"))
        bounds = self._bounds[low : high + 1].copy()
        bounds[0], bounds[-1] = first, first + count
        if self._before_us is not None:
            before_us = self._before_us[bounds]
            return self._cells[low:high], before_us[1:] - before_us[:-1]
        return self._cells[low:high], (bounds[1:] - bounds[:-1]) * self._each_us


class PathCells:
    """The cell of each sample and its dwell; a map is ``(rows, CELLS)``, flattened.

    Making one expands the whole path, so a server does it outside its loop.
    """

    def __init__(self, path: ScanPath) -> None:
        self.path = path
        rows, cols = path.shape
        self._scale = (CELLS * rows / cols, CELLS)  # fractions of the height and of the width, to cells
        self.rows = max(1, math.ceil(self._scale[0]))
        self.cell_a2 = (path.fov_nm / CELLS) ** 2 * A2_PER_NM2
        self._runs: _Runs | None = None
        self._blocks = np.zeros((0, self.rows * CELLS))
        if path.count <= _KEPT_SAMPLES:
            parts = [self._locate(at, min(_BLOCK, path.count - at)) for at in range(0, path.count, _BLOCK)]
            self._runs = _Runs(np.concatenate([cells for cells, _ in parts]), np.concatenate([us for _, us in parts]))
        else:
            self._blocks = np.stack(
                [self._map(*self._locate(at, min(_BLOCK, path.count - at))) for at in range(0, path.count, _BLOCK)]
            )

    def exposure_us(self, first: int, count: int) -> tuple[slice, NDArray[np.float64]]:
        """Dwell of these samples, moves left out, by cell: which stretch of the map, and what it gets."""
        cells, dwell_us = self._locate(first, count) if self._runs is None else self._runs.located(first, count)
        lowest, highest = int(cells.min()), int(cells.max())
        us = np.bincount(cells - lowest, weights=dwell_us)
        return slice(lowest, highest + 1), us.astype(np.float64, copy=False)

    def exposure_from_us(self, first: int) -> NDArray[np.float64]:
        """Dwell of all samples from ``first`` on by cell; for a long path, from the start of its block on."""
        if self._runs is not None:
            return self._map(*self._runs.located(first, self.path.count - first))
        rest: NDArray[np.float64] = self._blocks[first // _BLOCK :].sum(axis=0)
        return rest

    def _locate(self, first: int, count: int) -> _Located:
        part = self.path.chunk(first, count)
        y = np.minimum((part.positions[:, 0] * self._scale[0]).astype(np.intp), self.rows - 1)
        x = np.minimum((part.positions[:, 1] * self._scale[1]).astype(np.intp), CELLS - 1)
        return y * CELLS + x, part.dwell_us

    def _map(self, cells: NDArray[np.intp], dwell_us: NDArray[np.float64]) -> NDArray[np.float64]:
        us = np.bincount(cells, weights=dwell_us, minlength=self.rows * CELLS)
        return us.astype(np.float64, copy=False)
