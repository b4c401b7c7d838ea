"""Noise-free specimens to train on, and crystals whose ordinary lattice is taken off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.training.drawing import DrawConfig, draw_item
from restore.training.simulated import specimen

CPU = torch.device("cpu")


def test_a_specimen_is_the_same_for_the_same_random_numbers_and_has_contrast() -> None:
    one, two = (specimen(96, 0.0, 0.0, np.random.default_rng(4), CPU) for _ in range(2))
    assert torch.equal(one.truth, two.truth)
    assert one.lattice is None
    assert one.truth.shape == (96, 96)
    assert float(one.truth.std()) > 0.02


def test_a_lattice_that_is_taken_off_leaves_little_but_the_defects() -> None:
    left = []
    for seed in range(40):
        scene = specimen(96, 1.0, 0.0, np.random.default_rng(seed), CPU)
        if scene.lattice is not None:
            left.append(float((scene.truth - scene.lattice).std() / scene.truth.std()))
    assert len(left) > 10
    assert np.median(left) < 0.5


def test_what_is_read_of_a_remainder_is_its_truth() -> None:
    config = DrawConfig(
        patterns={"random": 1.0},
        coverage=(0.2, 0.2),
        specimen_share=1,
        remainder_share=1,
        specimen_poisson_share=0,
        subpixel_share=0,
        lag_share=0,
    )
    for seed in range(6):
        item = draw_item(torch.zeros(64, 64, dtype=torch.uint8), 64, config, np.random.default_rng(seed), CPU)
        torch.testing.assert_close(item.values, item.truth.flatten()[item.index])


@pytest.mark.parametrize("electrons", [0.3, 1000.0])
def test_fewer_electrons_make_noisier_readings_of_the_same_truth(electrons: float) -> None:
    config = DrawConfig(
        patterns={"random": 1.0},
        coverage=(0.2, 0.2),
        specimen_share=1,
        specimen_poisson_share=1,
        specimen_electrons=(electrons, electrons),
        subpixel_share=0,
        lag_share=0,
        invert_share=0,
    )
    item = draw_item(torch.zeros(64, 64, dtype=torch.uint8), 64, config, np.random.default_rng(0), CPU)
    read = item.truth.flatten()[item.index]
    expected = float(((read + 0.02) / electrons).mean().sqrt())
    assert float((item.values - read).std()) == pytest.approx(expected, rel=0.15)
