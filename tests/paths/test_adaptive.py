"""A second look goes where little is known: never twice to one pixel, in a tour that coils can follow."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.errors import InvalidInput
from scancontrol.paths import Adaptive, CoverageGoal, JitteredGrid, PathRecipe, Points, Settle, expand, solve
from scancontrol.paths.adaptive import drawn, joined, second_pass, worth

SHAPE = (64, 96)


def pixels(points: np.ndarray) -> np.ndarray:
    at = (points * SHAPE).astype(int)
    return at[:, 0] * SHAPE[1] + at[:, 1]


def survey(count: int = 150) -> np.ndarray:
    pattern = JitteredGrid(points=count, seed=4)
    return expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=96.0, dwell_us=1.0)).positions


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_as_many_pixels_as_asked_for_are_drawn_and_none_twice(seed: int, count: int) -> None:
    field = np.random.default_rng(seed).random(SHAPE) ** 4
    points = drawn(field, count, seed)
    assert points.shape == (count, 2)
    assert len(np.unique(pixels(points))) == count
    assert (field.ravel()[pixels(points)] > 0).all()


def test_pixels_are_drawn_in_proportion_to_their_worth() -> None:
    field = np.ones(SHAPE)
    field[:, 48:] = 3.0
    points = drawn(field, 800)
    assert np.mean(points[:, 1] > 0.5) == pytest.approx(0.75, abs=0.01)


def test_where_a_few_pixels_are_worth_all_they_are_drawn_and_the_rest_is_shared() -> None:
    field = np.full(SHAPE, 1e-3)
    field[:4, :4] = 1e6
    drawn_pixels = set(pixels(drawn(field, 116)))
    assert {y * SHAPE[1] + x for y in range(4) for x in range(4)} <= drawn_pixels


def test_what_was_measured_is_worth_nothing_and_what_is_far_and_unknown_most() -> None:
    positions, interval = survey(), np.ones(SHAPE)
    interval[:, :48] = 5.0
    found = worth(interval, positions)
    assert (found.ravel()[pixels(positions)] == 0).all()
    assert found[:, :48].mean() > 3 * found[:, 48:].mean()
    again = second_pass(interval, positions, 200)
    assert not set(pixels(again)) & set(pixels(positions))


def test_the_second_pass_takes_about_as_long_as_a_uniform_one() -> None:
    interval = 1.0 + np.random.default_rng(1).random(SHAPE)
    points, settle = second_pass(interval, survey(), 200), Settle(time_constant_us=1.0)

    def duration_us(pattern: Points | JitteredGrid) -> float:
        return expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=96.0, dwell_us=1.0, settle=settle)).duration_us

    assert duration_us(Points.from_array(points)) < 1.1 * duration_us(JitteredGrid(points=200, seed=2))


def test_more_than_there_is_to_see_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ask for fewer"):
        second_pass(np.ones(SHAPE), survey(), SHAPE[0] * SHAPE[1])


def test_a_frames_pixels_travel_in_its_recipe_and_are_expanded_to_the_last_bit() -> None:
    points = second_pass(np.ones(SHAPE), survey(), 200, seed=2)
    planned = Adaptive(points=200, seed=5)
    recipe = PathRecipe(pattern=planned.at(points, SHAPE), shape=SHAPE, fov_nm=96.0, dwell_us=1.0)
    again = msgspec.json.decode(msgspec.json.encode(recipe), type=PathRecipe)
    assert again.path_id == recipe.path_id
    np.testing.assert_array_equal(expand(again).positions, points)


def test_until_a_frame_is_known_as_many_samples_are_planned_on_a_jittered_grid() -> None:
    planned = solve(
        PathRecipe(pattern=Adaptive(coverage=CoverageGoal(value=0.05)), shape=SHAPE, fov_nm=96.0, dwell_us=1.0)
    )
    assert isinstance(planned.pattern, Adaptive)
    assert expand(planned).count == planned.pattern.points == pytest.approx(0.05 * 64 * 96, abs=2)
    first, second = (planned.pattern.for_frame(frame) for frame in range(2))
    assert first.seed != second.seed


def test_pixels_that_are_not_as_many_as_said_or_outside_the_frame_are_refused() -> None:
    with pytest.raises(InvalidInput, match="4 bytes a point"):
        Adaptive(points=3, data=b"\0" * 8)
    far = Adaptive(points=1, data=(SHAPE[0] * SHAPE[1]).to_bytes(4, "little"))
    with pytest.raises(InvalidInput, match="outside the"):
        expand(PathRecipe(pattern=far, shape=SHAPE, fov_nm=96.0, dwell_us=1.0))


def test_two_paths_joined_are_visited_one_after_the_other_at_the_same_places() -> None:
    first = expand(PathRecipe(pattern=JitteredGrid(points=150, seed=4), shape=SHAPE, fov_nm=96.0, dwell_us=1.0))
    pattern = Adaptive(points=200).at(second_pass(np.ones(SHAPE), first.positions, 200), SHAPE)
    second = expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=96.0, dwell_us=1.0))
    both = joined(first, second)
    np.testing.assert_array_equal(both.positions, np.concatenate([first.positions, second.positions]))
    assert both.dwell_us.sum() == pytest.approx(first.dwell_us.sum() + second.dwell_us.sum())
