"""Curves about the centre keep exactly the samples that lie in the region, in order, and say where the beam jumps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP
from scancontrol.paths.patterns.clipping import BLOCK, MAX_RAW_SAMPLES, clipped

Array = NDArray[np.float64]
COUNT = 2 * BLOCK + 1000  # of three blocks, the last one short


def radius_px(turns: Array) -> Array:
    return 1.5 * turns


def turns(index: Array) -> Array:
    return np.sqrt(index / 40)


def whole(canvas: Canvas) -> tuple[Array, NDArray[np.bool_]]:
    """Every point of the curve in fractions of the region, and which are inside."""
    turn = turns(np.arange(COUNT, dtype=np.float64))
    angle = 2 * np.pi * turn
    y = 0.5 + radius_px(turn) * np.sin(angle) / canvas.height_px
    x = 0.5 + radius_px(turn) * np.cos(angle) / canvas.width_px
    return np.stack([y, x], axis=1), (y >= 0) & (y < 1) & (x >= 0) & (x < 1)


@pytest.mark.parametrize("canvas", [Canvas(60, 60), Canvas(30, 80), Canvas(200, 200)])
def test_the_samples_are_those_of_the_curve_that_lie_inside(canvas: Canvas) -> None:
    layout = clipped(COUNT, radius_px, turns, canvas)
    points, inside = whole(canvas)
    assert layout.count == inside.sum()
    np.testing.assert_allclose(layout.samples(0, layout.count).fractions, points[inside], atol=1e-9)


def test_the_beam_jumps_where_samples_were_left_out_and_nowhere_else() -> None:
    canvas = Canvas(30, 80)
    layout = clipped(COUNT, radius_px, turns, canvas)
    kept = np.flatnonzero(whole(canvas)[1])
    move = layout.samples(0, layout.count).move
    assert move[0] == FLYBACK
    np.testing.assert_array_equal(move[1:], np.where(np.diff(kept) > 1, JUMP, CONTINUOUS))


def test_a_stretch_is_the_same_as_that_part_of_the_whole() -> None:
    layout = clipped(COUNT, radius_px, turns, Canvas(60, 60))
    all_of_it = layout.samples(0, layout.count)
    part = layout.samples(layout.count // 3, 500)
    np.testing.assert_array_equal(part.fractions, all_of_it.fractions[layout.count // 3 :][:500])
    np.testing.assert_array_equal(part.move, all_of_it.move[layout.count // 3 :][:500])


def test_a_first_turn_turns_the_curve_about_the_centre() -> None:
    canvas = Canvas(200, 200)
    straight = clipped(1000, radius_px, turns, canvas).samples(0, 1000).fractions
    turned = clipped(1000, radius_px, turns, canvas, first_turn=0.25).samples(0, 1000).fractions
    np.testing.assert_allclose(turned[:, 0] - 0.5, straight[:, 1] - 0.5, atol=1e-9)
    np.testing.assert_allclose(turned[:, 1] - 0.5, 0.5 - straight[:, 0], atol=1e-9)


def test_more_samples_than_any_microscope_takes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=str(MAX_RAW_SAMPLES)):
        clipped(MAX_RAW_SAMPLES + 1, radius_px, turns, Canvas(60, 60))
