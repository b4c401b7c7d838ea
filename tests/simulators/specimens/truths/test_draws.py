"""Specimens by kind and by name."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from scancontrol.errors import InvalidInput
from simulators.specimens.truths.draws import KINDS, STANDARD, draw, named
from simulators.specimens.truths.truth import ColumnKind

SHAPE = (192, 160)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_specimen(kind: str) -> None:
    first, again = (draw(kind, SHAPE, np.random.default_rng(5)) for _ in range(2))
    other = draw(kind, SHAPE, np.random.default_rng(6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.columns.position_px, again.columns.position_px)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("period_px", [4.0, 30.0])
def test_a_picture_is_finite_and_never_negative(kind: str, period_px: float) -> None:
    truth = draw(kind, SHAPE, np.random.default_rng(1), period_px)
    assert truth.kind == kind
    assert truth.image.shape == SHAPE
    assert truth.image.dtype == np.float32
    assert np.isfinite(truth.image).all()
    assert truth.image.min() >= 0
    assert np.ptp(truth.image) > 0.1


@pytest.mark.parametrize("name", [name for name in STANDARD if "px" in name and "particles" not in name])
def test_columns_stand_where_they_are_said_to_stand(name: str) -> None:
    truth = named(name, (256, 256))
    columns = truth.columns
    inside = ((columns.position_px > 8) & (columns.position_px < 247)).all(1) & (columns.kind == ColumnKind.ORDINARY)
    position = columns.position_px[inside]
    assert len(position) > 20
    peak = map_coordinates(truth.image, position.T, order=3)
    for away in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        assert (map_coordinates(truth.image, (position + away).T, order=3) < peak).mean() > 0.98


def test_a_name_draws_the_recipe_of_the_first_table() -> None:
    truth = named("two_species-10px", (512, 512))
    columns = truth.columns
    second = columns.species == 1
    assert truth.period_px == pytest.approx(10)
    assert columns.sigma_px == pytest.approx(10 / 6)
    assert np.array_equal(columns.ordinary_height, np.where(second, 0.45, 1.0))
    assert second.mean() == pytest.approx(0.5, abs=0.01)
    vacancy = columns.kind == ColumnKind.VACANCY
    assert vacancy.mean() == pytest.approx(0.03, abs=0.006)
    assert columns.height[vacancy] == pytest.approx(0.55 * columns.ordinary_height[vacancy])
    assert np.array_equal(columns.height[~vacancy], columns.ordinary_height[~vacancy])


def test_another_seed_in_the_name_is_another_specimen_of_its_sort() -> None:
    assert not np.array_equal(named("film", SHAPE).image, named("film#2", SHAPE).image)


@pytest.mark.parametrize("name", ["nonsense", "square-2px", "square-40px", "square 7px", "square-7"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"specimen|period_px"):
        named(name, SHAPE)


def test_without_a_kind_half_of_the_draws_are_of_the_random_kinds() -> None:
    rng = np.random.default_rng(3)
    kinds = [draw(None, (64, 64), rng).kind for _ in range(300)]
    assert 0.45 < sum(kind.startswith("random") for kind in kinds) / len(kinds) < 0.7
    assert len(set(kinds)) == len(KINDS)


@pytest.mark.parametrize("kind", ["strained", "bent"])
def test_a_distorted_lattice_is_distorted_by_two_per_cent(kind: str) -> None:
    columns = draw(kind, (512, 512), np.random.default_rng(2), 10.0).columns
    moved = np.linalg.norm(columns.displacement_px, axis=1)
    site = columns.position_px - columns.displacement_px - 255.5
    within = np.linalg.norm(site, axis=1) < 256
    assert moved[within].max() == pytest.approx(0.02 * 256 / 2, rel=0.05)
    axis = columns.displacement_px[moved.argmax()] / moved.max()
    along = site @ (axis if kind == "strained" else axis[::-1] * (1, -1))
    assert moved == pytest.approx(0.02 * along**2 / 512, abs=1e-9)


def test_columns_beside_a_boundary_are_marked_and_keep_apart() -> None:
    truth = named("antiphase-12px", (256, 256))
    boundary = truth.columns.kind == ColumnKind.BOUNDARY
    assert 0.02 < boundary.mean() < 0.2
    position = truth.columns.position_px
    gaps = np.linalg.norm(position[:, None] - position[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() > 12 / 3


def test_the_edges_of_particles_are_as_wide_as_they_are_said_to_be() -> None:
    truth = named("particles", (512, 512))
    edges = truth.edges
    assert len(edges) >= 10
    for position, normal, width, reach in zip(
        edges.position_px, edges.normal, edges.width_px, edges.reach_px, strict=True
    ):
        way = np.linspace(-reach, reach, 401)
        profile = map_coordinates(truth.image, (position[:, None] + normal[:, None] * way), order=3)
        share = (profile - profile[-1]) / (profile[0] - profile[-1])
        measured = way[np.argmax(share < 0.1)] - way[np.argmax(share < 0.9)]
        assert measured == pytest.approx(width, abs=0.6)


def test_a_field_of_512_pixels_is_drawn_fast_enough_for_training() -> None:
    rng = np.random.default_rng(0)
    started = time.process_time()
    for _ in range(20):
        draw(None, (512, 512), rng)
    assert (time.process_time() - started) / 20 < 0.15  # about 0.02 s on a quiet core
