"""Pictures reach as far as samples do: through their gaps, and not into what no sample tells of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from scancontrol.paths import (
    Archimedean,
    CoverageGoal,
    JitteredGrid,
    MomentumWalk,
    PathRecipe,
    Raster,
    Region,
    UniformRandom,
    expand,
)
from scancontrol.paths.known import _squared_distance, known_pixels, reach_of, touched_by

SHAPE = (160, 200)


def path_of(pattern, **changes):
    facts = {"shape": SHAPE, "fov_nm": 20.0, "dwell_us": 1.0} | changes
    return expand(PathRecipe(pattern=pattern, **facts))


@given(st.integers(0, 1 << 30), st.integers(2, 40), st.integers(2, 40), st.floats(0.003, 0.9))
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_scipy(seed: int, rows: int, cols: int, share: float) -> None:
    touched = np.random.default_rng(seed).random((rows, cols)) < share
    touched[seed % rows, seed % cols] = True
    np.testing.assert_allclose(_squared_distance(touched), distance_transform_edt(~touched) ** 2, rtol=1e-5)


@pytest.mark.parametrize("coverage", [0.2, 0.05, 0.02])
@pytest.mark.parametrize("pattern", [Archimedean, JitteredGrid, UniformRandom, MomentumWalk])
def test_a_scan_of_the_whole_field_is_shown_whole(pattern: type, coverage: float) -> None:
    known = known_pixels(reach_of(touched_by(path_of(pattern(coverage=CoverageGoal(value=coverage))))))
    assert known.mean() > 0.995


@pytest.mark.parametrize(
    "pattern",
    [Archimedean(coverage=CoverageGoal(value=0.25)), JitteredGrid(coverage=CoverageGoal(value=0.1)), Raster()],
)
def test_a_turned_region_is_shown_alone(pattern) -> None:
    path = path_of(pattern, region=Region(y=0.3, x=0.25, height=0.4, width=0.5), rotation_deg=30.0)
    touched = touched_by(path)
    known, distance = known_pixels(reach_of(touched)), distance_transform_edt(~touched)
    assert known[touched].all()
    assert distance[known].max() < 14, "no picture far from every sample"
    area = 0.4 * SHAPE[0] * 0.5 * SHAPE[1]
    assert 0.9 * area < known.sum() < 1.4 * area


def test_the_unscanned_part_of_an_aborted_frame_is_not_known() -> None:
    path = path_of(JitteredGrid(coverage=CoverageGoal(value=0.05)))
    touched = touched_by(path, path.count // 2)
    assert 0.4 < known_pixels(reach_of(touched)).mean() < 0.62


def test_beyond_the_gaps_a_wide_interval_takes_a_pixel_away_and_between_samples_none_does() -> None:
    path = path_of(Archimedean(coverage=CoverageGoal(value=0.02)), region=Region(y=0.3, x=0.3, height=0.4, width=0.4))
    reach = reach_of(touched_by(path))
    beyond = reach.furthest & ~reach.between
    assert beyond.any()
    interval = np.where(reach.between, 1.0, 9.0)
    np.testing.assert_array_equal(known_pixels(reach, interval), reach.between)
    np.testing.assert_array_equal(known_pixels(reach, np.ones(SHAPE)), reach.furthest)


def test_without_a_sample_nothing_is_known_and_a_full_raster_tells_of_everything() -> None:
    assert not known_pixels(reach_of(np.zeros(SHAPE, np.bool_)), np.ones(SHAPE)).any()
    assert known_pixels(reach_of(touched_by(path_of(Raster()))), np.ones(SHAPE)).all()
