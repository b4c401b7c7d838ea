"""What changed is told from an estimate that is wrong here and there, and a frame of something else from both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.estimate.changes import Changes, find_changes
from restore.estimate.drift import Drift, Known
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand

SIDE = 128
STILL = Drift(0.0, 0.0, 0.01, 1.0)
PATTERNS = {
    "jittered": JitteredGrid(coverage=CoverageGoal(value=0.1)),
    "spiral": Archimedean(coverage=CoverageGoal(value=0.1)),
}


def specimen(seed: int = 0) -> np.ndarray:
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE, SIDE)), 4.0)
    return (rough / rough.std()).astype(np.float32)


def changes(pattern: str, field: np.ndarray, wrong: float, said: float, lately: torch.Tensor | None = None) -> Changes:
    """Of a field, after an estimate of ``specimen()`` that is wrong by so much, in patches, and says so much."""
    error = gaussian_filter(np.random.default_rng(7).standard_normal((SIDE, SIDE)), 3.0)
    estimate = torch.from_numpy(specimen() + wrong * (error / error.std()).astype(np.float32))
    path = expand(PathRecipe(pattern=PATTERNS[pattern], shape=(SIDE, SIDE), fov_nm=10.0, dwell_us=1.0))
    geometry = FrameGeometry.from_path(path)
    values = torch.from_numpy(field.ravel())[geometry.index]
    return find_changes(values, geometry, Known(estimate, torch.full_like(estimate, said)), STILL, lately)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("said", [0.2, 0.05], ids=["honest", "four times too sure"])
def test_an_estimate_that_errs_more_than_it_said_is_no_change_of_the_specimen(pattern: str, said: float) -> None:
    found = changes(pattern, specimen(), 0.2, said)
    assert not found.everything
    assert found.share < 0.03


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("said", [0.2, 0.05], ids=["honest", "four times too sure"])
def test_a_place_that_changed_is_found_there_and_hardly_anywhere_else(pattern: str, said: float) -> None:
    field = specimen()
    field[40:70, 50:80] += 3.0
    found = changes(pattern, field, 0.2, said)
    where = found.pixels((SIDE, SIDE))
    assert where is not None
    assert where.shape == (SIDE, SIDE)
    assert where[43:67, 53:77].float().mean() > 0.9
    assert found.share < 0.15
    assert bool(found.at(torch.tensor([[55, 65]])))
    assert not bool(found.at(torch.tensor([[110, 20]])))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_edge_of_what_changed_goes_with_it_and_what_was_contradicted_is_told(pattern: str) -> None:
    field = specimen()
    field[40:70, 50:80] += 3.0
    found = changes(pattern, field, 0.1, 0.1)
    where, unlike = found.pixels((SIDE, SIDE)), found.contradicted((SIDE, SIDE))
    assert where is not None
    assert where[38:72, 48:82].float().mean() > 0.97
    assert unlike[48:62, 58:72].mean() == pytest.approx(3.0, rel=0.2)
    assert not unlike[~where].any()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_goes_on_changing_to_one_side_is_found_by_less_than_what_begins_to(pattern: str) -> None:
    field = specimen()
    field[40:70, 50:80] += 0.4
    lately = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    lately[40:70, 50:80] = True
    begins, goes_on = (changes(pattern, field, 0.1, 0.3, where) for where in (None, lately))
    where = goes_on.pixels((SIDE, SIDE))
    assert begins.share < 0.01
    assert where is not None
    assert where[43:67, 53:77].float().mean() > 0.9
    assert goes_on.share < 0.15
    assert changes(pattern, specimen(), 0.1, 0.3, lately).share < 0.03  # errors are to both sides


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_slight_against_the_frame_is_no_change_however_sure_the_estimate_was(pattern: str) -> None:
    field = specimen()
    field[40:70, 50:80] += 0.1
    assert changes(pattern, field, 0.0, 1e-4).share == 0


@pytest.mark.parametrize("pattern", PATTERNS)
def test_another_specimen_is_one_and_a_poor_estimate_of_the_same_is_not(pattern: str) -> None:
    assert changes(pattern, specimen(5), 0.2, 0.2).everything
    assert not changes(pattern, specimen(), 0.6, 0.1).everything


def grains(shifted_px: float) -> np.ndarray:
    """Grains with sharp edges, which lie elsewhere by about so many pixels, each edge by another number."""
    rough = gaussian_filter(np.random.default_rng(2).standard_normal((SIDE, SIDE)), 10.0)
    other = gaussian_filter(np.random.default_rng(3).standard_normal((SIDE, SIDE)), 3.0)
    slope = np.hypot(*np.gradient(rough)).mean()
    grey = (rough + shifted_px * slope * other / other.std() > 0).astype(np.float32)
    return np.asarray(gaussian_filter(grey, 2.0))


def test_edges_that_the_estimate_has_misplaced_are_no_change_and_a_grain_that_came_is() -> None:
    path = expand(PathRecipe(pattern=PATTERNS["spiral"], shape=(SIDE, SIDE), fov_nm=10.0, dwell_us=1.0))
    geometry = FrameGeometry.from_path(path)
    estimate = torch.from_numpy(grains(1.0))
    known = Known(estimate, torch.full_like(estimate, 0.03))
    field = grains(0.0)
    still = find_changes(torch.from_numpy(field.ravel())[geometry.index], geometry, known, STILL)
    assert still.share < 0.12  # twice as much where an edge is held against the interval alone
    field[40:64, 50:74] = 1 - field[40:64, 50:74]
    found = find_changes(torch.from_numpy(field.ravel())[geometry.index], geometry, known, STILL)
    where = found.pixels((SIDE, SIDE))
    assert where is not None
    assert where[42:62, 52:72].float().mean() > 0.7
    assert found.share < still.share + 0.1


def test_what_was_guessed_far_from_samples_is_doubted_where_it_is_denied_and_not_forgotten() -> None:
    field, estimate = specimen(), torch.from_numpy(specimen())
    field[40:70, 50:80] += 3.0
    path = expand(PathRecipe(pattern=PATTERNS["spiral"], shape=(SIDE, SIDE), fov_nm=10.0, dwell_us=1.0))
    geometry = FrameGeometry.from_path(path)
    values, deviation = torch.from_numpy(field.ravel())[geometry.index], torch.full_like(estimate, 0.1)
    middle = (slice(44, 66), slice(54, 76))
    for px, forgotten in ((9.0, False), (1.0, True)):
        known = Known(estimate, deviation, torch.full_like(estimate, px))
        found = find_changes(values, geometry, known, STILL)
        assert (found.share > 0) == forgotten
        assert found.contradicted((SIDE, SIDE))[middle].min() > 1.0
