"""Lattices as columns, and the picture of them."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.specimens.truths.columns import hexagonal, laid, rendered, square, two_species, with_vacancies
from simulators.specimens.truths.truth import ColumnKind, Columns


def test_a_picture_is_the_sum_of_its_columns() -> None:
    columns = laid(two_species(9.0).turned(17.0), (40, 56), (0.2, 0.7))
    rows, cols = np.mgrid[:40, :56]
    expected = np.zeros((40, 56))
    for (y, x), height, sigma in zip(columns.position_px, columns.height, columns.sigma_px, strict=True):
        expected += height * np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / (2 * sigma**2))
    assert rendered(columns, (40, 56)) == pytest.approx(expected, abs=2e-3)


def test_a_frame_without_columns_is_empty() -> None:
    assert not rendered(Columns.joined(), (8, 8)).any()


@pytest.mark.parametrize(("cell", "neighbours"), [(square(8.0), 4), (hexagonal(8.0), 6)])
def test_every_column_has_its_neighbours_a_period_away(cell, neighbours) -> None:
    position = laid(cell.turned(33.0), (100, 100), (0.1, 0.4)).position_px
    middle = position[np.abs(position - 50).max(1) < 30]
    distance = np.linalg.norm(middle[:, None] - position[None], axis=-1)
    assert (np.isclose(distance, 8.0, atol=1e-9).sum(1) == neighbours).all()


def test_a_lattice_covers_the_field_and_what_reaches_into_it() -> None:
    position = laid(square(20.0).turned(45.0), (100, 60), (0.0, 0.0)).position_px
    assert (position.min(0) < 0).all()
    assert (position.max(0) > (99, 59)).all()


def test_a_vacancy_is_never_made_of_a_vacancy() -> None:
    columns = laid(square(5.0), (200, 200), (0.0, 0.0))
    twice = with_vacancies(
        with_vacancies(columns, 0.5, 0.5, np.random.default_rng(1)), 0.5, 0.1, np.random.default_rng(2)
    )
    assert set(twice.height.round(9)) == {1.0, 0.5, 0.1}
    assert ((twice.kind == ColumnKind.VACANCY) == (twice.height < 1)).all()
