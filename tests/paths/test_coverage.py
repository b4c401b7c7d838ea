"""Coverage is solved for by its definition, and counted by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from path_strategies import FREE, asking

from scancontrol.errors import InvalidInput
from scancontrol.paths import (
    Archimedean,
    CoverageGoal,
    EdeSpiral,
    Fermat,
    Lissajous,
    PathRecipe,
    Points,
    Raster,
    Region,
    expand,
    solve,
    solving,
)


def recipe_of(pattern, shape=(256, 256), **more):
    return PathRecipe(pattern=pattern, shape=shape, fov_nm=20, dwell_us=2, dac_bits=16, clock_mhz=8, **more)


def counted(path):
    """Touched fraction counted from positions in the plainest way."""
    rows, cols = path.shape
    pixels = set(zip((path.positions[:, 0] * rows).astype(int), (path.positions[:, 1] * cols).astype(int), strict=True))
    return len(pixels) / (rows * cols)


@pytest.mark.parametrize("by", ["touched", "dose"])
@pytest.mark.parametrize("value", [0.1, 0.05, 0.01])
@pytest.mark.parametrize("kind", FREE)
def test_solved_coverage_is_within_half_a_percent_of_what_was_asked(kind, value, by):
    path = expand(recipe_of(asking(kind, value, by)))
    assert path.coverage.nominal == value
    whole_pixel = 1 / (value * 256 * 256)
    assert getattr(path.coverage, by) == pytest.approx(value, rel=max(0.005, whole_pixel))
    assert path.coverage.touched == pytest.approx(counted(path), rel=1e-12)
    assert path.coverage.dose == pytest.approx(path.dwell_us.sum() / (2 * 256 * 256), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(sorted(FREE)),
    value=st.floats(0.015, 0.2),
    by=st.sampled_from(["touched", "dose"]),
    shape=st.tuples(st.integers(120, 300), st.integers(120, 300)),
    seed=st.integers(0, 50),
)
@example(kind="hilbert", value=0.123046875, by="touched", shape=(120, 120), seed=0)  # in step with the pixels
def test_solved_coverage_holds_on_any_frame(kind, value, by, shape, seed):
    recipe, tolerance = recipe_of(asking(kind, value, by, seed), shape), max(0.005, 1 / (value * shape[0] * shape[1]))
    try:
        path = expand(recipe)
    except InvalidInput:
        if kind != "hilbert":
            raise
        # With one more node a row, the coverage jumps past some values. That must be so at every density around.
        around = [solving._measured(solving._at(recipe, value * factor)) for factor in np.geomspace(0.8, 1.25, 500)]
        assert min(abs(measured / value - 1) for measured in around) > tolerance
        return
    assert getattr(path.coverage, by) == pytest.approx(value, rel=tolerance)


def test_coverage_is_counted_over_the_region():
    region = Region(y=0.25, x=0.25, height=0.5, width=0.5)
    path = expand(recipe_of(asking("jittered_grid", 0.05), region=region))
    assert path.coverage.touched == pytest.approx(0.05, rel=0.005)
    assert path.count == pytest.approx(0.05 * 128 * 128, rel=0.005)
    assert ((path.positions >= 0.25) & (path.positions < 0.75)).all()


def test_a_full_raster_covers_everything_once():
    coverage = expand(recipe_of(Raster())).coverage
    assert (coverage.nominal, coverage.touched) == (1.0, 1.0)
    assert coverage.dose == pytest.approx(1.0, rel=1e-12)


def test_the_solved_parameter_travels_in_the_recipe():
    solved = solve(recipe_of(asking("archimedean", 0.05)))
    assert solved.pattern.turn_spacing_px is not None
    assert solve(solved) is solved
    # A line one pixel wide, turns 1/c apart, touches 1/c of the pixels but for steps around corners.
    assert solved.pattern.turn_spacing_px == pytest.approx(19.0, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "fields"), [(EdeSpiral, {}), (Points, {"data": bytes(16)})], ids=["ede_spiral", "points"]
)
def test_patterns_without_a_free_parameter_refuse_a_coverage(kind, fields):
    with pytest.raises(InvalidInput, match="leave coverage out"):
        kind(coverage=CoverageGoal(value=0.1), **fields)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_a_coverage_that_cannot_be_is_refused_with_its_limits(value):
    with pytest.raises(InvalidInput, match="above 0 and at most 1"):
        expand(recipe_of(asking("archimedean", value)))


def test_a_spiral_can_be_asked_to_touch_nearly_everything():
    assert expand(recipe_of(asking("archimedean", 0.98), (128, 128))).coverage.touched == pytest.approx(0.98, rel=0.005)


def test_a_fermat_spiral_spreads_its_dose_evenly_and_an_angular_one_does_not():
    def inner_share(pattern):
        """Of the dose within the inscribed circle, the share inside half its radius, a quarter of its area."""
        radius = np.hypot(*(expand(recipe_of(pattern)).positions - 0.5).T)
        return (radius < 0.25).sum() / (radius < 0.5).sum()

    assert inner_share(Fermat(turns=12)) == pytest.approx(0.25, abs=0.02)
    assert inner_share(Archimedean(turn_spacing_px=8)) == pytest.approx(0.25, abs=0.02)
    assert inner_share(Archimedean(turn_spacing_px=8, speed="angular")) == pytest.approx(0.5, abs=0.02)


def test_a_coverage_that_no_whole_number_of_samples_gives_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match="nearest is"):
        expand(recipe_of(Lissajous(coverage=CoverageGoal(value=0.9)), (16, 16)))
