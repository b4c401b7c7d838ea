"""Which samples lie beside which, of a whole path and of its beginning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.estimate import neighbours
from restore.estimate.baseline import prepare_wandering
from restore.estimate.neighbours import across, close_pairs, nearest, places_px, some_across
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, JitteredGrid, PathRecipe, ScanPath, expand

GOAL = CoverageGoal(value=0.1)


def _path(pattern: object) -> ScanPath:
    return expand(PathRecipe(pattern=pattern, shape=(128, 128), fov_nm=1.0, dwell_us=1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [20, 400, 1200])
@pytest.mark.parametrize("pattern", [JitteredGrid(coverage=GOAL), Archimedean(coverage=GOAL)])
def test_the_beginning_of_a_path_has_the_neighbours_that_it_has_by_itself(pattern: object, count: int) -> None:
    path = _path(pattern)
    whole = FrameGeometry.from_path(path)
    nearest(whole)
    beginning = FrameGeometry.from_positions(path.positions[:count], path.shape)
    places = places_px(beginning)
    found, expected = nearest(whole.prefix(count)), nearest(beginning)
    away = [(places[near] - places[:, None]).square().sum(-1) for near in (found, expected)]
    torch.testing.assert_close(*away, msg="neighbours at one distance may change places")
    assert bool((found != torch.arange(count)[:, None]).all())


def test_of_very_many_samples_some_are_asked_all_along_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = FrameGeometry.from_path(_path(Archimedean(coverage=GOAL)))
    monkeypatch.setattr(neighbours, "_SOME", 500)
    some, near = some_across(geometry)
    assert 250 <= len(some) <= 500
    assert float(some.float().mean()) == pytest.approx(geometry.count / 2, rel=0.02)
    assert torch.equal(near, across(geometry, some))


def test_the_beginning_of_a_path_crosses_itself_where_the_whole_does() -> None:
    path = _path(Crossed(pattern=Archimedean(coverage=GOAL), crossings=2))
    whole = FrameGeometry.from_path(path)
    time_us = np.cumsum(path.dwell_us + path.move_us)
    all_of_it = prepare_wandering(whole, time_us)
    most = path.count - 40
    first = prepare_wandering(whole.prefix(most), time_us[:most])
    inside = np.maximum(all_of_it.visits.one, all_of_it.visits.other) < most
    assert 48 <= inside.sum() < len(all_of_it.visits)
    assert np.array_equal(first.visits.one, all_of_it.visits.one[inside])
    assert first.crossed
    few = prepare_wandering(whole.prefix(300), time_us[:300])
    assert not few.crossed
    assert not few.smooth


@pytest.mark.parametrize(
    "pattern", [JitteredGrid(coverage=GOAL), Crossed(pattern=Archimedean(coverage=GOAL), crossings=2)]
)
def test_neighbours_of_another_time_are_the_nearest_of_them_however_near_one_looks(pattern: object) -> None:
    geometry = FrameGeometry.from_path(_path(pattern))
    places = places_px(geometry)
    away = torch.cdist(places, places)
    at = torch.arange(geometry.count)
    away[(at[:, None] - at).abs() < 24] = torch.inf
    some, near = some_across(geometry)
    near = near[:, :3]
    there = torch.where(near == some[:, None], torch.inf, away.gather(1, near))
    expected = away.sort(1).values[:, :3]
    sought = torch.isfinite(there)  # of a drawn path only the 64 nearest of any time are looked at
    torch.testing.assert_close(there[sought], expected[sought])
    one, other = close_pairs(geometry, 1.5, 3)
    crosses = expected <= 1.5
    assert torch.equal(one, crosses.nonzero()[:, 0])
    torch.testing.assert_close(away[one, other], expected[crosses])
