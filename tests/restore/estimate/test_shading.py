"""Brightness that follows the scan's time or is one smooth hump is said, and that of most specimens is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.estimate.readings import judge
from restore.estimate.shading import Shading, shading
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand

SIDE, GOAL = 128, CoverageGoal(value=0.1)


def _geometry(pattern: Any) -> FrameGeometry:
    return FrameGeometry.from_path(expand(PathRecipe(pattern=pattern, shape=(SIDE, SIDE), fov_nm=9.0, dwell_us=1.0)))


GRID, SPIRAL = _geometry(JitteredGrid(coverage=GOAL, seed=1)), _geometry(Archimedean(coverage=GOAL))
both_paths = pytest.mark.parametrize("geometry", [GRID, SPIRAL], ids=["grid", "spiral"])


def _seen(geometry: FrameGeometry, seed: int, drift: float = 0.0, halo: float = 0.0, crossed: bool = False) -> Shading:
    image = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE, SIDE)), 3)
    image = 1000 * image / np.ptp(image)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    image += halo * np.exp(-((y - 0.3) ** 2 + (x - 0.6) ** 2) / (2 * 0.15**2))
    values = image.ravel()[geometry.index.numpy()] + np.linspace(0, drift, geometry.count)
    return shading(judge(values, geometry), geometry, np.arange(float(geometry.count)), crossed)


@both_paths
def test_a_baseline_that_no_crossing_tells_is_suspected_with_its_size(geometry: FrameGeometry) -> None:
    found = [_seen(geometry, seed, drift=500.0) for seed in range(8)]
    assert sum(one.cause == "baseline" for one in found) >= 6
    slopes = [one.slope for one in found if one.slope]
    assert np.median(slopes) == pytest.approx(500, rel=0.15)
    assert not any(_seen(geometry, seed, drift=500.0, crossed=True).slope for seed in range(4))


@both_paths
def test_a_charged_spot_is_suspected(geometry: FrameGeometry) -> None:
    found = _seen(geometry, 0, halo=1000.0)
    assert found.cause == "charging"
    assert "charging, or a specimen so shaped" in found.notices[-1]


@both_paths
def test_of_specimens_without_either_nothing_is_said(geometry: FrameGeometry) -> None:
    assert {_seen(geometry, seed).notices for seed in range(10)} == {()}


def test_an_even_frame_has_no_shading() -> None:
    assert shading(judge(np.full(GRID.count, 7.0), GRID), GRID, np.arange(float(GRID.count)), False) == Shading()
