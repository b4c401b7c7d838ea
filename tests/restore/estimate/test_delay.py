"""A delay between beam and reading is found from the frame, with its uncertainty, and never where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.estimate.delay import DelayWatch
from restore.estimate.disagreement import Delay
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, JitteredGrid, PathRecipe, expand

SHAPE = (160, 160)


def _geometry(pattern: object) -> FrameGeometry:
    return FrameGeometry.from_path(expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=160.0, dwell_us=1.0)))


GOAL = CoverageGoal(value=0.1)
GRID, SPIRAL = _geometry(JitteredGrid(coverage=GOAL, seed=1)), _geometry(Archimedean(coverage=GOAL))
CROSSED = _geometry(Crossed(pattern=Archimedean(coverage=GOAL)))
NAMED = {"grid": GRID, "spiral": SPIRAL, "crossed": CROSSED}


def _found(
    geometry: FrameGeometry, late: int, frames: int = 1, noise: float = 0.0, seed: int = 0, decay: float = 0.0
) -> Delay | None:
    random = np.random.default_rng(seed)
    watch = DelayWatch()
    for _ in range(frames):
        image = gaussian_filter(random.standard_normal(SHAPE), 4)
        there = (image / image.std()).ravel()[geometry.index.numpy()]
        late_ones = there[np.clip(np.arange(len(there)) - late, 0, len(there) - 1)]
        if decay:
            late_ones = Afterglow(decay, np.ones(len(there)), np.zeros(len(there))).read(late_ones)
        readings = torch.from_numpy(late_ones + noise * random.standard_normal(len(there))).float()
        watch.add(readings, torch.ones(len(readings)), geometry)
    return watch.found()


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


@pytest.mark.parametrize("decay", [1.5, 4.0, 10.0])
def test_light_that_lingers_is_told_from_a_delay_and_for_how_long_it_does(decay: float) -> None:
    for seed in range(4):
        found = _found(GRID, 0, noise=0.02, seed=seed, decay=decay)
        assert found is not None
        assert abs(found.decay_samples - decay) < max(0.15 * decay, 3 * found.decay_sd_samples)
        assert "afterglow): calibrate" in found.notice


def test_a_delay_is_never_taken_for_light_that_lingers_and_mostly_surely_for_none() -> None:
    found = [_found(GRID, late, noise=0.02, seed=seed) for late in (1, 3, 10) for seed in range(3)]
    assert not any(one is None or one.decay_samples for one in found)
    assert sum(one is not None and one.is_plain for one in found) > 6


@pytest.mark.parametrize("name", list(NAMED))
@pytest.mark.parametrize("frames", [1, 6])
def test_without_a_delay_nothing_is_told(name: str, frames: int) -> None:
    for seed in range(10):
        assert _found(NAMED[name], 0, frames, noise=0.3, seed=seed) is None


def test_noise_alone_tells_nothing() -> None:
    for geometry in NAMED.values():
        for seed in range(10):
            assert _found(geometry, 3, noise=100.0, seed=seed) is None
