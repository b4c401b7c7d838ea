"""Where on a coarse map of the field the samples of a path fall, worked out once per path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths import ScanPath

__all__ = ["CELLS", "PathCells"]

CELLS = 64
"""Cells of the map along the field's width; cells are square."""

_KEPT_SAMPLES = 1 << 22  # up to this many samples the cell of each is kept, 16 bytes a sample at most
_BLOCK = 1 << 18  # of longer paths the exposure per cell is kept for each block of so many samples
_A2_PER_NM2 = 100.0


_Located = tuple[NDArray[np.intp], NDArray[np.float64]]  # cell of each sample, dwell of each or of all


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
        self._samples: _Located | None = None
        self._blocks: NDArray[np.float64] | None = None
        if path.count <= _KEPT_SAMPLES:
            parts = [self._locate(at, min(_BLOCK, path.count - at)) for at in range(0, path.count, _BLOCK)]
            dwell_us = np.concatenate([us for _, us in parts])
            if (dwell_us == dwell_us[0]).all():
                dwell_us = dwell_us[:1].copy()  # one for all: counting is several times faster than summing
            self._samples = (np.concatenate([cells for cells, _ in parts]), dwell_us)
        else:
            self._blocks = np.stack(
                [self._sum(*self._locate(at, min(_BLOCK, path.count - at))) for at in range(0, path.count, _BLOCK)]
            )

    def exposure_us(self, first: int, count: int) -> NDArray[np.float64]:
        """Dwell of these samples by cell, moves left out."""
        if self._samples is not None:
            cells, dwell_us = self._samples
            part = slice(first, first + count)
            return self._sum(cells[part], dwell_us[part] if len(dwell_us) > 1 else dwell_us)
        return self._sum(*self._locate(first, count))

    def exposure_from_us(self, first: int) -> NDArray[np.float64]:
        """Dwell of all samples from ``first`` on by cell; for a long path, from the start of its block on."""
        if self._blocks is None:
            return self.exposure_us(first, self.path.count - first)
        rest: NDArray[np.float64] = self._blocks[first // _BLOCK :].sum(axis=0)
        return rest

    def _locate(self, first: int, count: int) -> _Located:
        part = self.path.chunk(first, count)
        y = np.minimum((part.positions[:, 0] * self._scale[0]).astype(np.intp), self.rows - 1)
        x = np.minimum((part.positions[:, 1] * self._scale[1]).astype(np.intp), CELLS - 1)
        return y * CELLS + x, part.dwell_us

    def _sum(self, cells: NDArray[np.intp], dwell_us: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(dwell_us) == 1:
            us: NDArray[np.float64] = np.bincount(cells, minlength=self.rows * CELLS).astype(np.float64)
            us *= dwell_us[0]
            return us
        return np.bincount(cells, weights=dwell_us, minlength=self.rows * CELLS).astype(np.float64, copy=False)
