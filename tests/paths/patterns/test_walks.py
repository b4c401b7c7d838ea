"""Walks stay within their limits and are the same numbers wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Canvas
from scancontrol.paths.patterns.walks import LineHop, MomentumWalk, momentum_walk

CANVAS = Canvas(48, 64)


def test_a_momentum_walk_stays_within_its_limit_and_wanders() -> None:
    offsets = momentum_walk(np.arange(20), 200, 2.5, 1.0, seed=3)
    assert offsets.shape == (20, 200)
    assert np.abs(offsets).max() == 2.5
    assert offsets.std(axis=1).min() > 0.3


def test_a_channel_s_walk_does_not_depend_on_which_others_are_walked_with_it() -> None:
    together = momentum_walk(np.arange(8), 50, 2.0, 1.0, seed=3)
    np.testing.assert_array_equal(momentum_walk(np.array([5]), 50, 2.0, 1.0, seed=3)[0], together[5])


def test_another_stream_is_another_walk() -> None:
    one, other = (momentum_walk(np.arange(4), 50, 2.0, 1.0, seed=3, stream=stream) for stream in (0, 1))
    assert not np.array_equal(one, other)


def test_each_sample_of_a_line_hop_is_on_a_pixel_of_its_own() -> None:
    layout = LineHop(points=500, hop_px=2, seed=1).lay(CANVAS)
    fractions = layout.samples(0, layout.count).fractions
    pixels = np.floor(fractions * (48, 64)).astype(int)
    assert layout.count == 500
    assert len(np.unique(pixels, axis=0)) == 500


def test_a_stretch_of_a_line_hop_is_that_part_of_the_whole() -> None:
    layout = LineHop(points=500, hop_px=2, seed=1).lay(CANVAS)
    whole = layout.samples(0, layout.count)
    part = layout.samples(190, 100)
    np.testing.assert_array_equal(part.fractions, whole.fractions[190:290])
    np.testing.assert_array_equal(part.move, whole.move[190:290])


@pytest.mark.parametrize(("transpose", "more"), [("none", False), ("own", True), ("independent", True)])
def test_channels_are_crossed_only_where_that_is_asked_for(transpose: str, more: bool) -> None:
    walk = MomentumWalk(channels=4, transpose=transpose, seed=2)  # type: ignore[arg-type]
    alone = MomentumWalk(channels=4, transpose="none", seed=2).lay(CANVAS).count
    layout = walk.lay(CANVAS)
    assert (layout.count > 1.5 * alone) is more
    fractions = layout.samples(0, layout.count).fractions
    assert fractions.min() >= 0
    assert fractions.max() < 1


def test_more_hops_than_pixels_are_refused() -> None:
    with pytest.raises(InvalidInput, match="points"):
        LineHop(points=48 * 64 + 1).lay(CANVAS)
