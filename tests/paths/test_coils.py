"""Coils follow exactly as their differential equation says, and blanked moves last as long as they have to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.signal import lfilter

from scancontrol.capabilities import Capabilities, CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths import (
    Archimedean,
    Lag,
    PathRecipe,
    Points,
    Raster,
    Serpentine,
    Settle,
    achieved_positions,
    expand,
    lagged,
    motion,
)
from scancontrol.paths.motion import check_slew

COILS = [
    CoilModel(order=1, time_constant_us=3.0),
    CoilModel(order=2, time_constant_us=3.0, damping=0.4),
    CoilModel(order=2, time_constant_us=3.0, damping=1.0),
    CoilModel(order=2, time_constant_us=3.0, damping=2.5),
]


def integrated(positions, dwell_us, move_us, coil):
    """The mean over each dwell by a general-purpose solver, one axis; slow and independent."""
    tau, zeta = coil.time_constant_us, coil.damping
    state = np.array([positions[0], 0.0, 0.0])  # position, velocity, integral of position
    means = []
    for u, dwell, move in zip(positions, dwell_us, move_us, strict=True):

        def motion_(t, s, u=u):
            if coil.order == 1:
                return [(u - s[0]) / tau, 0.0, s[0]]
            return [s[1], (u - s[0] - 2 * zeta * tau * s[1]) / tau**2, s[0]]

        for time, kept in ((move, False), (dwell, True)):
            if time == 0:
                continue
            before = state[2]
            state = solve_ivp(motion_, (0, time), state, rtol=1e-9, atol=1e-11).y[:, -1]
            if kept:
                means.append((state[2] - before) / time)
    return np.array(means)


@pytest.mark.parametrize("coil", COILS)
def test_achieved_positions_solve_the_coils_equation_for_unequal_steps(coil):
    rng = np.random.default_rng(1)
    positions, dwell, move = rng.random((6, 2)), rng.uniform(0.1, 9, 6), rng.choice([0.0, 0.7, 5.0], 6)
    ours = lagged(positions, dwell, move, coil)
    for axis in (0, 1):
        np.testing.assert_allclose(ours[:, axis], integrated(positions[:, axis], dwell, move, coil), atol=1e-7)


def test_equal_steps_are_a_recursive_filter():
    path = expand(PathRecipe(pattern=Archimedean(turn_spacing_px=9), shape=(64, 64), fov_nm=5, dwell_us=1.5))
    coil = CoilModel(time_constant_us=2.0)
    decay, tau = math.exp(-1.5 / 2.0), 2.0
    start = path.positions[0]
    end = lfilter([1 - decay], [1, -decay], path.positions - start, axis=0) + start
    begin = np.concatenate([start[None], end[:-1]])
    mean = path.positions + (begin - path.positions) * tau / 1.5 * (1 - decay)
    np.testing.assert_allclose(achieved_positions(path, coil), mean, atol=1e-13)


@pytest.mark.parametrize("coil", COILS)
def test_a_path_followed_in_chunks_is_followed_alike(coil):
    path = expand(
        PathRecipe(
            pattern=Archimedean(turn_spacing_px=3),
            shape=(256, 256),
            fov_nm=5,
            dwell_us=1,
            settle=Settle(time_constant_us=3),
        )
    )
    lag = Lag(coil)
    parts = [lag.follow(c.positions, c.dwell_us, c.move_us) for c in path.chunks(777)]
    np.testing.assert_allclose(np.concatenate(parts), achieved_positions(path, coil), atol=1e-13)


def test_a_line_at_constant_speed_is_followed_one_time_constant_behind():
    positions = np.stack([np.zeros(4000), np.arange(4000) * 1e-4], axis=1)
    for coil in COILS:
        behind_us = coil.time_constant_us * (1 if coil.order == 1 else 2 * coil.damping)
        away = positions - lagged(positions, np.full(4000, 0.05), np.zeros(4000), coil)
        assert away[-1, 1] == pytest.approx(1e-4 / 0.05 * behind_us, rel=1e-5)


def test_coils_without_lag_are_where_they_were_told():
    path = expand(PathRecipe(pattern=Raster(), shape=(16, 16), fov_nm=5, dwell_us=1))
    np.testing.assert_array_equal(achieved_positions(path, CoilModel()), path.positions)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.3, 2000),
    st.floats(0.01, 0.3),
    st.sampled_from([0.3, 0.7, 0.999, 1.0, 1.5, 4.0]),
    st.sampled_from([1, 2]),
)
def test_after_its_settling_time_the_beam_is_within_the_tolerance(distance_px, tolerance_px, damping, order):
    settle = Settle(time_constant_us=2.0, tolerance_px=tolerance_px, order=order, damping=damping)
    time_us = float(settle.time_us(np.array([distance_px]))[0])
    coil = CoilModel(order=order, time_constant_us=2.0, damping=damping)
    # Rest on 0, jump, wait, then look at the end of ever longer dwells that begin there.
    after = lagged(
        np.full((800, 2), distance_px),
        np.full(800, 0.04),
        np.concatenate([[time_us], np.zeros(799)]),
        coil,
        start=np.zeros(2),
    )
    assert np.abs(after - distance_px).max() <= tolerance_px * (1 + 1e-6)
    if order == 1:
        assert time_us == pytest.approx(2.0 * math.log(distance_px / tolerance_px))


def test_a_jump_within_the_tolerance_takes_no_time():
    assert (Settle(time_constant_us=5.0, tolerance_px=0.5).time_us(np.array([0.0, 0.5])) == 0).all()


def test_every_jump_waits_for_its_own_length_and_flybacks_at_least_their_fixed_time():
    points = Points.from_array(np.array([[0.0, 0.0], [0.0, 0.01], [0.5, 0.01], [0.5, 0.9]]))
    settle = Settle(time_constant_us=3.0, tolerance_px=0.25, flyback_us=100.0)
    path = expand(PathRecipe(pattern=points, shape=(100, 100), fov_nm=5, dwell_us=1, settle=settle))
    # The first comes from the last of the frame before; the second is drawn, one pixel away.
    np.testing.assert_allclose(path.move_us, [100.0, 0.0, 3 * math.log(50 / 0.25), 3 * math.log(89 / 0.25)])
    assert path.flyback_time_us == 100.0
    assert path.moves == 3


def test_a_raster_flies_back_on_every_line_and_a_serpentine_never():
    def flown(pattern):
        settle = Settle(time_constant_us=1.0, flyback_us=7.0)
        return expand(PathRecipe(pattern=pattern, shape=(20, 30), fov_nm=5, dwell_us=1, settle=settle))

    assert flown(Raster()).flyback_time_us == 20 * 7.0
    serpentine = flown(Serpentine())
    assert serpentine.flyback_time_us == 7.0  # the frame's own
    assert serpentine.settle_time_us == pytest.approx(19 * math.log(1 / 0.25))


def test_a_slew_limit_adds_its_time_to_a_jump():
    settle = Settle(time_constant_us=1.0, tolerance_px=0.25, slew_px_per_us=4.0)
    assert settle.time_us(np.array([100.0]))[0] == pytest.approx(25 + math.log(400))


def test_dwell_and_position_are_quantised_as_the_hardware_does():
    recipe = PathRecipe(
        pattern=Archimedean(turn_spacing_px=9), shape=(64, 64), fov_nm=5, dwell_us=1.3, dac_bits=12, clock_mhz=8
    )
    path = expand(recipe)
    assert path.dwell_per_pixel_us == 1.25
    assert (path.dwell_us == 1.25).all()
    codes = path.positions * 4096
    np.testing.assert_array_equal(codes, np.rint(codes))
    exact = expand(PathRecipe(pattern=Archimedean(turn_spacing_px=9), shape=(64, 64), fov_nm=5, dwell_us=1.3))
    assert np.abs(path.positions - exact.positions).max() <= 0.5 / 4096 + 1e-12


def test_a_linear_spiral_is_never_faster_than_its_step_nor_turns_faster_than_its_cap():
    for spacing in (1.0, 5.0, 20.0, 100.0):
        for cap in (None, 0.01):
            path = expand(
                PathRecipe(
                    pattern=Archimedean(turn_spacing_px=spacing, max_turns_per_sample=cap),
                    shape=(512, 512),
                    fov_nm=5,
                    dwell_us=2,
                )
            )
            moved = motion(path, CoilModel())
            assert moved.fastest_px_per_us <= 0.5 * 1.01
            centre = path.positions[1:200] - 0.5
            turned = np.diff(np.unwrap(np.arctan2(centre[:, 0], centre[:, 1]))) / (2 * math.pi)
            assert turned.max() <= (cap or 1 / 8) * (1 + 1e-9)


def test_motion_measures_speed_turning_and_lag_of_a_known_circle():
    turns = np.arange(2000) / 100
    circle = 0.5 + 0.25 * np.stack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1)
    path = expand(PathRecipe(pattern=Points.from_array(circle, jump_px=50), shape=(200, 200), fov_nm=5, dwell_us=2))
    coil = CoilModel(time_constant_us=5.0)
    moved = motion(path, coil)
    assert moved.fastest_px_per_us == pytest.approx(2 * 50 * math.sin(math.pi / 100) / 2, rel=1e-6)
    assert moved.smooth_turn_khz == pytest.approx(1e3 / 200, rel=1e-6)
    # Amplitude 1/sqrt(1 + (ωτ)²) and phase atan(ωτ), of which the step-and-hold command adds nothing on average.
    omega_tau = 2 * math.pi / 200 * 5
    behind = abs(1 - 1 / (1 + 1j * omega_tau)) * 50
    assert moved.lag_rms_px == pytest.approx(behind, rel=0.25)


def test_a_path_above_the_slew_limit_is_refused_with_the_dwell_and_the_pattern_that_would_fit():
    slow = Capabilities(name="slow coils", max_slew_fields_per_us=0.002)

    def check(path, microscope):
        check_slew(motion(path, microscope.coil), path.recipe, microscope.max_slew_fields_per_us)

    angular = Archimedean(turn_spacing_px=4, speed="angular", step_px=4)
    path = expand(PathRecipe(pattern=angular, shape=(256, 256), fov_nm=5, dwell_us=2))
    with pytest.raises(InvalidInput, match="above the coils' slew limit") as refused:
        check(path, slow)
    assert "speed: linear" in refused.value.remedy
    fits = float(refused.value.remedy.split(" to ")[1].split(",")[0])
    check(expand(PathRecipe(pattern=angular, shape=(256, 256), fov_nm=5, dwell_us=fits * 1.001)), slow)
    linear = Archimedean(turn_spacing_px=4, step_px=float(refused.value.remedy.split("step_px: ")[1]))
    check(expand(PathRecipe(pattern=linear, shape=(256, 256), fov_nm=5, dwell_us=2)), slow)
