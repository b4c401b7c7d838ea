"""More samples never make a fill worse by more than their noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from restore.fills.registry import FILLS
from restore.gridding import FrameGeometry
from simulators.specimens.truths.draws import named
from simulators.specimens.truths.readings import draw_reading

COVERAGES = (0.05, 0.2, 0.5)
MENDED = ("spectral", "spectral_fast", "harmonic")  # once they did get worse, on large frames


@pytest.mark.parametrize("electrons", [60.0, pytest.param(3000.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "specimen", ["two_species-16px", *(pytest.param(n, marks=pytest.mark.slow) for n in ("particles", "film"))]
)
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in MENDED else pytest.mark.slow) for n in FILLS])
def test_no_fill_gets_worse_by_more_than_noise_when_samples_are_added(
    name: str, specimen: str, electrons: float
) -> None:
    shape = (256, 256) if name in MENDED else (64, 64)
    truth = named(specimen, shape).image
    rng = np.random.default_rng(4)
    positions = rng.random((int(COVERAGES[-1] * truth.size), 2))
    pixel = np.ravel_multi_index(tuple((positions * shape).astype(int).T), shape)
    readings = draw_reading(truth.ravel()[pixel], electrons, rng)
    noise = float(np.sqrt(np.mean(np.square(readings - truth.ravel()[pixel]))))
    errors = []
    for coverage in COVERAGES:
        count = int(coverage * truth.size)  # each the beginning of the next
        geometry = FrameGeometry.from_positions(positions[:count], shape)
        found = FILLS[name](torch.from_numpy(readings[:count]), geometry).numpy()
        errors.append(float(np.sqrt(np.mean(np.square(found - truth)))))
    for fewer, more in pairwise(errors):
        assert more < 1.03 * fewer + 0.1 * noise, errors
    assert errors[-1] < 0.95 * errors[0]
