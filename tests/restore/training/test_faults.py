"""Faults of a detector's in training: mild, and in the readings alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from restore.training.drawing import DrawConfig, draw_item
from restore.training.faults import MILD_FAULTS, mildly_faulty

READINGS = torch.from_numpy(np.random.default_rng(1).random(5000).astype(np.float32))


@pytest.mark.parametrize("fault", MILD_FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_every_fault_moves_readings_by_a_fraction_of_their_spread(fault: Callable[..., torch.Tensor]) -> None:
    spread = float(READINGS.std())
    moved = [
        float((fault(READINGS, spread, np.random.default_rng(seed)) - READINGS).square().mean().sqrt())
        for seed in range(20)
    ]
    assert 0 < max(moved) < 0.15 * spread


def test_a_fault_is_the_same_for_the_same_seed_and_leaves_the_readings_it_was_given() -> None:
    before = READINGS.clone()
    once, again = (mildly_faulty(READINGS, np.random.default_rng(3)) for _ in "ab")
    assert torch.equal(once, again)
    assert not torch.equal(once, READINGS)
    assert torch.equal(READINGS, before)


def test_faults_are_in_the_readings_and_never_in_the_truth() -> None:
    image = torch.arange(128 * 128).remainder(251).to(torch.uint8).reshape(128, 128)

    def drawn(fault_share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = DrawConfig(
            patterns={"archimedean": 1.0}, coverage=(0.2, 0.2), poisson_share=0, lag_share=0, fault_share=fault_share
        )
        item = draw_item(image, 96, draw, np.random.default_rng(seed), torch.device("cpu"))
        return item.truth, item.values

    moved = 0
    for seed in range(6):
        (truth, values), (truth_too, faulty) = drawn(0.0, seed), drawn(1.0, seed)
        assert torch.equal(truth, truth_too)
        moved += not torch.equal(values, faulty)
    assert moved >= 4, "a scan may be spared of spikes"
