"""An adaptive frame waits for the one before it, and looks where that leaves most open."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.daemon.second_looks import SecondLooks
from scancontrol.errors import InvalidInput
from scancontrol.paths import Adaptive, CoverageGoal, JitteredGrid, expand
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.planned import capacity_of

HALF = CoverageGoal(value=0.05)


def plan(**changes: object) -> ScanPlan:
    patterns = (JitteredGrid(coverage=HALF, seed_per_frame=True), Adaptive(coverage=HALF))
    return msgspec.structs.replace(plan_with(), patterns=patterns, frames=4, **changes)


@pytest.fixture
def said() -> list[str]:
    return []


def looks(said: list[str], *, restores: bool = True) -> SecondLooks:
    return SecondLooks(PlannedScan(plan(), MICROSCOPE), restores, lambda text, level: said.append(text))


def test_the_second_frame_waits_for_the_restoration_of_the_first_and_goes_where_it_is_unsure(said: list[str]) -> None:
    looking, made = looks(said), []
    first = looking.recipe(0)
    thread = threading.Thread(target=lambda: made.append(looking.recipe(1)))
    thread.start()
    interval = np.ones((128, 128), np.float32)
    interval[:, :64] = 9.0
    looking.restored(0, interval)
    thread.join(10)
    (second,) = made
    positions = expand(second).positions
    assert np.mean(positions[:, 1] < 0.5) > 0.8
    assert not set(map(tuple, positions)) & set(map(tuple, expand(first).positions))
    assert isinstance(looking.recipe(2).pattern, JitteredGrid)
    assert said == []


def test_a_fill_without_intervals_lets_the_distance_decide(said: list[str]) -> None:
    looking = looks(said)
    looking.recipe(0)
    looking.restored(0, None)
    assert isinstance(pattern := looking.recipe(1).pattern, Adaptive)
    assert pattern.data


def test_where_nothing_restores_the_frame_looks_everywhere_alike_and_says_so(said: list[str]) -> None:
    looking = looks(said, restores=False)
    looking.recipe(0)
    recipe = looking.recipe(1)
    assert isinstance(recipe.pattern, Adaptive)
    assert not recipe.pattern.data
    assert said == ["frame 1 looks everywhere alike: frame 0 is not restored"]


def test_a_recording_has_room_for_recipes_that_name_their_pixels(said: list[str]) -> None:
    looking = looks(said)
    recipes = []
    for frame in range(4):
        recipes.append(looking.recipe(frame))
        looking.restored(frame, np.ones((128, 128), np.float32))
    capacity = capacity_of(PlannedScan(plan(), MICROSCOPE))
    assert capacity.frames == capacity.paths == 4
    assert capacity.recipe_bytes >= sum(len(msgspec.json.encode(recipe)) for recipe in recipes)
    assert capacity.samples >= sum(expand(recipe).count for recipe in recipes)


def test_a_part_of_the_field_is_no_field_for_adaptive_frames() -> None:
    with pytest.raises(InvalidInput, match="is not the whole field"):
        plan(rotation_deg=20.0)
