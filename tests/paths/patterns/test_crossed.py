"""Strokes that cross a pattern on purpose: where they lie, what they cost, that a plan can ask for them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, JitteredGrid, PathRecipe, expand
from scancontrol.paths.pattern import JUMP


def _recipe(pattern: object, shape: tuple[int, int] = (128, 128)) -> PathRecipe:
    return PathRecipe(pattern=pattern, shape=shape, fov_nm=100.0, dwell_us=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [Archimedean, JitteredGrid])
@pytest.mark.parametrize("crossings", [1, 2])
def test_the_coverage_is_of_strokes_and_pattern_together(pattern: type, crossings: int) -> None:
    path = expand(_recipe(Crossed(pattern=pattern(coverage=CoverageGoal(value=0.1)), crossings=crossings)))
    assert path.coverage.touched == pytest.approx(0.1, rel=0.01)
    assert path.coverage.nominal == 0.1


def test_strokes_run_from_corner_to_corner_a_pixel_a_sample_and_the_pattern_follows_after_a_jump() -> None:
    inner = Archimedean(turn_spacing_px=16.0)
    path, alone = expand(_recipe(Crossed(pattern=inner, crossings=2))), expand(_recipe(inner))
    strokes = path.count - alone.count
    each = strokes // 2
    steps = np.hypot(*(np.diff(path.positions[:each], axis=0) * 128).T)
    assert np.allclose(steps, 1.0, atol=0.01)
    assert np.allclose(path.positions[[0, each - 1]], [[0, 0], [1, 1]], atol=0.01)
    assert np.allclose(path.positions[[each, strokes - 1]], [[0, 1], [1, 0]], atol=0.01)
    assert np.array_equal(path.positions[strokes:], alone.positions)
    kind = path.chunk(0, path.count).kind
    assert set(np.flatnonzero(kind[: strokes + 1])) == {each, strokes}
    assert kind[strokes] == JUMP


def test_a_plan_may_ask_for_it() -> None:
    text = b'{"kind":"crossed","crossings":2,"pattern":{"kind":"archimedean","coverage":{"value":0.05}}}'
    pattern = msgspec.json.decode(text, type=Crossed)
    assert pattern.coverage == CoverageGoal(value=0.05)
    assert _recipe(pattern).path_id == _recipe(msgspec.json.decode(msgspec.json.encode(pattern), type=Crossed)).path_id


def test_other_numbers_of_strokes_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="crossings"):
        Crossed(pattern=Archimedean(turn_spacing_px=9.0), crossings=3)
