"""The fills behind the engine: which one is chosen, and what is claimed of its error."""

from __future__ import annotations

import math

import numpy as np
import torch

from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand

GRID = expand(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.1)), shape=(96, 96), fov_nm=100.0, dwell_us=1.0)
)


def test_too_few_samples_are_all_used_and_nothing_is_claimed_of_the_error() -> None:
    places = np.random.default_rng(0).random((40, 2))
    geometry = FrameGeometry.from_positions(places, (32, 32))
    found = FillRestorer("push_pull").restore(torch.arange(40.0), geometry)
    assert found.interval is None
    assert found.made_by.withheld_rmse is None


def test_auto_takes_the_best_fill_that_keeps_up_with_the_beam() -> None:
    restorer = FillRestorer("auto")
    geometry = FrameGeometry.from_path(GRID)
    live = [name for name, fill in FILLS.items() if fill.live]
    restorer.prepare(geometry, 1.0)
    assert restorer.method_for(geometry) == "push_pull"
    patient = FrameGeometry.from_path(GRID)
    restorer.prepare(patient, math.inf)
    assert restorer.method_for(patient) == live[-1]
    assert restorer.method_for(geometry) == "push_pull"
