"""Where on a coarse map of the field the samples of a path fall, worked out once per path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths import ScanPath

__all__ = ["CELLS", "PathCells"]

CELLS = 64
"""Cells of the map along the field's width; cells are square."""

_KEPT_SAMPLES = 1 << 22  # up to this many samples the cell of each is kept, 8 bytes a sample
_BLOCK = 1 << 18  # of longer paths the exposure per cell is kept for each block of so many samples
_A2_PER_NM2 = 100.0


class PathCells:
    """The cell of each sample and its dwell; a map is ``(rows, CELLS)``, flattened.

    Making one expands the whole path, so a server does it outside its loop.
    """

    def __init__(self, path: ScanPath) -> None:
        self.path = path
        rows, cols = path.shape
        self._scale = (CELLS * rows / cols, CELLS)  # fractions of the height and of the width, to cells
        self.rows = max(1, math.ceil(self._scale[0]))
        self.cell_a2 = (path.fov_nm / CELLS) ** 2 * _A2_PER_NM2
        self._samples: tuple[NDArray[np.uint32], NDArray[np.float32]] | None = None
        self._blocks: NDArray[np.float64] | None = None
        if path.count <= _KEPT_SAMPLES:
            parts = [self._locate(at, min(_BLOCK, path.count - at)) for at in range(0, path.count, _BLOCK)]
            self._samples = (np.concatenate([cells for cells, _ in parts]), np.concatenate([us for _, us in parts]))
        else:
            self._blocks = np.stack(
                [self._sum(*self._locate(at, min(_BLOCK, path.count - at))) for at in range(0, path.count, _BLOCK)]
            )

    def exposure_us(self, first: int, count: int) -> NDArray[np.float64]:
        """Dwell of these samples by cell, moves left out."""
        if self._samples is not None:
            cells, dwell_us = self._samples
            return self._sum(cells[first : first + count], dwell_us[first : first + count])
        return self._sum(*self._locate(first, count))

    def exposure_from_us(self, first: int) -> NDArray[np.float64]:
        """Dwell of all samples from ``first`` on by cell; for a long path, from the start of its block on."""
        if self._blocks is None:
            return self.exposure_us(first, self.path.count - first)
        rest: NDArray[np.float64] = self._blocks[first // _BLOCK :].sum(axis=0)
        return rest

    def _locate(self, first: int, count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        part = self.path.chunk(first, count)
        y = np.minimum((part.positions[:, 0] * self._scale[0]).astype(np.uint32), self.rows - 1)
        x = np.minimum((part.positions[:, 1] * self._scale[1]).astype(np.uint32), CELLS - 1)
        return (y * CELLS + x).astype(np.uint32), part.dwell_us.astype(np.float32)

    def _sum(self, cells: NDArray[np.uint32], dwell_us: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.bincount(cells, weights=dwell_us, minlength=self.rows * CELLS).astype(np.float64, copy=False)
