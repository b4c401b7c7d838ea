"""What is not explained is said, with what it most likely is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.estimate.misfit import MisfitWatch
from restore.estimate.readings import Judged, judge
from restore.gridding import FrameGeometry
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand

SHAPE = (160, 160)
GEOMETRY = FrameGeometry.from_path(
    expand(
        PathRecipe(
            pattern=JitteredGrid(coverage=CoverageGoal(value=0.1), seed=1), shape=SHAPE, fov_nm=160.0, dwell_us=1.0
        )
    )
)


def _judged(late: int = 0, spikes: float = 0.0) -> Judged:
    random = np.random.default_rng(0)
    image = gaussian_filter(random.standard_normal(SHAPE), 4)
    there = (image / image.std()).ravel()[GEOMETRY.index.numpy()]
    late_ones = there[np.clip(np.arange(len(there)) - late, 0, None)]
    hit = random.random(len(there)) < spikes
    return judge(np.where(hit, random.uniform(80, 120, len(there)), late_ones), GEOMETRY)


def _watched(judged: Judged) -> MisfitWatch:
    watch = MisfitWatch()
    watch.look(judged, GEOMETRY, np.arange(float(GEOMETRY.count)))
    return watch


def test_where_all_is_explained_nothing_is_said() -> None:
    judged = _judged()
    watch = _watched(judged)
    assert watch.cause(judged, None, False) == ""
    assert watch.notices("", None) == ()


def test_a_delay_is_the_cause_whether_or_not_readings_are_missed() -> None:
    judged = _judged(late=3)
    watch = _watched(judged)
    assert watch.cause(judged, None, False) == watch.cause(judged, 0.4, False) == "delay"
    assert "3.0" in watch.notices("delay", None)[0]


@pytest.mark.parametrize(
    ("spikes", "noise_is_known", "cause"),
    [(0.03, True, "outliers"), (0.0, False, "noise"), (0.0, True, "baseline or mains")],
)
def test_readings_that_are_missed_have_a_likeliest_cause(spikes: float, noise_is_known: bool, cause: str) -> None:
    judged = _judged(spikes=spikes)
    watch = _watched(judged)
    assert watch.cause(judged, 0.43, noise_is_known) == cause
    (told,) = watch.notices(cause, 0.43)
    assert told.startswith("43 of 100 withheld readings lie outside their interval")
    assert told.endswith(cause)
