"""What holds for every pattern."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from path_strategies import GIVEN, recipes

from scancontrol.errors import InvalidInput
from scancontrol.paths import PathRecipe, Raster, expand
from scancontrol.paths.pattern import CONTINUOUS
from scancontrol.paths.timing import Settle
from scancontrol.units import ELECTRONS_PER_PA_US

every = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def expanded(recipe: PathRecipe):
    """The path, or None where the drawn parameters honestly give none (refused with a reason)."""
    try:
        return expand(recipe)
    except InvalidInput:
        return None


@every
@given(recipes())
def test_every_path_lies_inside_the_field_with_a_dwell_at_each_sample(recipe):
    path = expanded(recipe)
    if path is None:
        return
    assert path.positions.shape == (path.count, 2)
    assert (path.positions >= 0).all()
    assert (path.positions < 1).all()
    assert (path.dwell_us > 0).all()
    assert (path.move_us >= 0).all()
    assert np.isfinite(path.move_us).all()
    assert (path.move_us[path.chunk(0, path.count).kind == CONTINUOUS] == 0).all()


@every
@given(recipes(), st.integers(1, 200), st.data())
def test_a_path_in_chunks_is_the_whole_path(recipe, size, data):
    path = expanded(recipe)
    if path is None:
        return
    fresh = expand(recipe)
    chunks = list(fresh.chunks(size))
    for name in ("positions", "dwell_us", "move_us"):
        np.testing.assert_array_equal(np.concatenate([getattr(c, name) for c in chunks]), getattr(path, name))
    assert [c.first_index for c in chunks] == list(range(0, path.count, size))
    first = data.draw(st.integers(0, path.count - 1))
    count = data.draw(st.integers(0, path.count - first))
    again = expand(recipe).chunk(first, count)
    np.testing.assert_array_equal(again.positions, path.positions[first : first + count])
    np.testing.assert_array_equal(again.move_us, path.move_us[first : first + count])


def test_a_path_of_many_blocks_is_the_same_as_a_whole_and_in_chunks():
    settle = Settle(time_constant_us=5.0)
    recipe = PathRecipe(pattern=Raster(), shape=(530, 1000), fov_nm=100.0, dwell_us=1.0, settle=settle)
    whole, fresh = expand(recipe), expand(recipe)
    assert whole.positions.shape == (530_000, 2)
    assert np.count_nonzero(whole.move_us) >= 529
    for chunk in fresh.chunks(100_003):
        part = slice(chunk.first_index, chunk.first_index + len(chunk))
        for name in ("positions", "dwell_us", "move_us"):
            np.testing.assert_array_equal(getattr(chunk, name), getattr(whole, name)[part])


@every
@given(recipes())
def test_a_recipe_survives_messagepack_and_yaml_with_its_id_and_its_positions(recipe):
    path = expanded(recipe)
    if path is None:
        return
    by_wire = msgspec.msgpack.decode(msgspec.msgpack.encode(recipe), type=PathRecipe)
    by_file = msgspec.convert(yaml.safe_load(yaml.safe_dump(msgspec.to_builtins(recipe))), PathRecipe)
    assert by_wire.path_id == by_file.path_id == recipe.path_id == path.path_id
    np.testing.assert_array_equal(expand(by_wire).positions, path.positions)


@every
@given(recipes(), st.floats(0.01, 1e4))
def test_dose_is_the_sum_of_dwell_times_current(recipe, current_pa):
    path = expanded(recipe)
    if path is None:
        return
    charge_pc = current_pa * float(path.dwell_us.sum()) * 1e-6
    assert path.electrons(current_pa) == pytest.approx(charge_pc * 1e-12 / 1.602176634e-19, rel=1e-9)
    pixels = path.shape[0] * path.shape[1] * recipe.region.height * recipe.region.width
    assert path.coverage.dose == pytest.approx(path.dwell_us.sum() / (path.dwell_per_pixel_us * pixels), rel=1e-9)
    assert path.duration_us == pytest.approx(path.dwell_us.sum() + path.move_us.sum(), rel=1e-9, abs=1e-9)
    assert pytest.approx(6.2415, rel=1e-4) == ELECTRONS_PER_PA_US


@every
@given(recipes(square=True))
def test_four_quarter_turns_are_the_identity_on_a_square_frame(recipe):
    if recipe.rotation_deg % 90 or expanded(recipe) is None:
        return
    plain = msgspec.structs.replace(recipe, dac_bits=None)
    turned = [
        expand(msgspec.structs.replace(plain, rotation_deg=recipe.rotation_deg + 90 * k)).positions for k in range(5)
    ]
    np.testing.assert_allclose(turned[4], turned[0], atol=1e-12)
    centre = np.array([plain.region.y + plain.region.height / 2, plain.region.x + plain.region.width / 2])
    for before, after in itertools.pairwise(turned):
        dy, dx = (before - centre).T
        # Positive is clockwise as seen on the screen: x turns into y, which points down.
        np.testing.assert_allclose(after - centre, np.stack([dx, -dy], axis=1), atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in GIVEN if kind not in {"points", "raster_full"}])
@settings(max_examples=4, deadline=None)
@given(st.data())
def test_the_same_recipe_gives_the_same_path_and_another_seed_another(kind, data):
    pattern = data.draw(GIVEN[kind])
    recipe = PathRecipe(pattern=pattern, shape=(40, 40), fov_nm=10, dwell_us=1)
    path = expanded(recipe)
    if path is None:
        return
    np.testing.assert_array_equal(path.positions, expand(recipe).positions)
    seed = getattr(pattern, "seed", None)
    if seed is not None and path.count > 20 and getattr(pattern, "jitter", 1.0) > 0.9:
        other = msgspec.structs.replace(recipe, pattern=msgspec.structs.replace(pattern, seed=seed + 1))
        assert other.path_id != recipe.path_id
        moved = expand(other).positions
        assert moved.shape != path.positions.shape or (moved != path.positions).any()


def test_whole_numbers_and_floats_that_are_equal_give_the_same_id():
    by_int = PathRecipe(pattern=Raster(), shape=(8, 8), fov_nm=10, dwell_us=2)
    by_float = PathRecipe(pattern=Raster(), shape=(8, 8), fov_nm=10.0, dwell_us=2.0)
    assert by_int.path_id == by_float.path_id
    assert by_int.path_id != msgspec.structs.replace(by_int, dwell_us=2.5).path_id
    assert len(by_int.path_id) == 32


def test_a_stretch_outside_the_path_is_refused():
    path = expand(PathRecipe(pattern=Raster(), shape=(8, 8), fov_nm=10, dwell_us=2))
    with pytest.raises(IndexError, match="60 to 70 of a path of 64"):
        path.chunk(60, 10)
