"""The poster's own paths, which its author drew once for each network: spirals, blurred or not, and jittered grids.

References: Ede & Beanland 2020, https://doi.org/10.1038/s41598-020-65261-0; the patterns are those of
:mod:`scancontrol.paths.patterns.ede`.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from scancontrol.paths import PathRecipe, ScanPath, expand
from scancontrol.paths.patterns.ede import EdeGrid, EdeSpiral

__all__ = ["AUTHORS_KINDS", "authors_path", "authors_scan"]

AUTHORS_KINDS = ("ede_spiral", "ede_spiral_binary", "ede_grid")
_FRACTION_OF_COVERAGE = 0.6  # his grids of "1/10", "1/20", "1/40" have f = 0.055, 0.03, 0.013


@lru_cache(maxsize=32)
def authors_path(kind: str, size: int, coverage: float) -> tuple[Tensor, Tensor]:
    """Positions (n, 2) in pixels [0, size) of the one path of that kind, and each sample's dwell (n,), at most about 1.

    ``coverage`` is what he calls it: the inverse of the distance of a spiral's turns.
    """
    path = authors_scan(kind, size, coverage)
    return torch.from_numpy(path.positions * size), torch.from_numpy(path.dwell_us).float()


def authors_scan(kind: str, size: int, coverage: float) -> ScanPath:
    """The same as a scan of a square frame of ``size`` pixels."""
    patterns: dict[str, EdeSpiral | EdeGrid] = {
        "ede_spiral": EdeSpiral(one_in=1 / coverage, blurred=True),
        "ede_spiral_binary": EdeSpiral(one_in=1 / coverage),
        "ede_grid": EdeGrid(fraction=_FRACTION_OF_COVERAGE * coverage),
    }
    return expand(PathRecipe(pattern=patterns[kind], shape=(size, size), fov_nm=float(size), dwell_us=1.0))
