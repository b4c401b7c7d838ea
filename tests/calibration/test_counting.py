"""Gain and dark level of a detector, from what differs between two scans by chance."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scancontrol.afterglow import Afterglow
from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.calibration.counting import Counting, counting
from scancontrol.calibration.estimate import CoilEstimate
from scancontrol.calibration.stating import calibrated_coil, calibrated_detector
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput

WIDTH = 64
GAIN, DARK, READ_NOISE = 20.0, 200.0, 4.0


def scans(seed: int, decay_us: float = 0.0, contrast: float = 0.8, brighter: float = 1.0) -> list[CalibrationScan]:
    """Two scans of 60 electrons a sample, at 1 µs; the second is of a beam that is ``brighter``."""
    random, n = np.random.default_rng(seed), WIDTH**2
    place = gaussian_filter(random.standard_normal((WIDTH, WIDTH)), 3, mode="wrap").ravel()
    place = 60 * np.exp(contrast * place / place.std())
    even = np.ones(n), np.zeros(n)
    found = []
    for current in (1.0, brighter):
        electrons = random.poisson(place * current).astype(np.float64)
        if decay_us > 0:
            electrons = Afterglow(decay_us, *even).read(electrons)
        counts = np.rint(GAIN * electrons + DARK + READ_NOISE * random.standard_normal(n))
        found.append(CalibrationScan(np.zeros((n, 2)), *even, counts))
    return found


@pytest.mark.parametrize(("decay_us", "brighter"), [(0.0, 1.0), (0.7, 1.0), (0.0, 1.05)])
def test_gain_and_dark_level_are_held_by_their_uncertainty_through_afterglow_and_a_beam_that_changes(
    decay_us: float, brighter: float
) -> None:
    off = []
    for seed in range(12):
        pair = scans(seed, decay_us, brighter=brighter)
        found = counting(*pair, WIDTH, decay_us=decay_us, read_noise_counts=READ_NOISE)
        assert found.counts_per_electron_sd < 2
        off.append((found.counts_per_electron - GAIN) / found.counts_per_electron_sd)
        off.append((found.offset_counts - DARK) / found.offset_sd_counts)
    assert np.mean(np.abs(off) < 1.96) > 0.9
    assert np.std(off) > 0.4, "and by no more than it must be"


def test_an_afterglow_that_nobody_knows_of_would_be_taken_for_a_lower_gain_and_one_half_known_is_said_to_be() -> None:
    pair = scans(1, 0.3)
    unaware, half, aware = (
        counting(*pair, WIDTH, decay_us=decay_us, decay_sd_us=sd_us, read_noise_counts=READ_NOISE)
        for decay_us, sd_us in ((0.0, 0.0), (0.28, 0.03), (0.3, 0.0))
    )
    assert unaware.counts_per_electron < GAIN - 4 * unaware.counts_per_electron_sd
    assert abs(aware.counts_per_electron - GAIN) < 2 * aware.counts_per_electron_sd
    assert abs(half.counts_per_electron - GAIN) < 2 * half.counts_per_electron_sd
    assert half.counts_per_electron_sd > aware.counts_per_electron_sd


def test_a_detector_that_averages_has_the_gain_of_an_electron_a_microsecond() -> None:
    pair = [
        CalibrationScan(scan.positions, np.full(WIDTH**2, 4.0), scan.move_us, DARK + (scan.values - DARK) / 4)
        for scan in scans(2)
    ]
    found = counting(*pair, WIDTH, averages=True)
    assert abs(found.counts_per_electron - GAIN) < 2 * found.counts_per_electron_sd < 4


@pytest.mark.parametrize(("pair", "limit"), [(scans(3, contrast=0.0), "not told"), (scans(3)[:1] * 2, "not told")])
def test_a_place_without_contrast_or_readings_without_noise_tell_no_gain(
    pair: list[CalibrationScan], limit: str
) -> None:
    with pytest.raises(InvalidInput, match=limit):
        counting(*pair, WIDTH)


def estimate_of(coil: CoilModel, decay_us: float | None, sd_us: float | None) -> CoilEstimate:
    return CoilEstimate(coil, None, decay_us, sd_us, 1.0, 0.05, 9.0, 8.0, 100, decay_us is not None, 0.2, 5.0)


COIL = CoilModel(time_constant_us=0.6, delay_us=0.1)
STATED = DetectorChannel(name="HAADF", adc_bits=12)


def test_what_was_told_is_stated_of_the_detector_and_the_coil_stays_as_it_was_found() -> None:
    coils = estimate_of(COIL, 0.3, 0.02)
    detector = calibrated_detector(STATED, coils, Counting(19.0, 0.5, 210.0, 4.0, 100))
    assert (detector.decay_us, detector.decay_sd_us, detector.adc_bits) == (0.3, 0.02, 12)
    assert (detector.counts_per_electron, detector.offset_counts) == (19.0, 210.0)
    assert calibrated_coil(coils, detector) == COIL


@pytest.mark.parametrize("decay", [(None, None), (0.0, 0.2)])
def test_an_afterglow_that_was_not_told_changes_nothing_of_the_detector(decay) -> None:
    assert calibrated_detector(STATED, estimate_of(COIL, *decay), None) == STATED
    assert calibrated_coil(estimate_of(COIL, *decay), STATED) == COIL


@pytest.mark.parametrize("decay", [(None, None), (0.0, 0.2)])
def test_an_afterglow_that_its_makers_state_is_not_counted_twice(decay) -> None:
    stated = msgspec.structs.replace(STATED, decay_us=0.25)
    coils = estimate_of(COIL, *decay)
    assert calibrated_detector(stated, coils, None) == stated
    coil = calibrated_coil(coils, stated)
    assert coil.time_constant_us + coil.delay_us + 0.25 == pytest.approx(0.7)


def test_an_afterglow_that_scans_deny_is_stated_to_be_none() -> None:
    coils = estimate_of(COIL, 0.0, 0.1)
    detector = calibrated_detector(msgspec.structs.replace(STATED, decay_us=0.8), coils, None)
    assert (detector.decay_us, detector.decay_sd_us) == (0.0, 0.1)
    assert calibrated_coil(coils, detector) == COIL
