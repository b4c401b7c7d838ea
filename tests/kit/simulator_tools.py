"""What the tests of this room share: small microscopes, small paths, a loop that reads a frame."""

from __future__ import annotations

import msgspec
import numpy as np

from scancontrol.paths import (
    Archimedean,
    CoverageGoal,
    JitteredGrid,
    PathRecipe,
    Raster,
    ScanPath,
    Serpentine,
    Settle,
    expand,
)
from simulators.config import SimulatorConfig
from simulators.microscope import SimulatedMicroscope
from simulators.specimens.library import Crystal

SMALL = Crystal(structure="srtio3", size_nm=3.0, thickness_nm=4.0)
PATTERNS = {
    "raster": Raster(),
    "serpentine": Serpentine(),
    "spiral": Archimedean(coverage=CoverageGoal(value=0.2)),
    "jittered": JitteredGrid(coverage=CoverageGoal(value=0.2), seed=3),
}


def path(
    pattern: str = "raster", pixels: int = 64, dwell_us: float = 2.0, fov_nm: float = 3.0, settle: bool = False
) -> ScanPath:
    recipe = PathRecipe(
        pattern=PATTERNS[pattern],
        shape=(pixels, pixels),
        fov_nm=fov_nm,
        dwell_us=dwell_us,
        settle=Settle(time_constant_us=1.0) if settle else None,
    )
    return expand(recipe)


def config(**changes: object) -> SimulatorConfig:
    return msgspec.structs.replace(SimulatorConfig(pace="fast", specimen=SMALL), **changes)


def acquire(
    microscope: SimulatedMicroscope, scan: ScanPath, frame: int = 0, sizes: tuple[int, ...] = (1 << 16,), first: int = 0
) -> tuple[np.ndarray, float]:
    """Values (channels, n) and electrons of one frame, read in portions of the given sizes, cycled."""
    microscope.begin(scan, first, frame)
    values, electrons, turn = [], 0.0, 0
    left = scan.count - first
    while left:
        block = microscope.read(sizes[turn % len(sizes)])
        turn += 1
        if block is not None:
            assert block.values.shape[1] <= max(sizes)
            values.append(block.values)
            electrons += block.electrons
            left -= block.values.shape[1]
    return np.concatenate(values, axis=1), electrons
