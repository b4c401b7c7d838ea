"""Ede's own paths, against the numbers measured on his (ede2020, section 3) and against Pillow's lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from scancontrol.errors import InvalidInput
from scancontrol.paths import EdeGrid, EdeSpiral, PathRecipe, expand
from scancontrol.paths.patterns.bresenham import polyline_pixels


def path_of(pattern, shape=(512, 512)):
    return expand(PathRecipe(pattern=pattern, shape=shape, fov_nm=20, dwell_us=16))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 39.9), st.floats(0, 39.9)), min_size=2, max_size=12))
def test_lines_of_pixels_are_pillows(vertices):
    image = Image.new("F", (40, 40), 0)
    ImageDraw.Draw(image).line([(x, y) for y, x in vertices], fill=1.0)
    ours = np.zeros((40, 40))
    pixels = polyline_pixels(np.array(vertices))
    ours[pixels[:, 0], pixels[:, 1]] = 1
    np.testing.assert_array_equal(ours, np.asarray(image))


@pytest.mark.parametrize(
    ("one_in", "measured"),
    [
        (10, 11.25),
        (16, 17.86),
        (20, 22.08),
        (25, 27.26),
        (36, 38.23),
        (40, 41.88),
        (49, 49.99),
        (64, 60.51),
        (81, 73.66),
        (100, 87.03),
    ],
)
def test_the_binary_spiral_touches_what_his_touches(one_in, measured):
    coverage = path_of(EdeSpiral(one_in=one_in)).coverage
    assert 1 / coverage.touched == pytest.approx(measured, abs=0.005)
    assert coverage.dose == pytest.approx(coverage.touched)
    assert coverage.nominal == 1 / one_in


def test_the_blurred_spiral_has_the_posters_mask():
    path = path_of(EdeSpiral(one_in=20, blurred=True))
    levels = np.unique(path.dwell_us)  # 16 µs of dwell: one for each sixteenth
    np.testing.assert_allclose(levels, np.arange(1, 11))
    assert levels.max() / 16 == 0.625
    assert path.coverage.touched == pytest.approx(0.175, abs=5e-4)
    assert 1 / path.coverage.dose == pytest.approx(22.07, abs=0.005)


def test_the_spiral_is_pillows_on_the_larger_canvas():
    size, k = 725, 20 / (2 * np.pi)
    theta = np.arange(0, size / 2 / k, size / 2 / k / 10_000)
    image = Image.new("F", (size, size))
    line = list(zip(k * theta * np.cos(theta) + size / 2, k * theta * np.sin(theta) + size / 2, strict=True))
    ImageDraw.Draw(image).line(line, fill=1)
    his = np.asarray(image)[106:618, 106:618]
    ours = np.zeros((512, 512))
    at = (path_of(EdeSpiral(one_in=20)).positions * 512).astype(int)
    ours[at[:, 0], at[:, 1]] = 1
    np.testing.assert_array_equal(ours, his)


@pytest.mark.parametrize(
    ("fraction", "across", "dwell", "pixels"),
    [(0.055, None, 10.1, 6.0), (0.03, None, 18.3, 10.6), (0.013, None, 35.7, 20.6), (0.005, 0.008, 95.7, 54.8)],
)
def test_the_jittered_grids_have_his_dwell_and_pixels(fraction, across, dwell, pixels):
    found = np.array(
        [
            [1 / path.coverage.dose, 1 / path.coverage.touched]
            for path in (path_of(EdeGrid(fraction=fraction, fraction_across=across, seed=s)) for s in range(3))
        ]
    )
    # His random numbers are not ours; single draws scatter by 1 to 2 %.
    np.testing.assert_allclose(found.mean(axis=0), [dwell, pixels], rtol=0.03)


def test_a_grid_with_its_own_transpose_is_symmetric_and_crossings_add_up():
    path = path_of(EdeGrid(fraction=0.03))
    mask = np.zeros((512, 512))
    at = (path.positions * 512).astype(int)
    np.add.at(mask, (at[:, 0], at[:, 1]), path.dwell_us / 16)
    np.testing.assert_allclose(mask, mask.T)
    assert 1.5 < mask.max() <= 2.0


def test_his_paths_are_for_squares():
    with pytest.raises(InvalidInput, match="square frame"):
        path_of(EdeSpiral(), shape=(512, 400))
