"""Light that lingers is told by readings that rise faster than they fall."""

from __future__ import annotations

import numpy as np
import pytest

from restore.estimate.fading import FadingWatch
from restore.estimate.readings import judge
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, Raster, ScanPath, expand

SHAPE = (160, 160)
GRID, SPIRAL = JitteredGrid(coverage=CoverageGoal(value=0.1), seed=1), Archimedean(coverage=CoverageGoal(value=0.1))


def _path(pattern: object) -> ScanPath:
    return expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=160.0, dwell_us=1.0))  # type: ignore[arg-type]


def _particles(seed: int) -> np.ndarray:
    """Bright discs on a dark ground, some pixels wide."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.full(SHAPE, 0.1)
    for row, col, radius in zip(*random.uniform(0, 160, (2, 150)), random.uniform(1, 3, 150), strict=True):
        image[np.hypot(y - row, x - col) < radius] = 1
    return image


def _seen(pattern: object, decay_us: float, seed: int, upside_down: bool = False) -> bool:
    path = _path(pattern)
    geometry = FrameGeometry.from_path(path)
    there = _particles(seed).ravel()[geometry.index.numpy()]
    if upside_down:
        there = 1.1 - there
    if decay_us:
        there = Afterglow(decay_us, path.dwell_us, path.move_us).read(there)
    noisy = there + 0.01 * np.random.default_rng(seed).standard_normal(len(there))
    return FadingWatch().look(judge(noisy, geometry), geometry)


@pytest.mark.parametrize("pattern", [GRID, SPIRAL], ids=["grid", "spiral"])
def test_a_detector_that_forgets_at_once_is_not_suspected(pattern: object) -> None:
    assert not any(_seen(pattern, 0.0, seed) for seed in range(10))


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("pattern", [GRID, SPIRAL], ids=["grid", "spiral"])
def test_light_that_lingers_over_some_samples_is_seen(pattern: object, upside_down: bool) -> None:
    assert sum(_seen(pattern, 3.0, seed, upside_down) for seed in range(10)) >= 9


def test_along_lines_that_all_run_one_way_the_specimen_itself_may_be_uneven() -> None:
    assert not _seen(Raster(), 3.0, 0)


def test_an_even_frame_tells_nothing() -> None:
    geometry = FrameGeometry.from_path(_path(GRID))
    assert not FadingWatch().look(judge(np.full(geometry.count, 3.0), geometry), geometry)
