"""Scan paths in pure numpy: patterns, the recipe that travels, and what it expands to.

Start reading at :mod:`scancontrol.paths.recipe`; a pattern is a small class such as those of
:mod:`scancontrol.paths.patterns.rasters`.
"""

from __future__ import annotations

from scancontrol.paths.coils import Lag, achieved_positions, lagged
from scancontrol.paths.geometry import Region
from scancontrol.paths.gridding import partial_frame
from scancontrol.paths.motion import Motion, motion
from scancontrol.paths.path import Coverage, PathChunk, ScanPath
from scancontrol.paths.pattern import CoverageGoal
from scancontrol.paths.patterns.adaptive import Adaptive
from scancontrol.paths.patterns.crossed import Crossed
from scancontrol.paths.patterns.ede import EdeGrid, EdeSpiral
from scancontrol.paths.patterns.hilbert import Hilbert
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.lissajous import Lissajous
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.rasters import Interlaced, Raster, Serpentine
from scancontrol.paths.patterns.scattered import UniformRandom
from scancontrol.paths.patterns.spirals import Archimedean, Fermat
from scancontrol.paths.patterns.walks import LineHop, MomentumWalk
from scancontrol.paths.recipe import AnyPattern, PathRecipe
from scancontrol.paths.solving import expand, solve
from scancontrol.paths.timing import Settle

__all__ = [
    "Adaptive",
    "AnyPattern",
    "Archimedean",
    "Coverage",
    "CoverageGoal",
    "Crossed",
    "EdeGrid",
    "EdeSpiral",
    "Fermat",
    "Hilbert",
    "Interlaced",
    "JitteredGrid",
    "Lag",
    "LineHop",
    "Lissajous",
    "MomentumWalk",
    "Motion",
    "PathChunk",
    "PathRecipe",
    "Points",
    "Raster",
    "Region",
    "ScanPath",
    "Serpentine",
    "Settle",
    "UniformRandom",
    "achieved_positions",
    "expand",
    "lagged",
    "motion",
    "partial_frame",
    "solve",
]
