"""Detectors as statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scancontrol.errors import InvalidInput
from simulators.column.detectors import Detector, DetectorConfig

N = 60_000


def rng() -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(11))


def counts(
    expected: np.ndarray | float,
    dwell_us: float | np.ndarray = 1.0,
    move_us: float | np.ndarray = 0.0,
    **changes: object,
) -> np.ndarray:
    plain = {"counts_per_electron": 1.0, "offset_counts": 0.0, "read_noise_counts": 0.0, **changes}
    electrons = np.broadcast_to(np.asarray(expected, np.float32), N if np.ndim(expected) == 0 else np.shape(expected))
    dwell, move = (np.broadcast_to(t, electrons.shape).astype(float) for t in (dwell_us, move_us))
    return Detector(DetectorConfig(**plain)).counts(electrons, dwell, move, rng())


@pytest.mark.parametrize("mean", [0.05, 0.8, 6.0, 400.0, 9000.0])
def test_electrons_arrive_by_poissons_law(mean):
    found = counts(mean)
    assert stats.kstest(found + rng().random(N), lambda x: _continuous(x, mean)).pvalue > 1e-3


def _continuous(x: np.ndarray, mean: float) -> np.ndarray:
    """Distribution of a Poisson number plus a uniform one."""
    whole = np.floor(x)
    return stats.poisson.cdf(whole - 1, mean) + (x - whole) * stats.poisson.pmf(whole, mean)


def test_without_other_noise_the_variance_of_the_counts_is_their_mean():
    found = counts(3.0)
    assert found.var() == pytest.approx(found.mean(), rel=0.02)


def test_counts_are_offset_plus_gain_times_electrons():
    found = counts(400.0, counts_per_electron=20.0, offset_counts=500.0, read_noise_counts=30.0)
    assert found.mean() == pytest.approx(500 + 20 * 400, rel=1e-3)
    assert found.var() == pytest.approx(20**2 * 400 + 30**2, rel=0.02)


def test_pulses_of_unequal_height_add_noise():
    assert counts(100.0, counts_per_electron=10.0, pulse_spread=0.5).var() == pytest.approx(
        100 * 100 * (1 + 0.25), rel=0.03
    )


def test_the_scintillator_streaks_a_bright_sample_into_the_following_ones():
    electrons = np.zeros(64, np.float32)
    electrons[10] = 1e6
    tau, dwell = 1.5, 1.0
    found = counts(electrons, dwell, decay_us=tau, counts_per_electron=0.05)
    own = 1 - tau / dwell * (1 - math.exp(-dwell / tau))
    assert found[10] == pytest.approx(5e4 * own, rel=0.01)
    np.testing.assert_allclose(found[12:20] / found[11:19], math.exp(-dwell / tau), rtol=0.02)
    assert found.sum() == pytest.approx(5e4, rel=0.01)  # no light is lost while samples follow at once


def test_light_that_falls_into_a_blanked_move_is_lost():
    electrons = np.zeros(64, np.float32)
    electrons[10] = 1e6
    moves = np.zeros(64)
    moves[11] = 3.0
    together, apart = (
        counts(electrons, 1.0, move, decay_us=1.5, counts_per_electron=0.05).astype(float) for move in (0.0, moves)
    )
    assert apart[10] == pytest.approx(together[10], rel=1e-3)
    np.testing.assert_allclose(apart[11:16] / together[11:16], math.exp(-3.0 / 1.5), rtol=0.03)


def test_the_streak_goes_on_into_the_next_block():
    electrons = np.full(400, 5e4, np.float32)
    electrons[200:] = 0
    config = DetectorConfig(decay_us=4.0, counts_per_electron=0.5, offset_counts=0.0, read_noise_counts=0.0)
    whole = Detector(config).counts(electrons, np.ones(400), np.zeros(400), rng())
    detector = Detector(config)
    second = [detector.counts(part, np.ones(200), np.zeros(200), rng()) for part in np.split(electrons, 2)][1]
    np.testing.assert_allclose(second[:10], whole[200:210], rtol=0.01)


def in_blocks(electrons: np.ndarray, config: DetectorConfig, size: int = 500) -> np.ndarray:
    detector, generator = Detector(config), rng()
    parts = [electrons[k : k + size] for k in range(0, len(electrons), size)]
    return np.concatenate([detector.counts(part, np.ones(len(part)), None, generator) for part in parts])


PLAIN = {"counts_per_electron": 1.0, "offset_counts": 0.0, "read_noise_counts": 0.0}


def test_readings_come_as_many_samples_late_as_is_stated_across_blocks_too():
    electrons = np.where(np.arange(2000) >= 495, 4e4, 0.0).astype(np.float32)
    found = in_blocks(electrons, DetectorConfig(**PLAIN, late_samples=7))
    assert (found[:502] == 0).all()
    assert (found[502:] > 3e4).all()


def test_the_baseline_drifts_from_the_start_of_a_frame_and_the_mains_hum_on():
    config = DetectorConfig(
        **{**PLAIN, "offset_counts": 500.0}, drift_counts_per_ms=30.0, hum_counts=50.0, hum_hz=1000.0
    )
    found = in_blocks(np.zeros(4000, np.float32), config)
    time_us = np.arange(1, 4001)
    assert np.allclose(found, 500 + 0.03 * time_us + 50 * np.sin(2e-3 * np.pi * time_us), atol=0.6)


def test_spikes_go_up_and_down_as_often_as_is_stated():
    found = in_blocks(np.full(50_000, 100.0, np.float32), DetectorConfig(**PLAIN, spike_share=0.01, spike_counts=90.0))
    up, down = (found > 150).mean(), (found < 50).mean()
    assert up == pytest.approx(0.005, rel=0.2)
    assert down == pytest.approx(0.005, rel=0.2)


def test_lost_samples_come_as_zeros_in_runs_that_go_on_from_block_to_block():
    found = in_blocks(np.full(100_000, 1e4, np.float32), DetectorConfig(**PLAIN, lost_share=0.2, lost_run=300))
    lost = found == 0
    assert lost.mean() == pytest.approx(0.2, abs=0.04)
    edges = np.flatnonzero(np.diff(np.r_[False, lost, False].astype(int)))
    assert (np.diff(edges)[::2] >= 300)[:-1].all()


def test_the_converter_clips_and_rounds():
    assert counts(1000.0, adc_bits=8).max() == 255
    assert counts(0.0, offset_counts=-50.0).max() == 0
    assert (counts(0.0, offset_counts=12.4) == 12).all()


@pytest.mark.parametrize(("condition", "value"), [("dead", 0), ("saturated", 4095)])
def test_a_broken_channel_says_one_thing_whatever_arrives(condition, value):
    assert (counts(100.0, condition=condition, adc_bits=12) == value).all()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "EELS"},
        {"counts_per_electron": 0.0},
        {"adc_bits": 17},
        {"decay_us": -1.0},
        {"read_noise_counts": math.nan},
        {"pulse_spread": 9.0},
        {"late_samples": -1},
        {"drift_counts_per_ms": math.inf},
        {"hum_counts": -1.0},
        {"spike_share": 0.9},
        {"lost_share": 1.0},
        {"lost_run": 0},
    ],
)
def test_a_detector_that_cannot_be_is_refused_by_name(change):
    with pytest.raises(InvalidInput, match=rf"detectors\.{next(iter(change))}"):
        DetectorConfig(**change)
