"""Places that a path passes twice, and what their differences are explained by."""

from __future__ import annotations

import numpy as np
import pytest

from restore.estimate.neighbours import places_px
from restore.estimate.revisits import Visits, beside, chance, crossings, explained, foretold
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, PathRecipe, Raster, Region, Serpentine, expand

GOAL, WHOLE = CoverageGoal(value=0.1), Region()


def _path_visits(
    pattern: object, region: Region = WHOLE, rotation_deg: float = 0.0
) -> tuple[Visits, Visits, FrameGeometry, np.ndarray]:
    path = expand(
        PathRecipe(
            pattern=pattern, shape=(128, 128), fov_nm=128.0, dwell_us=1.0, region=region, rotation_deg=rotation_deg
        )
    )  # type: ignore[arg-type]
    geometry, time_us = FrameGeometry.from_path(path), np.cumsum(path.dwell_us + path.move_us)
    return crossings(geometry, time_us), beside(geometry, time_us), geometry, time_us


def test_a_spiral_crosses_itself_only_where_a_stroke_was_drawn_across_it() -> None:
    assert len(_path_visits(Archimedean(coverage=GOAL))[0]) == 0
    visits, _, geometry, time_us = _path_visits(Crossed(pattern=Archimedean(coverage=GOAL)))
    assert len(visits) > 20
    places = places_px(geometry).numpy()
    assert np.hypot(*visits.difference(places).T).max() <= 2
    assert np.abs(visits.difference(time_us)).min() > 0.03 * time_us[-1]


@pytest.mark.parametrize("pattern", [Raster(), Serpentine(), Archimedean(turn_spacing_px=2.0)])
def test_lines_that_lie_close_do_not_cross(pattern: object) -> None:
    for region in (WHOLE, Region(y=0.25, x=0.2, height=0.4, width=0.5)):
        assert len(_path_visits(pattern, region, 20.0 * (region != WHOLE))[0]) == 0


def test_neighbouring_turns_are_pairs_of_another_time() -> None:
    _, pairs, _, time_us = _path_visits(Archimedean(coverage=GOAL))
    assert len(pairs) > 1000
    assert np.abs(pairs.difference(time_us)).min() >= 24


def _pairs(count: int) -> Visits:
    random = np.random.default_rng(0)
    one, other = random.integers(0, count, (2, 600))
    return Visits(one, other, np.ones(600), np.maximum(one, other) * 24 // count)


def _columns(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([np.linspace(0, 1, count), np.linspace(0, 1, count) ** 2], 1), np.ones(2)


def test_an_explanation_holds_the_truth_within_what_it_says_of_itself() -> None:
    visits, (columns, prior) = _pairs(400), _columns(400)
    off = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        differences = visits.difference(columns @ [0.8, -0.5]) + 0.2 * random.standard_normal(600)
        differences[::40] += 20  # and now and then anything
        found = explained(visits, differences, visits.difference(columns), prior)
        error = found.coefficients - [0.8, -0.5]
        off.append(error @ np.linalg.solve(found.covariance, error))
    assert np.mean(np.array(off) < 4.6) > 0.9, "chi-squared of two, 90 %"


def test_what_explains_nothing_foretells_no_better() -> None:
    visits, (columns, prior) = _pairs(400), _columns(400)
    surely = []
    for seed in range(60):
        differences = np.random.default_rng(seed).standard_normal(600)
        left = foretold(visits, differences, visits.difference(columns), prior)
        surely.append(chance(visits, differences, left))
    assert np.mean(np.array(surely) > 1.8) <= 0.05
    assert np.median(surely) < 0
    trend = visits.difference(columns @ [2.0, 0.0]) + np.random.default_rng(0).standard_normal(600)
    assert chance(visits, trend, foretold(visits, trend, visits.difference(columns), prior)) > 3
