"""The detector's memory: as light fades, transposed exactly, undone without blowing up the noise."""

from __future__ import annotations

import numpy as np
import pytest

from scancontrol.afterglow import Afterglow
from simulators.column.detectors import Detector, DetectorConfig

RANDOM = np.random.default_rng(0)


def _uneven(count: int, moved: bool) -> tuple[np.ndarray, np.ndarray]:
    move_us = np.where(RANDOM.random(count) < 0.1, 5.0, 0.0) if moved else np.zeros(count)
    return RANDOM.uniform(0.5, 3.0, count), move_us


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("decay_us", [0.3, 3.0, 40.0])
def test_the_transpose_is_one(decay_us: float, moved: bool) -> None:
    glow = Afterglow(decay_us, *_uneven(500, moved))
    x, y = RANDOM.standard_normal((2, 500))
    assert glow.read(x) @ y == pytest.approx(x @ glow.transposed(y), rel=1e-10)


def test_an_even_specimen_is_read_as_it_is_once_the_light_has_come() -> None:
    glow = Afterglow(3.0, np.ones(200), np.zeros(200))
    assert np.allclose(glow.read(np.full(200, 7.0))[60:], 7.0)


def test_light_fades_as_in_the_simulated_scintillator() -> None:
    dwell_us, move_us = np.ones(400), np.where(np.arange(400) % 50 == 0, 4.0, 0.0)
    config = DetectorConfig(decay_us=3.0, read_noise_counts=0.0, counts_per_electron=1.0, offset_counts=0.0)
    electrons = np.where(np.arange(400) % 20 < 5, 20000.0, 100.0).astype(np.float32)
    seen = [
        Detector(config).counts(electrons, dwell_us, move_us, np.random.default_rng(seed)).astype(float)
        for seed in range(40)
    ]
    assert np.allclose(np.mean(seen, 0), Afterglow(3.0, dwell_us, move_us).read(electrons), rtol=0.02, atol=8)


@pytest.mark.parametrize("decay_us", [1.0, 3.0, 10.0])
def test_without_noise_the_specimen_comes_back_and_with_noise_it_is_never_worse_than_what_was_expected(
    decay_us: float,
) -> None:
    glow = Afterglow(decay_us, np.ones(2000), np.zeros(2000))
    specimen = RANDOM.standard_normal(2000)
    exact = glow.specimen(glow.read(specimen), np.zeros(2000), 1e-8, 1.0)
    assert np.sqrt(np.mean((exact - specimen) ** 2)) < 0.05
    noisy = glow.read(specimen) + 0.1 * RANDOM.standard_normal(2000)
    found = glow.specimen(noisy, np.zeros(2000), 0.01, 1.0)
    assert np.sqrt(np.mean((found - specimen) ** 2)) < 1.0
    near = glow.specimen(noisy, specimen + 0.1 * RANDOM.standard_normal(2000), 0.01, 0.01)
    assert np.sqrt(np.mean((near - specimen) ** 2)) < 0.105


@pytest.mark.parametrize("decay_us", [0.2, 2.0])
def test_undone_exactly_the_readings_are_the_specimen_again(decay_us: float) -> None:
    glow = Afterglow(decay_us, *_uneven(500, True))
    specimen = RANDOM.standard_normal(500)
    np.testing.assert_allclose(glow.undone(glow.read(specimen)), specimen, atol=1e-8)


def test_a_reading_that_is_not_believed_leaves_no_trail_of_its_own() -> None:
    glow = Afterglow(2.0, np.ones(300), np.zeros(300))
    specimen = np.random.default_rng(0).standard_normal(300)
    readings = glow.read(specimen)
    noise = np.full(300, 1e-8)
    readings[150], noise[150] = 50.0, np.inf
    found = glow.specimen(readings, np.zeros(300), noise, 1.0)
    assert np.abs(np.delete(found - specimen, 150)).max() < 0.4, "what it would have told of its neighbours"
    assert abs(found[150]) < 3
