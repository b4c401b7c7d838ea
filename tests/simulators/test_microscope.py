"""The simulated microscope as an instrument: samples, dose, time."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from instrument_duties import InstrumentDuties, Stand
from simulator_tools import PATTERNS, acquire, config, path

from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.microscope.instrument import Overrun
from scancontrol.paths import expand
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig, Stated, load_simulator
from simulators.exposure import BLOCK
from simulators.microscope import SimulatedMicroscope
from simulators.probe import Probe
from simulators.side_files.truth import TruthFile
from simulators.specimens.library import GoldOnCarbon
from simulators.specimens.motion import Motion, Step

BUSY = {
    "beam": BeamConfig(current_pa=30.0, flicker_pct=2.0, blanker_ns=100.0, decay_time_s=100.0),
    "coils": CoilConfig(
        order=2,
        time_constant_us=0.8,
        damping=0.6,
        slow_share=0.01,
        hysteresis_fields=1e-3,
        landing_error_fields=1e-3,
        hum_fields=1e-3,
        dac_bits=14,
        slew_fields_per_us=0.5,
    ),
    "detectors": tuple(
        DetectorConfig(name=kind, kind=kind, decay_us=0.7, pulse_spread=0.2) for kind in ("HAADF", "ADF", "BF")
    ),
    "motion": Motion(drift_nm_per_s=(0.5, 0.2), steps=(Step(time_s=0.005, by_nm=(0.1, 0.0)),)),
}
"""Everything at once."""


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_the_same_configuration_gives_the_same_bits_whatever_sizes_are_asked_for(pattern):
    scan = path(pattern, pixels=180, settle=True)
    assert scan.count > 6000
    runs = []
    for sizes in ((1 << 16,), (1000,), (1, 4095, 77)):
        microscope = SimulatedMicroscope(config(**BUSY))
        frames = [acquire(microscope, scan, frame, sizes) for frame in range(2)]
        runs.append((np.concatenate([values for values, _ in frames], axis=1), sum(e for _, e in frames)))
    for values, electrons in runs[1:]:
        np.testing.assert_array_equal(values, runs[0][0])
        assert electrons == pytest.approx(runs[0][1], rel=1e-6)
    assert not np.array_equal(*np.split(runs[0][0], 2, axis=1))  # two frames have each their own noise


def test_another_seed_gives_other_noise_of_the_same_specimen():
    scan = path()
    first, other = (acquire(SimulatedMicroscope(config(seed=seed)), scan)[0] for seed in (1, 2))
    assert not np.array_equal(first, other)
    assert np.corrcoef(first[0], other[0])[0, 1] > 0.5


def test_at_high_dose_the_picture_is_what_the_specimen_is_expected_to_give():
    electrons = 2e6
    bright = config(
        beam=BeamConfig(current_pa=electrons / (6.2415 * 2.0)),
        detectors=(DetectorConfig(counts_per_electron=0.1, offset_counts=100.0, read_noise_counts=0.0),),
    )
    microscope = SimulatedMicroscope(bright)
    scan = path("raster", pixels=96)
    image = acquire(microscope, scan)[0][0].reshape(96, 96).astype(float)
    expected = microscope.exposure.expected_counts((96, 96), 3.0, 2.0)[0]
    excess = (image - expected) / np.sqrt(np.maximum((expected - 100) * 0.1, 1))
    assert abs(excess.mean()) < 5 / 96
    assert excess.std() == pytest.approx(1.0, rel=0.1)


def test_at_low_dose_variance_equals_mean_over_many_frames():
    microscope = SimulatedMicroscope(
        config(
            beam=BeamConfig(current_pa=3.0),
            detectors=(DetectorConfig(counts_per_electron=1.0, offset_counts=0.0, read_noise_counts=0.0),),
        )
    )
    scan = path("spiral", pixels=40)
    frames = np.stack([acquire(microscope, scan, frame)[0][0] for frame in range(300)]).astype(float)
    mean, variance = frames.mean(axis=0), frames.var(axis=0, ddof=1)
    assert 0.1 < mean.mean() < 10
    assert variance.mean() == pytest.approx(mean.mean(), rel=0.03)
    slope = (mean * variance).sum() / (mean * mean).sum()
    assert slope == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("pattern", ["raster", "jittered"])
def test_the_dose_map_is_the_integral_of_what_was_handed_over(pattern):
    microscope = SimulatedMicroscope(config(**BUSY))
    scan = path(pattern, pixels=160, settle=True)
    spent = sum(acquire(microscope, scan, frame)[1] for frame in range(2))
    assert microscope.exposure.dose.electrons.sum() == pytest.approx(spent, rel=1e-6)


def test_the_dose_lies_where_the_beam_was():
    microscope = SimulatedMicroscope(config())
    scan = PATTERNS["raster"]
    half = msgspec.structs.replace(
        path().recipe, pattern=scan, region=msgspec.structs.replace(path().recipe.region, width=0.5)
    )
    acquire(microscope, expand(half))
    dose = microscope.exposure.dose.electrons
    # the scene is a little larger than the field; its right half, beyond a cell at the seam, was never visited
    assert dose[:, dose.shape[1] // 2 + 1 :].sum() == 0
    assert dose.sum() > 0


def test_blanked_in_mid_frame_no_sample_and_no_dose_follow():
    microscope = SimulatedMicroscope(config())
    scan = path(pixels=160)
    microscope.begin(scan, 0, 0)
    first = microscope.read(1000)
    microscope.blank()
    microscope.blank()
    assert microscope.read(1000) is None
    assert microscope.exposure.dose.electrons.sum() == pytest.approx(first.electrons, rel=1e-6)
    again, electrons = acquire(microscope, scan, 0, first=1000)  # resumed
    assert again.shape[1] == scan.count - 1000
    assert microscope.exposure.dose.electrons.sum() == pytest.approx(first.electrons + electrons, rel=1e-6)
    assert microscope.exposure.clock_us == pytest.approx(scan.duration_us, rel=1e-9)


def test_a_frame_can_be_resumed_at_its_very_last_sample():
    microscope = SimulatedMicroscope(config(**BUSY))
    scan = path("jittered", settle=True)
    values, electrons = acquire(microscope, scan, 0, first=scan.count - 1)
    assert values.shape == (3, 1)
    assert electrons > 0


def test_nothing_is_read_before_anything_was_begun():
    microscope = SimulatedMicroscope(config())
    assert microscope.read(100) is None
    microscope.blank()
    microscope.close()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += math.ceil(seconds * 1e9)


def real_time(clock: Clock, **changes: object) -> SimulatedMicroscope:
    return SimulatedMicroscope(config(pace="real_time", **changes), clock_ns=clock, sleep=clock.sleep)


def test_in_real_time_a_frame_takes_its_time_and_no_sample_comes_early():
    clock = Clock()
    microscope = real_time(clock)
    scan = path(pixels=160, settle=True)
    begun_ns = clock.now_ns
    microscope.begin(scan, 0, 0)
    ends_us = np.cumsum(scan.dwell_us + scan.move_us)
    received = 0
    while received < scan.count:
        before_ns = clock.now_ns
        block = microscope.read(1 << 16)
        assert clock.now_ns - before_ns <= 11e6
        if block is not None:
            assert block.monotonic_ns - begun_ns == pytest.approx(
                1e3 * ends_us[received - 1] if received else 1e3 * ends_us[0], abs=2000
            )
            received += block.values.shape[1]
            assert ends_us[received - 1] <= (clock.now_ns - begun_ns) * 1e-3 + 1e-6
    assert (clock.now_ns - begun_ns) * 1e-3 == pytest.approx(scan.duration_us, rel=0.05)


def test_blanked_in_real_time_what_was_exposed_can_still_be_read_and_no_more():
    clock = Clock()
    microscope = real_time(clock)
    scan = path(pixels=160, dwell_us=2.0)
    microscope.begin(scan, 0, 0)
    microscope.read(100)
    clock.now_ns += 3_000_000
    microscope.blank()
    clock.now_ns += 9_000_000
    received, electrons = 100, 0.0
    while (block := microscope.read(512)) is not None:
        received += block.values.shape[1]
        electrons += block.electrons
    exposed_us = 3000 + 100 * 2.0
    assert received * 2.0 == pytest.approx(exposed_us, abs=2200)
    assert microscope.exposure.dose.electrons.sum() == pytest.approx(electrons * received / (received - 100), rel=0.01)


def test_a_reader_that_falls_behind_further_than_the_fifo_is_told_of_the_overrun():
    clock = Clock()
    microscope = real_time(clock, fifo_samples=4096)
    microscope.begin(path(pixels=160, dwell_us=2.0), 0, 0)
    microscope.read(100)
    clock.now_ns += int(4096 * 2000 * 0.8)
    assert microscope.read(100) is not None
    clock.now_ns += int(4096 * 2000 * 1.5)
    with pytest.raises(Overrun, match="FIFO"):
        microscope.read(100)


def test_several_channels_of_one_specimen_agree():
    electrons = 1e5
    kinds = ("HAADF", "ADF", "BF")
    microscope = SimulatedMicroscope(
        config(
            beam=BeamConfig(current_pa=electrons / (6.2415 * 2.0)),
            detectors=tuple(
                DetectorConfig(name=k, kind=k, counts_per_electron=0.5, offset_counts=0.0, read_noise_counts=0.0)
                for k in kinds
            ),
        )
    )
    values, _ = acquire(microscope, path())
    total = values.astype(float).sum(axis=0) / 0.5
    assert total.mean() == pytest.approx(electrons, rel=1e-3)
    assert total.std() == pytest.approx(math.sqrt(electrons), rel=0.1)  # the three share one beam, electron by electron
    assert np.corrcoef(values[0], values[2])[0, 1] < -0.9
    assert [d.name for d in microscope.capabilities.detectors] == list(kinds)


def test_a_drifting_specimen_is_where_its_drift_has_carried_it():
    bright = {"beam": BeamConfig(current_pa=5e4), "detectors": (DetectorConfig(counts_per_electron=0.1),)}
    scan = path(pixels=96, dwell_us=1.0)
    still = acquire(SimulatedMicroscope(config(**bright)), scan)[0][0].reshape(96, 96).astype(float)
    slip_nm = 3 * 3.0 / 96  # three pixels to the right
    moved = config(**bright, motion=Motion(steps=(Step(time_s=-1.0, by_nm=(0.0, slip_nm)),)))
    seen = acquire(SimulatedMicroscope(moved), scan)[0][0].reshape(96, 96).astype(float)
    assert np.corrcoef(seen[:, 8:].ravel(), still[:, 5:-3].ravel())[0, 1] > 0.995


@pytest.mark.slow
def test_a_specimen_that_grows_is_rendered_for_each_frame():
    growing = GoldOnCarbon(size_nm=8.0, adatoms=0, clusters=0, growth_nm_per_frame=0.5)
    microscope = SimulatedMicroscope(config(specimen=growing))
    scan = path("spiral", pixels=64, fov_nm=8.0)
    signal = [acquire(microscope, scan, frame)[0].mean() for frame in (0, 1, 2)]
    microscope.close()
    assert signal[0] < signal[1] < signal[2]


def test_a_longer_path_than_memory_likes_is_exposed_block_by_block():
    microscope = SimulatedMicroscope(config())
    scan = path(pixels=4096, dwell_us=0.1)
    assert scan.count > 1 << 23
    microscope.begin(scan, 0, 0)
    block = microscope.read(1 << 20)
    assert block.values.shape[1] <= BLOCK
    assert "_whole" not in vars(scan)


def test_the_truth_of_the_first_frame_lies_beside_the_run(tmp_path):
    microscope = SimulatedMicroscope(config(**BUSY), truth=TruthFile(tmp_path / "truth.npz"))
    scan = path("jittered", pixels=96, settle=True)
    for frame in (0, 1):
        acquire(microscope, scan, frame, (1000,))
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as truth:
        assert truth["expected"].shape == (3, 96, 96)
        assert truth["expected"].dtype == np.float32
        assert list(truth["names"]) == ["HAADF", "ADF", "BF"]
        assert (int(truth["frame"]), float(truth["fov_nm"]), str(truth["path_id"])) == (0, 3.0, scan.path_id)
    with np.load(tmp_path / "truth-achieved.npz", allow_pickle=False) as truth:
        error = np.linalg.norm(truth["achieved"] - scan.positions, axis=1)
    assert 1e-4 < np.median(error) < 0.02  # coils, hum and landing errors, but the right place
    assert sorted(p.name for p in tmp_path.iterdir()) == ["truth-achieved.npz", "truth.npz"]


def test_a_truth_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written"):
        TruthFile(tmp_path / "file" / "truth.npz")


@pytest.mark.parametrize(
    ("microscope", "named"),
    [
        (lambda: config(beam=BeamConfig(current_pa=-1.0)), "current_pa"),
        (lambda: config(probe=Probe(convergence_mrad=0.0)), "convergence_mrad"),
        (lambda: config(probe=Probe(defocus_nm=5000.0)), "defocus_nm"),
        (lambda: config(detectors=()), "detectors"),
        (lambda: config(detectors=(DetectorConfig(), DetectorConfig())), "is given twice"),
        (lambda: config(coils=CoilConfig(time_constant_us=1e9)), "time_constant_us"),
        (lambda: config(stated=Stated(shortest_dwell_us=0.0)), "shortest_dwell_us"),
        (lambda: config(seed=-1), "seed"),
        (lambda: config(fifo_samples=1), "fifo_samples"),
    ],
)
def test_a_microscope_that_cannot_be_is_refused_by_name(microscope, named):
    with pytest.raises(InvalidInput, match=named):
        microscope()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("pace: real_time\nflux: 3", "flux"),
        ("beam: {current_pa: much}", "current_pa"),
        ("specimen: {kind: unicorn}", "unicorn"),
        ("faults: [{kind: earthquake}]", "earthquake"),
        ("seed: [1", "not YAML"),
    ],
)
def test_a_configuration_file_with_a_mistake_says_where(tmp_path, text, named):
    file = tmp_path / "simulator.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=named):
        load_simulator(file)


def test_every_shipped_configuration_is_a_microscope():
    from pathlib import Path

    files = sorted((Path(__file__).parents[2] / "config").glob("simulator*.yaml"))
    assert files
    for file in files:
        assert isinstance(load_simulator(file), SimulatorConfig)


class TestDuties(InstrumentDuties):
    """In real time."""

    @pytest.fixture
    def stand(self):
        microscope = SimulatedMicroscope(config(pace="real_time", stated=Stated(longest_dwell_us=1e6)))
        yield Stand(microscope, lambda: microscope.lit)
        microscope.close()


def test_what_a_microscope_states_of_its_detectors_may_differ_from_what_they_are_but_not_which_they_are():
    stated = Stated(detectors=(DetectorChannel(name="HAADF", decay_us=0.3),))
    assert SimulatorConfig(stated=stated).capabilities().detectors == stated.detectors
    with pytest.raises(InvalidInput, match=r"stated\.detectors"):
        SimulatorConfig(stated=Stated(detectors=(DetectorChannel(name="BF"),)))
