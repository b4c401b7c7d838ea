"""Scan paths in pure numpy: patterns, the recipe that travels, and what it expands to.

Start reading at :mod:`scancontrol.paths.recipe`; a pattern is a small class such as those of
:mod:`scancontrol.paths.rasters`.
"""

from __future__ import annotations

from scancontrol.paths.coils import achieved_positions
from scancontrol.paths.geometry import Region
from scancontrol.paths.gridding import partial_frame
from scancontrol.paths.jittered import JitteredGrid
from scancontrol.paths.path import Coverage, PathChunk, ScanPath
from scancontrol.paths.pattern import CoverageGoal
from scancontrol.paths.points import Points, read_points
from scancontrol.paths.rasters import Interlaced, Raster, Serpentine
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.paths.spirals import Archimedean, Fermat
from scancontrol.paths.timing import Settle

__all__ = [
    "AnyPattern",
    "Archimedean",
    "Coverage",
    "CoverageGoal",
    "Fermat",
    "Interlaced",
    "JitteredGrid",
    "PathChunk",
    "PathRecipe",
    "Points",
    "Raster",
    "Region",
    "ScanPath",
    "Serpentine",
    "Settle",
    "achieved_positions",
    "partial_frame",
    "read_points",
]
