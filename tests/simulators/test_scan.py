"""Coils, beam and motion: where the beam really is, and how many electrons it carries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulator_tools import path

from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths import achieved_positions
from scancontrol.units import ELECTRONS_PER_PA_US
from simulators.column.beam import Beam, BeamConfig
from simulators.column.coils import CoilConfig, Coils
from simulators.numerics.recurrence import linger, play
from simulators.specimens.motion import Motion, Step, Vibration


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def follow(
    config: CoilConfig,
    commands: np.ndarray,
    dwell_us: float | np.ndarray = 1.0,
    move_us: float | np.ndarray = 0.0,
    parts: int = 1,
) -> np.ndarray:
    n = len(commands)
    dwell, move = np.broadcast_to(dwell_us, n).astype(float), np.broadcast_to(move_us, n).astype(float)
    coils = Coils(config)
    coils.settle_on(commands[0])
    generator, out, start_us = rng(), [], 0.0
    for index in np.array_split(np.arange(n), parts):
        out.append(coils.follow(commands[index], dwell[index], move[index], start_us, generator))
        start_us += float((dwell[index] + move[index]).sum())
    return np.concatenate(out)


@pytest.mark.parametrize("pattern", ["raster", "spiral", "jittered"])
@pytest.mark.parametrize(("order", "damping"), [(1, 1.0), (2, 0.4), (2, 1.0), (2, 3.0)])
def test_the_linear_coils_are_those_of_the_planner(pattern, order, damping):
    scan = path(pattern, settle=True)
    config = CoilConfig(order=order, time_constant_us=1.7, damping=damping)
    found = follow(config, scan.positions, scan.dwell_us, scan.move_us, parts=3)
    planned = achieved_positions(scan, CoilModel(order=order, time_constant_us=1.7, damping=damping))
    np.testing.assert_allclose(found, planned, atol=1e-6)


@pytest.mark.parametrize("moves", ["none", "few", "all", "unequal dwells"])
@pytest.mark.parametrize("rates", [(0.7, 1 / 150), (0.5 + 0.6j, 1 / 150)], ids=["first order", "second order"])
@pytest.mark.parametrize("n", [5, 64, 3001])
def test_what_lingers_is_what_the_loop_over_the_samples_finds(moves, rates, n):
    generator = rng()
    rate = np.array(rates)
    kind = np.complex64 if np.iscomplexobj(rate) else np.float32
    weight = np.array([0.9 + 0.3j if kind is np.complex64 else 0.9, 0.1])
    state = generator.standard_normal((2, 2)).astype(kind)
    forcing = generator.standard_normal((2, n)).astype(np.float32)
    dwell = generator.random(n) + 0.1 if moves == "unequal dwells" else np.array([0.8])
    move = None if moves == "none" else generator.random(n) * (generator.random(n) < (0.01 if moves == "few" else 1))
    expected, held = np.zeros((2, n)), state.astype(complex)
    for k in range(n):
        q = np.exp(-rate * (0 if move is None else move[k]))[:, None] * (held + forcing[:, k])
        expected[:, k] = (weight[:, None] * q).real.sum(axis=0)
        held = q * np.exp(-rate * dwell[k % len(dwell)])[:, None]
    found, left = linger(state, forcing, weight, rate, dwell, move)
    np.testing.assert_allclose(found, expected, atol=3e-6)
    np.testing.assert_allclose(left, held, atol=3e-5)


def test_the_play_operator_equals_the_loop_and_does_not_care_how_fast_it_is_driven():
    command = np.cumsum(rng().standard_normal(2000)) * 0.1
    expected, p = [], 0.0
    for u in command:
        p = min(max(p, u - 0.2), u + 0.2)
        expected.append(p)
    found = play(np.zeros(1), command[:, None], 0.2)[:, 0]
    np.testing.assert_array_equal(found, expected)
    slow = play(np.zeros(1), np.repeat(command, 7)[:, None], 0.2)[::7, 0]
    np.testing.assert_array_equal(slow, expected)


def test_hysteresis_shifts_a_line_against_the_same_line_scanned_back():
    there = np.linspace(0.1, 0.9, 400)
    commands = np.stack((np.full(800, 0.5), np.concatenate((there, there[::-1]))), axis=1)
    x = follow(CoilConfig(hysteresis_fields=0.01), commands)[:, 1]
    np.testing.assert_allclose(x[400:][::-1][50:-50] - x[:400][50:-50], 0.02, atol=2e-7)


def test_eddy_currents_make_the_settling_depend_on_the_jump():
    def error_after_20_us(jump: float) -> float:
        commands = np.full((41, 2), 0.1)
        commands[1:] += jump
        return float(
            0.1 + jump - follow(CoilConfig(time_constant_us=1.0, slow_share=0.02, slow_time_us=100.0), commands)[20, 0]
        )

    assert error_after_20_us(0.5) == pytest.approx(0.5 * 0.02 * math.exp(-0.195), rel=0.02)
    assert error_after_20_us(0.05) == pytest.approx(error_after_20_us(0.5) / 10, rel=1e-4)


def test_the_slew_limit_holds_the_beam_back_until_it_has_caught_up():
    commands = np.full((40, 2), 0.1)
    commands[10:] = (0.6, 0.2)
    found = follow(CoilConfig(slew_fields_per_us=0.05), commands)
    assert np.abs(np.diff(found, axis=0)).max() <= 0.05 + 2e-7
    np.testing.assert_allclose(found[10 + 9], (0.6, 0.2), atol=1e-7)  # half a field at a twentieth a µs
    assert found[10 + 7, 0] < 0.55


def test_the_converter_moves_the_beam_in_steps():
    found = follow(CoilConfig(dac_bits=6), rng().random((500, 2)))
    np.testing.assert_array_equal(found * 64, np.round(found * 64))
    assert found.max() <= 63 / 64


def test_the_mains_hum_at_their_frequency():
    n, dwell_us = 50_000, 10.0  # half a second
    x = follow(CoilConfig(hum_fields=1e-3, hum_hz=60.0), np.full((n, 2), 0.5), dwell_us, parts=4)[:, 1] - 0.5
    spectrum = np.abs(np.fft.rfft(x)) * 2 / n
    peak = int(np.argmax(spectrum[1:])) + 1
    assert peak / (n * dwell_us * 1e-6) == pytest.approx(60.0)
    assert spectrum[peak] == pytest.approx(1e-3, rel=0.01)


def test_a_landing_error_stays_until_the_next_jump():
    moves = np.zeros(6000)
    moves[::50] = 3.0
    error = follow(CoilConfig(landing_error_fields=0.004), np.full((6000, 2), 0.5), 1.0, moves, parts=3) - 0.5
    lines = error.reshape(120, 50, 2)
    assert np.ptp(lines, axis=1).max() == 0
    assert lines[:, 0].std() == pytest.approx(0.004, rel=0.2)


@pytest.mark.parametrize(
    "change",
    [
        {"time_constant_us": -1.0},
        {"time_constant_us": math.nan},
        {"damping": 0.0},
        {"slow_share": 0.9},
        {"dac_bits": 2},
        {"slew_fields_per_us": 0.0},
        {"hysteresis_fields": -0.1},
        {"hum_hz": 0.0},
    ],
)
def test_coils_that_cannot_be_are_refused_by_name(change):
    with pytest.raises(InvalidInput, match=rf"coils\.{next(iter(change))}"):
        CoilConfig(**change)


def beam(config: BeamConfig, n: int = 1 << 14, dwell_us: float = 2.0, move_us: float = 0.0, blocks: int = 1):
    source, generator = Beam(config), rng()
    made = [
        source.electrons(np.full(n, dwell_us), np.full(n, move_us), k * n * dwell_us, generator) for k in range(blocks)
    ]
    return np.concatenate([m[0] for m in made]), made[-1][1]


def test_a_steady_beam_carries_current_times_time():
    incident, leak = beam(BeamConfig(current_pa=50.0), dwell_us=1.0)
    np.testing.assert_allclose(incident, 50 * ELECTRONS_PER_PA_US, rtol=1e-6)
    assert incident[0] == pytest.approx(312.08, rel=1e-4)
    assert leak is None


def test_flicker_has_its_strength_and_its_memory():
    incident, _ = beam(BeamConfig(flicker_pct=3.0, flicker_time_us=2000.0), blocks=60)
    relative = incident / incident.mean() - 1
    assert relative.std() == pytest.approx(0.03, rel=0.2)
    lag = 1000  # samples of 2 µs: one time of correlation
    assert np.corrcoef(relative[:-lag], relative[lag:])[0, 1] == pytest.approx(math.exp(-1), abs=0.15)


def test_emission_decays():
    incident, _ = beam(BeamConfig(decay_time_s=1.0), n=1 << 10, dwell_us=1000.0, blocks=2)
    assert incident[-1] / incident[0] == pytest.approx(math.exp(-1.024), rel=1e-3)


def test_a_slow_blanker_loses_signal_after_each_move_and_leaks_dose_before_it():
    incident, leak = beam(BeamConfig(current_pa=10.0, blanker_ns=400.0), n=10, dwell_us=2.0, move_us=5.0)
    full = 10 * ELECTRONS_PER_PA_US * 2.0
    np.testing.assert_allclose(incident, full * 0.9, rtol=1e-5)
    np.testing.assert_allclose(leak, full * 0.1, rtol=1e-5)


def test_the_specimen_drifts_creeps_slips_and_shakes():
    motion = Motion(
        drift_nm_per_s=(1.0, -2.0),
        creep_nm=(3.0, 0.0),
        creep_time_s=2.0,
        steps=(Step(time_s=1.0, by_nm=(0.0, 5.0)),),
        vibrations=(Vibration(frequency_hz=10.0, amplitude_nm=(0.5, 0.0)),),
    )
    time_us = np.linspace(0.95e6, 1.05e6, 1001)
    y, x = motion.displacement_nm(time_us)
    seconds = time_us * 1e-6
    np.testing.assert_allclose(x, -2 * seconds + 5 * (seconds >= 1), atol=1e-5)
    expected = seconds + 3 * -np.expm1(-seconds / 2) + 0.5 * np.sin(2 * np.pi * 10 * seconds)
    np.testing.assert_allclose(y, expected, atol=2e-3)  # creep is drawn straight over 0.1 s


@pytest.mark.parametrize(
    "change",
    [
        {"drift_nm_per_s": (math.nan, 0)},
        {"creep_time_s": 0.0},
        {"vibrations": (Vibration(frequency_hz=-1.0, amplitude_nm=(1, 1)),)},
    ],
)
def test_a_motion_that_cannot_be_is_refused(change):
    with pytest.raises(InvalidInput, match="motion"):
        Motion(**change)
