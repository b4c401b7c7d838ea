"""A bent path is the straight one whose region moves evenly with the time, and that inside the field."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from path_strategies import recipes

from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, Points, Raster, Region, ScanPath, expand
from scancontrol.paths.geometry import pixel_index
from scancontrol.paths.known import touched_by
from scancontrol.paths.timing import Settle

every = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
MIDDLE = Region(y=0.2, x=0.3, height=0.5, width=0.4)


def bent(recipe: PathRecipe, bend_px: tuple[float, float]) -> PathRecipe:
    return msgspec.structs.replace(recipe, bend_px=bend_px)


def shares(path: ScanPath) -> np.ndarray:
    """When each sample begins, from -0.5 of the first to 0.5 at the end of the last."""
    ends = np.cumsum(path.dwell_us + path.move_us) - path.move_us[0]
    return (ends - path.dwell_us) / ends[-1] - 0.5


@every
@given(recipes(), st.floats(-1, 1), st.floats(-1, 1), st.data())
def test_samples_of_any_path_move_evenly_with_the_time_and_no_other_time_passes(recipe, down, right, data):
    try:
        straight = expand(recipe)
    except InvalidInput:
        return
    y, x = 2 * recipe.placement.room * recipe.shape * (down, right)
    bend_px = (float(y), float(x))
    path = expand(bent(recipe, bend_px))
    np.testing.assert_array_equal(path.dwell_us, straight.dwell_us)
    np.testing.assert_array_equal(path.move_us, straight.move_us)
    assert (path.positions >= 0).all()
    assert (path.positions < 1).all()
    code = 0 if recipe.dac_bits is None else 2.0**-recipe.dac_bits
    moved = shares(straight)[:, None] * bend_px / recipe.shape
    np.testing.assert_allclose(path.positions - straight.positions, moved, atol=code + 1e-9)
    np.testing.assert_allclose(path.on_specimen(path.positions), straight.positions, atol=code + 1e-9)
    first = data.draw(st.integers(0, path.count - 1))
    part = expand(path.recipe).chunk(first, data.draw(st.integers(0, path.count - first)))
    np.testing.assert_array_equal(part.positions, path.positions[first : first + len(part)])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(path.recipe), type=PathRecipe)
    assert again.path_id == path.path_id
    assert (path.path_id == straight.path_id) == (not any(bend_px))


def test_a_bend_of_nothing_is_the_straight_recipe_as_it_is_written():
    recipe = PathRecipe(pattern=Raster(), shape=(40, 40), fov_nm=10.0, dwell_us=1.0)
    assert bent(recipe, (0.0, -0.0)) == recipe
    assert bent(recipe, (0.0, -0.0)).path_id == recipe.path_id
    assert b"bend_px" not in msgspec.json.encode(bent(recipe, (0.0, 0.0)))


def test_a_long_path_is_the_same_whole_and_in_chunks_that_end_anywhere():
    settle = Settle(time_constant_us=5.0)
    recipe = PathRecipe(pattern=Raster(), shape=(700, 800), fov_nm=9.0, dwell_us=1.0, settle=settle, region=MIDDLE)
    recipe = bent(recipe, (5.0, -7.0))
    whole = expand(recipe)
    assert whole.count > 1 << 16
    for first, count in ((0, 40_000), (16_384, 16_384), (33_333, 50_000)):
        stretch = expand(recipe)._expand(first, count)
        np.testing.assert_array_equal(stretch.positions, whole.positions[first : first + count])


def test_unequal_dwells_move_a_sample_by_the_time_and_not_by_its_number():
    places = np.full((100, 2), 0.5) + np.arange(100)[:, None] * 1e-4
    dwell = np.where(np.arange(100) < 50, 1.0, 9.0)
    points = Points.from_array(np.column_stack([places, dwell]), jump_px=1e9)
    path = expand(bent(PathRecipe(pattern=points, shape=(64, 64), fov_nm=9.0, dwell_us=1.0, region=MIDDLE), (4.0, 0.0)))
    moved = (path.positions - path.on_specimen(path.positions))[:, 0] * 64
    assert moved[50] == pytest.approx(4.0 * (50 / 500 - 0.5))


def test_what_is_touched_is_counted_where_the_beam_was_and_shown_where_the_specimen_was():
    recipe = PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=9.0, dwell_us=1.0, region=MIDDLE
    )
    straight, path = expand(recipe), expand(bent(recipe, (20.0, 9.0)))
    here = len(np.unique(pixel_index(path.positions, path.shape)))
    assert path.coverage.touched == here / recipe.placement.canvas.pixels
    assert here != straight.coverage.touched * recipe.placement.canvas.pixels
    assert path.coverage.dose == straight.coverage.dose
    np.testing.assert_array_equal(touched_by(path), touched_by(straight))


@pytest.mark.parametrize("bend_px", [(26.0, 0.0), (0.0, -39.0), (np.nan, 0.0)])
@pytest.mark.parametrize("rotation_deg", [0.0, 10.0])
def test_a_bend_out_of_the_field_is_refused(bend_px, rotation_deg):
    recipe = PathRecipe(
        pattern=Raster(), shape=(64, 64), fov_nm=9.0, dwell_us=1.0, region=MIDDLE, rotation_deg=rotation_deg
    )
    bent(recipe, (15.0, -20.0))
    with pytest.raises(InvalidInput, match="bend_px"):
        bent(recipe, bend_px)
