"""Hilbert curves, tours, grids, walks: each pattern's own mathematics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.errors import InvalidInput
from scancontrol.paths import (
    Hilbert,
    Interlaced,
    JitteredGrid,
    LineHop,
    Lissajous,
    MomentumWalk,
    PathRecipe,
    Serpentine,
    UniformRandom,
    expand,
)
from scancontrol.paths.patterns.hashing import uniform
from scancontrol.paths.patterns.hilbert import hilbert_cells
from scancontrol.paths.patterns.tours import BHH, shortened, tour_length
from scancontrol.paths.patterns.turns import sin_cos_turns


def path_of(pattern, shape=(128, 128)):
    return expand(PathRecipe(pattern=pattern, shape=shape, fov_nm=20, dwell_us=2))


def pixels_of(path):
    return (path.positions * path.shape).astype(int)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70))
def test_a_hilbert_curve_visits_every_cell_of_any_rectangle_once_from_neighbour_to_neighbour(rows, cols):
    cells = hilbert_cells(np.arange(rows * cols), rows, cols)
    assert len(np.unique(cells @ [cols, 1])) == rows * cols
    assert (cells.min(axis=0) == 0).all()
    assert (cells.max(axis=0) == (rows - 1, cols - 1)).all()
    steps = np.abs(np.diff(cells, axis=0))
    assert (steps.max(axis=1, initial=0) <= 1).all()
    assert (steps.sum(axis=1) == 2).sum() <= 1  # at most one diagonal, where parity leaves no other way


def test_any_part_of_a_hilbert_curve_can_be_computed_alone():
    whole = hilbert_cells(np.arange(200 * 301), 200, 301)
    some = np.sort(np.random.default_rng(3).choice(200 * 301, 5000, replace=False))
    np.testing.assert_array_equal(hilbert_cells(some, 200, 301), whole[some])


def test_a_sparse_hilbert_curve_is_drawn_without_gaps():
    path = path_of(Hilbert(nodes=(9, 13)), (100, 150))
    steps = np.hypot(*(np.diff(path.positions, axis=0) * path.shape).T)
    assert steps.max() < 1.1


def test_a_random_scan_visits_distinct_pixels_each_equally_often():
    hits = np.zeros((64, 64))
    for seed in range(80):
        at = pixels_of(path_of(UniformRandom(points=205, seed=seed, order="curve"), (64, 64)))
        assert len(np.unique(at @ [64, 1])) == 205
        hits[at[:, 0], at[:, 1]] += 1
    # Binomial with p = 1/20: the mean square deviation over its expectation is 1 to within its own scatter.
    expected = 80 * 205 / 4096
    dispersion = ((hits - expected) ** 2).mean() / (expected * (1 - 205 / 4096))
    assert dispersion == pytest.approx(1, abs=6 * math.sqrt(2 / 4096))
    halves = hits[:, :32].sum() / hits.sum()
    assert halves == pytest.approx(0.5, abs=0.01)


def test_the_tour_through_random_pixels_is_within_a_sixth_of_the_best():
    points = pixels_of(path_of(UniformRandom(points=1600, order="tour"), (256, 256))).astype(float)
    curve = pixels_of(path_of(UniformRandom(points=1600, order="curve"), (256, 256))).astype(float)
    assert set(map(tuple, points)) == set(map(tuple, curve))
    # Of so few points the best tour is itself 2 % longer than the limit (Johnson, McGeoch and Rothberg).
    best = BHH * math.sqrt(1600 * 256 * 256)
    assert tour_length(curve) / best < 1.45
    assert tour_length(points) / best < 1.17


def test_shortening_keeps_every_point_and_both_ends():
    points = np.random.default_rng(0).random((150, 2))
    order = shortened(points)
    assert sorted(order) == list(range(150))
    assert (order[0], order[-1]) == (0, 149)
    assert tour_length(points[order]) < 0.2 * tour_length(points)


def test_shortening_finds_the_straight_line():
    line = np.stack([np.zeros(60), np.arange(60.0)], axis=1)
    shuffled = np.concatenate([[0], 1 + np.random.default_rng(2).permutation(58), [59]])
    assert tour_length(line[shuffled][shortened(line[shuffled])]) == pytest.approx(59)


def test_per_cell_jitter_draws_one_pixel_of_each_cell_independently():
    path = path_of(JitteredGrid(points=1024, seed=4))
    at = pixels_of(path)
    np.testing.assert_array_equal(np.bincount((at[:, 0] // 4) * 32 + at[:, 1] // 4), np.ones(1024))
    within = at % 4
    np.testing.assert_allclose(np.bincount(within[:, 0]) / 1024, 0.25, atol=0.06)
    assert abs(np.corrcoef(within[:-1, 0], within[1:, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(within.T)[0, 1]) < 0.1


def test_a_grid_without_jitter_is_regular():
    at = pixels_of(path_of(JitteredGrid(points=1024, jitter=0.0)))
    assert set(at[:, 0] % 4) == set(at[:, 1] % 4) == {2}


@pytest.mark.parametrize("points", [1, 2, 7, 97, 1001, 127 * 128, 128 * 128])
def test_any_number_of_jittered_points_is_met_on_distinct_pixels(points):
    at = pixels_of(path_of(JitteredGrid(points=points)))
    assert len(np.unique(at @ [128, 1])) == points


def test_line_hops_stay_within_their_band_and_their_hop():
    path = path_of(LineHop(points=128 * 8, hop_px=2))
    at = pixels_of(path).reshape(8, 128, 2)
    for line, rows in enumerate(at[:, :, 0]):
        assert ((rows >= line * 16) & (rows < line * 16 + 16)).all()
        assert np.abs(np.diff(rows)).max() <= 2
    assert len(np.unique(at.reshape(-1, 2) @ [128, 1])) == 1024


def test_a_momentum_walk_and_its_own_transpose_are_mirror_images():
    at = pixels_of(path_of(MomentumWalk(channels=4, transpose="own")))
    half = len(at) // 2
    np.testing.assert_array_equal(at[:half], at[half:, ::-1])
    independent = pixels_of(path_of(MomentumWalk(channels=4, transpose="independent")))
    assert set(map(tuple, independent)) != set(map(tuple, at))


def test_a_momentum_walk_stays_in_its_channel_and_is_drawn_without_gaps():
    path = path_of(MomentumWalk(channels=8, transpose="none"))
    chunk = path.chunk(0, path.count)
    steps = np.hypot(*(np.diff(path.positions, axis=0) * path.shape).T)
    assert steps[chunk.kind[1:] == 0].max() <= 1.0 + 1e-9
    starts = np.flatnonzero(chunk.kind)
    assert len(starts) == 8
    for line, part in enumerate(np.split(path.positions[:, 0] * 128, starts[1:])):
        assert (np.abs(part - (line + 0.5) * 16) <= 7.5 + 1e-9).all()


def test_an_interlaced_raster_visits_every_line_once_and_never_neighbours_in_turn():
    path = path_of(Interlaced(fields=4), (30, 16))
    lines = pixels_of(path)[::16, 0]
    assert sorted(lines) == list(range(30))
    assert np.abs(np.diff(lines)).min() > 1


def test_a_serpentine_never_moves_further_than_a_pixel():
    steps = np.diff(pixels_of(path_of(Serpentine(), (20, 30))), axis=0)
    assert (np.abs(steps).sum(axis=1) == 1).all()


def test_a_lissajous_figure_closes_and_is_symmetric():
    path = path_of(Lissajous(cycles=5, beats=1))
    np.testing.assert_allclose(path.positions[1:] + path.positions[:0:-1], 1.0, atol=1e-12)
    assert np.hypot(*(np.diff(path.positions, axis=0) * 128).T).max() <= 1.0 + 1e-6


def test_more_random_points_than_pixels_are_refused():
    with pytest.raises(InvalidInput, match="above the region's pixels"):
        path_of(UniformRandom(points=65), (8, 8))


def test_sines_of_whole_turns_are_right_to_the_last_places():
    turns = np.random.default_rng(0).uniform(-1000, 1000, 20_000)
    exact = turns - np.rint(turns)  # exact in floating point, and small enough for numpy's own sine
    sine, cosine = sin_cos_turns(turns)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * exact), atol=2e-15)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * exact), atol=2e-15)


def test_random_numbers_by_index_are_uniform_and_unlike_their_neighbours():
    draws = uniform(7, np.arange(100_000), 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(np.histogram(draws, 20, (0, 1))[0], 5000, rtol=0.06)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(draws, uniform(7, np.arange(100_000), 4))[0, 1]) < 0.01
    assert abs(np.corrcoef(draws, uniform(8, np.arange(100_000), 3))[0, 1]) < 0.01
