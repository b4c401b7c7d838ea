"""The coils' time constant and the signal's delay are found again from scans whose truth is known."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from scancontrol.afterglow import Afterglow
from scancontrol.calibration.agreement import CalibrationScan
from scancontrol.calibration.estimate import estimate
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths.coils import lagged, seen

SHAPE = (64, 64)


def specimen(positions: np.ndarray) -> np.ndarray:
    """Forty soft particles on a bright support, evaluated anywhere."""
    generator = np.random.default_rng(7)
    value = np.full(len(positions), 0.2)
    for y, x, radius, height in zip(
        *generator.random((2, 40)), generator.uniform(0.02, 0.06, 40), generator.uniform(0.3, 1, 40), strict=True
    ):
        value += height * np.exp(-((positions[:, 0] - y) ** 2 + (positions[:, 1] - x) ** 2) / (2 * radius**2))
    return value


def raster(serpentine: bool = False) -> np.ndarray:
    axis = (np.arange(SHAPE[0]) + 0.5) / SHAPE[0]
    lines = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    if serpentine:
        lines[1::2] = lines[1::2, ::-1]
    return lines.reshape(-1, 2)


def spiral() -> np.ndarray:
    turn = np.sqrt((np.arange(4096) + 0.5) / 4096)
    angle = 2 * np.pi * 30 * turn
    return 0.5 + 0.47 * np.stack([turn * np.sin(angle), turn * np.cos(angle)], axis=1)


def scanned(nominal: np.ndarray, coil: CoilModel, delay_us: float, seed: int, electrons: float = 60) -> CalibrationScan:
    """A scan of the specimen: the signal is the mean over each dwell of 1 µs, eight times oversampled."""
    n, fine = len(nominal), 8
    coil = msgspec.structs.replace(coil, delay_us=delay_us)
    where = seen(np.repeat(nominal, fine, axis=0), np.full(n * fine, 1 / fine), np.zeros(n * fine), coil)
    signal = specimen(where).reshape(n, fine).mean(axis=1)
    values = np.random.default_rng(seed).poisson(signal * electrons).astype(np.float64)
    return CalibrationScan(nominal, np.ones(n), np.zeros(n), values)


def scan_set(coil: CoilModel, delay_us: float) -> list[CalibrationScan]:
    paths = [raster(), raster()[::-1], raster(serpentine=True), spiral(), spiral()[::-1]]
    return [scanned(path, coil, delay_us, seed) for seed, path in enumerate(paths)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tau_us", "delay_us", "start"),
    [
        (2.0, 0.5, CoilModel(time_constant_us=1.3)),  # where the search of the others would have begun
        pytest.param(2.0, 0.5, None, marks=pytest.mark.slow),
        pytest.param(4.0, 0.0, None, marks=pytest.mark.slow),
    ],
)
def test_a_time_constant_is_recovered_within_five_per_cent_and_its_own_uncertainty(tau_us, delay_us, start):
    coil = CoilModel(time_constant_us=tau_us)
    found = estimate(scan_set(coil, delay_us), SHAPE, start=start)
    assert found.coil.time_constant_us == pytest.approx(tau_us, rel=0.05)
    assert abs(found.coil.time_constant_us - tau_us) < 4 * found.coil.time_constant_sd_us
    assert abs(found.coil.delay_us - delay_us) < 2 * found.coil.delay_sd_us
    assert found.parted
    assert found.calibrated_rms < 0.8 * found.nominal_rms


@pytest.mark.slow
@pytest.mark.parametrize(("tau_us", "delay_us"), [(0.3, 0.0), (0.2, 0.15)])
def test_well_below_the_dwell_the_sum_of_lag_and_delay_is_given_and_said_to_be_that(tau_us, delay_us):
    scans = scan_set(CoilModel(time_constant_us=tau_us), delay_us)
    found = estimate(scans, SHAPE, start=CoilModel(time_constant_us=0.05))
    assert not found.parted
    assert found.coil.delay_us == 0
    assert found.coil.delay_sd_us is None
    assert found.coil.time_constant_us == pytest.approx(found.late_us)
    assert abs(found.late_us - tau_us - delay_us) < 2 * found.late_sd_us
    assert found.late_sd_us < 0.04
    assert found.coil.time_constant_us - 2 * found.coil.time_constant_sd_us < 0, "all of it may be the delay"


@pytest.mark.slow
@pytest.mark.parametrize(("tau_us", "decay_us"), [(0.0, 0.8), (1.0, 0.5)])
def test_an_afterglow_is_not_taken_for_a_lag_of_the_coils_beyond_what_is_said_to_be_known(tau_us, decay_us):
    scans = []
    for scan in scan_set(CoilModel(time_constant_us=tau_us), 0.0):
        glow = Afterglow(decay_us, scan.dwell_us, scan.move_us)
        scans.append(CalibrationScan(scan.positions, scan.dwell_us, scan.move_us, glow.read(scan.values)))
    found = estimate(scans, SHAPE)
    assert abs(found.late_us - tau_us - decay_us) < 2 * found.late_sd_us < 0.35
    assert abs(found.coil.time_constant_us - tau_us) < 2 * found.coil.time_constant_sd_us < 1.2 * found.late_us
    if found.parted:
        assert abs(found.decay_us - decay_us) < 2 * found.decay_sd_us
        assert found.coil.delay_us == 0, "there is none, and what is not told from nothing is not said"
        assert (found.coil.time_constant_us == 0) == (tau_us == 0)
    assert found.gain_sds > 2


@pytest.mark.slow
def test_where_beam_and_readings_agree_nothing_is_found():
    with pytest.raises(InvalidInput, match="do not agree better"):
        estimate(scan_set(CoilModel(), 0.0), SHAPE)


@pytest.mark.slow
def test_a_second_order_coil_gives_its_time_constant_and_damping():
    coil = CoilModel(order=2, time_constant_us=3.0, damping=0.7)
    found = estimate(scan_set(coil, 0.0)[::2], SHAPE, order=2)  # raster, serpentine, spiral inwards
    assert found.coil.time_constant_us == pytest.approx(3.0, rel=0.05)
    assert found.coil.damping == pytest.approx(0.7, rel=0.05)


def test_a_delay_alone_takes_the_position_back_in_time():
    line = np.stack([np.zeros(50), np.linspace(0, 0.49, 50)], axis=1)
    moved = seen(line, np.ones(50), np.zeros(50), CoilModel(delay_us=2.5))
    np.testing.assert_allclose(moved[5:, 1], line[5:, 1] - 2.5 * 0.01)


def test_after_a_blanked_move_nothing_earlier_shone():
    line = np.stack([np.zeros(9), np.repeat([0.1, 0.9, 0.3], 3)], axis=1)
    move = np.zeros(9)
    move[[3, 6]] = 5.0
    moved = seen(line, np.ones(9), move, CoilModel(delay_us=0.4))
    np.testing.assert_allclose(moved, line)


@pytest.mark.parametrize("delay_us", [0.375, -0.25])
def test_a_delay_below_the_dwell_is_the_mean_over_the_shifted_window(delay_us):
    coil = CoilModel(time_constant_us=0.7, delay_us=delay_us)
    nominal = np.random.default_rng(2).random((40, 2))
    fine = 64
    path = lagged(np.repeat(nominal, fine, axis=0), np.full(40 * fine, 1 / fine), np.zeros(40 * fine), coil)
    shifted = np.roll(path, round(delay_us * fine), axis=0).reshape(40, fine, 2).mean(axis=1)
    found = seen(nominal, np.ones(40), np.zeros(40), coil)
    np.testing.assert_allclose(found[1:-1], shifted[1:-1], atol=1e-9)


@pytest.mark.slow
def test_scans_without_contrast_are_refused_with_what_to_do():
    generator = np.random.default_rng(1)
    flat = [
        CalibrationScan(path, np.ones(len(path)), np.zeros(len(path)), generator.poisson(50, len(path)).astype(float))
        for path in (raster(), raster()[::-1])
    ]
    with pytest.raises(InvalidInput, match="more contrast"):
        estimate(flat, SHAPE)


def test_one_scan_alone_is_refused():
    with pytest.raises(InvalidInput, match="two or more"):
        estimate([scanned(raster(), CoilModel(), 0, 0)], SHAPE)


def test_a_time_constant_longer_than_the_scan_is_refused():
    with pytest.raises(InvalidInput, match="not inside the duration"):
        estimate(scan_set(CoilModel(time_constant_us=1), 0)[:2], SHAPE, search_us=(1, 1e5))
