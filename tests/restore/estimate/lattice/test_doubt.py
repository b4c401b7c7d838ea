"""Where readings contradict a lattice, what it says is doubted, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from crystals import scattered, square_lattice

from restore.estimate.lattice.doubt import doubt, guessed, spread_around
from restore.estimate.lattice.fit import fit_lattice
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.fills.registry import positions_px

pytestmark = pytest.mark.slow

SHAPE = (160, 160)


def _readings(turned: bool) -> Readings:
    """Of a lattice that goes on over the whole field, or of which the right half is another's."""
    geometry = scattered(0.05, SHAPE)
    positions = positions_px(geometry)
    values = square_lattice(10, SHAPE, angle_deg=0).read(geometry, electrons=100)
    if turned:
        other = square_lattice(10, SHAPE, angle_deg=40).read(geometry, electrons=100)
        values = torch.where(positions[:, 1] < SHAPE[1] / 2, values, other)
    return Readings(values - values.mean(), positions, torch.ones(len(values)), SHAPE)


@pytest.fixture(scope="module")
def fit() -> LatticeFit:
    return fit_lattice(_readings(turned=False), torch.eye(2, dtype=torch.float64) / 10)


def test_a_lattice_that_readings_agree_with_is_doubted_nowhere(fit: LatticeFit) -> None:
    assert float((doubt(_readings(turned=False), fit) > 0.1).float().mean()) < 0.02


def test_in_another_grain_every_place_may_be_anything_that_columns_may_be(fit: LatticeFit) -> None:
    doubted = doubt(_readings(turned=True), fit)
    assert doubted.shape == SHAPE
    assert float(doubted[16:-16, 100:144].median()) > 0.9
    table = fit.cell.table()[0]
    width = guessed(fit, None, doubted, spread_around(_readings(turned=True), [fit]))[16:-16, 100:144]
    assert float(width.median()) > 0.45 * float(table.max() - table.min())
    assert float((doubted[16:-16, 16:60] > 0.1).float().mean()) < 0.02


def test_readings_of_no_weight_contradict_nothing(fit: LatticeFit) -> None:
    readings = _readings(turned=True)
    left = (readings.positions[:, 1] < SHAPE[1] / 2).float()
    assert float((doubt(replace(readings, weights=left), fit) > 0.1).float().mean()) < 0.02


def test_of_a_hundredth_of_the_pixels_chance_makes_no_doubt() -> None:
    shape = (320, 320)
    geometry = scattered(0.01, shape)
    lattice = square_lattice(9, shape, angle_deg=0, vacancies=0.04)
    values = lattice.read(geometry, electrons=60)
    readings = Readings(values - values.mean(), positions_px(geometry), torch.ones(len(values)), shape)
    fit = fit_lattice(readings, torch.eye(2, dtype=torch.float64) / 9)
    assert float((doubt(readings, fit) > 0.1).float().mean()) < 0.001


def test_what_is_even_is_not_far_from_even(fit: LatticeFit) -> None:
    readings = _readings(turned=False)
    even = replace(readings, values=0.02 * torch.sin(readings.positions[:, 0]))
    doubted = doubt(even, fit)
    assert float(doubted.median()) > 0.9
    table = fit.cell.table()[0]
    width = guessed(fit, None, doubted, spread_around(even, [fit]))
    assert float(width.median()) < 0.1 * float(table.max() - table.min())
