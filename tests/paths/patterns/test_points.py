"""Points from files, and what is said of files that hold something else; gridding of what comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_tools import read_points

from scancontrol.errors import InvalidInput
from scancontrol.paths import JitteredGrid, PathRecipe, Points, Raster, Region, expand, partial_frame

SOME = np.array([[0.1, 0.2], [0.1, 0.205], [0.9, 0.3]])


def recipe_of(pattern, **more):
    return PathRecipe(pattern=pattern, shape=(100, 100), fov_nm=20, dwell_us=2, **more)


def test_points_from_npy_and_csv_are_visited_in_order(tmp_path):
    np.save(tmp_path / "path.npy", SOME.astype(np.float32))
    (tmp_path / "path.csv").write_text("y,x  # a header\n# a comment\n0.1,0.2\n0.1,0.205\n\n0.9,0.3\n")
    np.testing.assert_allclose(expand(recipe_of(read_points(tmp_path / "path.npy"))).positions, SOME, atol=1e-7)
    path = expand(recipe_of(read_points(tmp_path / "path.csv")))
    np.testing.assert_array_equal(path.positions, SOME)
    assert list(path.chunk(0, 3).kind) == [2, 0, 1]  # flown to, drawn (half a pixel), jumped to
    assert path.coverage.touched == pytest.approx(2 / 1e4)


def test_a_third_column_is_the_relative_dwell(tmp_path):
    (tmp_path / "path.csv").write_text("0.1,0.2,1\n0.5,0.5,2.5\n")
    path = expand(recipe_of(read_points(tmp_path / "path.csv")))
    np.testing.assert_array_equal(path.dwell_us, [2.0, 5.0])
    assert path.dwell_range_us == (2.0, 5.0)


def test_points_lie_in_the_region_that_they_are_given():
    path = expand(recipe_of(Points.from_array(SOME), region=Region(y=0.5, x=0.0, height=0.5, width=0.5)))
    np.testing.assert_allclose(path.positions, SOME * 0.5 + (0.5, 0.0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty path"),
        ("# nothing but a comment\n", "empty path"),
        ("0.1,0.2\nnan,0.3\n", "points[1] = [nan, 0.3] is not finite"),
        ("0.1,0.2\n0.4,inf\n", "not finite"),
        ("0.1,0.2\n12,400\n", "outside the field of view, [0, 1)"),
        ("0.1,-0.01\n", "outside the field of view"),
        ("1.0,0.5\n", "outside the field of view"),
        ("0.1,0.2\n0.3\n", "1 columns where the first line has 2"),
        ("0.1,0.2\nhello,world\n", "no number"),
        ("0.1\n0.2\n", "(n, 2)"),
        ("0.1,0.2,0\n", "dwell = 0.0 is not above 0"),
    ],
)
def test_a_bad_csv_is_refused_with_what_is_wrong_with_it(tmp_path, content, said):
    (tmp_path / "path.csv").write_text(content)
    with pytest.raises(InvalidInput) as refused:
        read_points(tmp_path / "path.csv")
    assert said in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "array", [np.zeros((0, 2)), np.zeros(4), np.zeros((2, 5)), np.array(["a"]), np.zeros((2, 2), dtype=complex)]
)
def test_a_bad_npy_is_refused(tmp_path, array):
    np.save(tmp_path / "path.npy", array)
    with pytest.raises(InvalidInput, match="points"):
        read_points(tmp_path / "path.npy")


def test_objects_in_an_npy_are_never_unpickled(tmp_path):
    np.save(tmp_path / "path.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="cannot be understood"):
        read_points(tmp_path / "path.npy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"nowhere\.csv cannot be read"):
        read_points(tmp_path / "nowhere.csv")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=64), st.integers(-1, 5), st.floats())
def test_any_bytes_are_a_path_or_are_refused(data, columns, jump_px):
    try:
        path = expand(recipe_of(Points(data=data, columns=columns, jump_px=jump_px)))
    except InvalidInput:
        return
    assert ((path.positions >= 0) & (path.positions < 1)).all()


def test_a_partial_frame_holds_the_dwell_weighted_mean_and_the_dwell():
    points = np.array([[0.11, 0.11, 1.0], [0.119, 0.111, 3.0], [0.52, 0.93, 1.0]])
    path = expand(recipe_of(Points.from_array(points)))
    mean, weight = partial_frame(path, np.array([10, 20, 7], dtype=np.uint16))
    assert (mean[11, 11], weight[11, 11]) == (17.5, 8.0)
    assert (mean[52, 93], weight[52, 93]) == (7.0, 2.0)
    assert np.count_nonzero(weight) == 2
    assert mean.dtype == weight.dtype == np.float32


def test_a_partial_frame_grows_with_the_samples_that_have_come():
    path = expand(recipe_of(JitteredGrid(points=400)))
    values = np.arange(400, dtype=np.uint16)
    first, first_weight = partial_frame(path, values[:150])
    rest, rest_weight = partial_frame(path, values[150:], first_index=150)
    whole, whole_weight = partial_frame(path, values)
    np.testing.assert_array_equal(first + rest, whole)
    np.testing.assert_array_equal(first_weight + rest_weight, whole_weight)


def test_a_full_raster_grids_back_to_its_image():
    image = np.random.default_rng(0).integers(0, 65535, (100, 100), dtype=np.uint16)
    mean, _ = partial_frame(expand(recipe_of(Raster())), image.ravel())
    np.testing.assert_array_equal(mean, image)
    bare, counts = partial_frame(expand(recipe_of(Raster())).positions, image.ravel(), (100, 100))
    np.testing.assert_array_equal(bare, image)
    assert (counts == 1).all()


def test_values_that_do_not_fit_the_path_are_refused():
    with pytest.raises(ValueError, match=r"expected \(n,\)"):
        partial_frame(expand(recipe_of(Raster())), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="values for"):
        partial_frame(SOME, np.zeros(2), (10, 10))
