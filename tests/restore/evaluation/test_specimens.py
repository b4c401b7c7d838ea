"""What a microscopist measures, against answers that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.evaluation.specimens import (
    SpecimenScore,
    column_heights,
    column_positions,
    edge_widths,
    mean_score,
    score_specimen,
)
from simulators.specimens.truths.columns import laid, rendered, square
from simulators.specimens.truths.draws import named
from simulators.specimens.truths.truth import ColumnKind, Columns, Truth

SHAPE = (192, 192)
NOWHERE = np.array([[-1000, -1000]])


def _vacancies_filled(truth: Truth) -> np.ndarray:
    """The specimen as a perfect crystal: what a lattice alone would draw."""
    columns = replace(truth.columns, height=truth.columns.ordinary_height)
    return rendered(columns, SHAPE).astype(np.float64) + 0.05


@pytest.mark.parametrize("name", ["two_species-8px", "hexagonal-16px", "doped-12px", "bent-12px", "wedge-12px"])
def test_the_truth_itself_has_no_error(name: str) -> None:
    truth = named(name, SHAPE)
    score = score_specimen(truth, truth.image.astype(np.float64), np.full(SHAPE, 1e-6), NOWHERE)
    assert score.height == pytest.approx(1)
    assert score.position_px == pytest.approx(0, abs=0.04)
    assert score.defect_contrast == pytest.approx(1)
    assert score.false_defects == 0
    assert score.defects_held == 1


def test_heights_and_contrast_follow_the_estimates_own() -> None:
    truth = named("two_species-12px", SHAPE)
    score = score_specimen(truth, 0.4 * truth.image.astype(np.float64) + 0.3, None, NOWHERE)
    assert score.height == pytest.approx(0.4)
    assert score.defect_contrast == pytest.approx(0.4)
    assert score.position_px == pytest.approx(0, abs=0.04)
    assert score.defects_held is None


def test_the_peak_counts_what_neighbours_add_where_the_height_does_not() -> None:
    truth = named("two_species-8px", SHAPE)
    image = truth.image.astype(np.float64)
    flat = score_specimen(truth, np.full(SHAPE, image.mean()), None, NOWHERE)
    darkest = np.percentile(image, 0.1)
    assert flat.height == pytest.approx(0, abs=1e-9)
    assert flat.peak == pytest.approx((image.mean() - darkest) / (1.05 - darkest), abs=0.02)
    low = score_specimen(truth, darkest + 0.4 * (image - darkest), None, NOWHERE)
    assert low.height == pytest.approx(0.4)
    assert low.peak == pytest.approx(0.4)


def test_a_perfect_crystal_shows_no_vacancy_and_is_contradicted_where_one_is() -> None:
    truth = named("two_species-12px", SHAPE)
    score = score_specimen(truth, _vacancies_filled(truth), np.full(SHAPE, 0.02), NOWHERE)
    assert score.height == pytest.approx(1, abs=0.01)
    assert score.defect_contrast == pytest.approx(0, abs=0.02)
    assert score.false_defects == 0
    assert score.defects_held == 0


def test_only_defects_on_which_a_sample_fell_count_as_hit() -> None:
    truth = named("square-12px", SHAPE)
    vacancies = truth.columns.where(truth.columns.kind == ColumnKind.VACANCY).position_px
    inside = vacancies[((vacancies > 12) & (vacancies < 179)).all(1)]
    hit = np.rint(inside[:2]).astype(np.int64)
    half = _vacancies_filled(truth)
    for y, x in hit:
        part = (slice(y - 5, y + 6), slice(x - 5, x + 6))
        half[part] = truth.image[part]
    score = score_specimen(truth, half, None, hit)
    assert score.defect_contrast_hit == pytest.approx(1, abs=0.03)
    assert score.defect_contrast is not None
    assert score.defects_hit is not None
    assert score.defect_contrast == pytest.approx(score.defects_hit, abs=0.03)


def test_ordinary_columns_that_are_drawn_as_vacancies_are_false_defects() -> None:
    truth = named("square-12px", SHAPE)
    columns = truth.columns
    lowered = np.flatnonzero(columns.kind == ColumnKind.ORDINARY)[::10]
    height = columns.height.copy()
    height[lowered] *= 0.55
    score = score_specimen(truth, rendered(replace(columns, height=height), SHAPE).astype(np.float64), None, NOWHERE)
    assert score.false_defects == pytest.approx(0.1, abs=0.02)


def test_columns_that_were_moved_are_found_where_they_are() -> None:
    columns = laid(square(12.0).turned(20.0), SHAPE, (0.3, 0.1))
    inside = columns.where(((columns.position_px > 10) & (columns.position_px < 181)).all(1))
    shift = np.array((0.6, -0.8))
    moved = replace(columns, position_px=columns.position_px + shift)
    image = rendered(moved, SHAPE).astype(np.float64)
    found = column_positions(image, inside, 6.0)
    assert found == pytest.approx(np.tile(shift, (len(inside), 1)), abs=0.03)
    assert column_heights(image, moved.where(((moved.position_px > 10) & (moved.position_px < 181)).all(1)), 6.0) == (
        pytest.approx(1, abs=0.05)
    )


def test_a_position_is_never_beyond_the_window() -> None:
    columns = laid(square(12.0), SHAPE, (0.3, 0.1))
    inside = columns.where(((columns.position_px > 10) & (columns.position_px < 181)).all(1))
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    assert np.linalg.norm(column_positions(noise, inside, 6.0), axis=1).max() <= 6.0 + 1e-9


def test_the_width_of_an_edge_grows_as_blur_says() -> None:
    truth = named("particles", (384, 384))
    sharp = edge_widths(truth.image.astype(np.float64), truth.edges)
    assert sharp == pytest.approx(truth.edges.width_px, abs=0.6)
    blurred = edge_widths(gaussian_filter(truth.image.astype(np.float64), 2.0), truth.edges)
    expected = np.hypot(truth.edges.width_px, 2.5631 * 2.0)
    assert blurred == pytest.approx(expected, abs=0.6)


def test_a_film_has_neither_columns_nor_edges() -> None:
    truth = named("film", SHAPE)
    assert score_specimen(truth, truth.image.astype(np.float64), None, NOWHERE) == SpecimenScore()


def test_the_mean_of_scores_leaves_out_what_is_not_known() -> None:
    found = mean_score([SpecimenScore(height=0.5), SpecimenScore(height=0.7, defects_held=1.0)])
    assert found == SpecimenScore(height=pytest.approx(0.6), defects_held=1.0)


def test_too_few_columns_are_not_measured() -> None:
    one = laid(square(100.0), (64, 64), (0.0, 0.0))
    one = one.where(np.arange(len(one)) == 0)
    assert isinstance(one, Columns)
    truth = Truth("one", rendered(one, (64, 64)), one)
    assert score_specimen(truth, truth.image.astype(np.float64), None, NOWHERE).height is None
