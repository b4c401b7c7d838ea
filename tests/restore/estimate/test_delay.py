"""A delay between beam and reading is found from the frame, with its uncertainty, and never where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.estimate.delay import DelayFinder
from restore.estimate.disagreement import Delay
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, JitteredGrid, PathRecipe, expand

SHAPE = (160, 160)


def _geometry(pattern: object) -> FrameGeometry:
    return FrameGeometry.from_path(expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=160.0, dwell_us=1.0)))


GOAL = CoverageGoal(value=0.1)
GRID, SPIRAL = _geometry(JitteredGrid(coverage=GOAL, seed=1)), _geometry(Archimedean(coverage=GOAL))
CROSSED = _geometry(Crossed(pattern=Archimedean(coverage=GOAL)))
NAMED = {"grid": GRID, "spiral": SPIRAL, "crossed": CROSSED}


def _found(geometry: FrameGeometry, late: int, frames: int = 1, noise: float = 0.0, seed: int = 0) -> Delay | None:
    random = np.random.default_rng(seed)
    finder = DelayFinder(geometry)
    for _ in range(frames):
        image = gaussian_filter(random.standard_normal(SHAPE), 4)
        there = (image / image.std()).ravel()[geometry.index.numpy()]
        late_ones = there[np.clip(np.arange(len(there)) - late, 0, len(there) - 1)]
        readings = torch.from_numpy(late_ones + noise * random.standard_normal(len(there))).float()
        finder.add(readings, torch.ones(len(readings)))
    return finder.found()


@pytest.mark.parametrize("late", [-4, 1, 3, 10])
def test_one_frame_of_a_grid_tells_its_delay(late: int) -> None:
    for seed in range(5):
        found = _found(GRID, late, noise=0.2, seed=seed)
        assert found is not None
        assert abs(found.samples - late) < max(0.2, 3 * found.sd_samples)
        assert "samples after the beam" in found.notice


@pytest.mark.parametrize("late", [3, 10])
def test_one_frame_of_a_spiral_with_a_stroke_across_tells_it(late: int) -> None:
    for seed in range(5):
        found = _found(CROSSED, late, noise=0.1, seed=seed)
        assert found is not None
        assert abs(found.samples - late) < max(0.2, 3 * found.sd_samples)


@pytest.mark.parametrize("name", list(NAMED))
@pytest.mark.parametrize("frames", [1, 6])
def test_without_a_delay_nothing_is_told(name: str, frames: int) -> None:
    for seed in range(10):
        assert _found(NAMED[name], 0, frames, noise=0.3, seed=seed) is None


def test_noise_alone_tells_nothing() -> None:
    for geometry in NAMED.values():
        for seed in range(10):
            assert _found(geometry, 3, noise=100.0, seed=seed) is None
