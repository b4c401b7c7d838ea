"""The rounds of a lattice's fit hold where readings are such as no lattice leaves."""

from __future__ import annotations

from dataclasses import replace

import torch
from crystals import scattered, square_lattice

from restore.estimate.lattice.fit import fit_lattice
from restore.estimate.lattice.model import Readings
from restore.estimate.lattice.rounds import Rounds
from restore.fills.registry import positions_px

SHAPE = (96, 96)


def test_where_all_readings_that_count_are_alike_the_noise_is_even_and_finite() -> None:
    geometry = scattered(0.05, SHAPE)
    values = square_lattice(10, SHAPE, angle_deg=0).read(geometry, electrons=100)
    positions, all_count = positions_px(geometry), torch.ones(len(values))
    fit = fit_lattice(Readings(values - values.mean(), positions, all_count, SHAPE), torch.eye(2).double() / 10)
    none = replace(fit, level=torch.zeros_like(fit.level), amplitude=torch.zeros_like(fit.amplitude))
    left = (positions[:, 1] < SHAPE[1] / 2).float()  # a vacuum that is read as 0, and a specimen that does not count
    rounds = Rounds(Readings((1 - left) * values, positions, left, SHAPE), none)
    rounds.learn_noise()
    assert rounds.fit.counting == (1.0, 0.0)
    assert rounds.fit.noise > 0
    assert bool(torch.isfinite(rounds.weights).all())
