"""The stated noise is that which readings have: counted electrons, or their mean over a dwell, and the converter's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.estimate.noise import counted_variance, stated_variance
from restore.gridding import FrameGeometry
from scancontrol.capabilities import DetectorChannel
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from simulators.column.detectors import Detector, DetectorConfig


def test_the_stated_noise_is_that_of_counted_electrons_and_the_converter() -> None:
    config = DetectorConfig(counts_per_electron=20.0, offset_counts=200.0, read_noise_counts=4.0)
    counts = Detector(config).counts(np.full(40000, 9.0, np.float32), np.ones(40000), None, np.random.default_rng(0))
    assert stated_variance(config.stated(), counts, 1.0) == pytest.approx(counts.astype(float).var(), rel=0.03)


def test_of_a_detector_of_which_nothing_is_stated_no_noise_is_known() -> None:
    counts = np.full(100, 7.0)
    for unknown in (DetectorChannel(name="unknown"), DetectorChannel(name="unknown", decay_us=3.0, averages=True)):
        assert stated_variance(unknown, counts, 1.0) is None


@pytest.mark.parametrize("dwell_us", [1.0, 10.0])
def test_a_detector_that_averages_is_the_quieter_the_longer_it_looks(dwell_us: float) -> None:
    detector = DetectorChannel(name="voltage", counts_per_electron=20.0, offset_counts=200.0, averages=True)
    electrons = np.random.default_rng(0).poisson(9.0 * dwell_us, 40000)
    read = np.round(200 + 20 * electrons / dwell_us)
    assert stated_variance(detector, read, dwell_us) == pytest.approx(read.var(), rel=0.03)


SHAPE = (128, 128)
IMAGE = gaussian_filter(np.random.default_rng(5).standard_normal(SHAPE), 4)
IMAGE = (IMAGE - IMAGE.min()) / (IMAGE - IMAGE.min()).mean()


@pytest.mark.parametrize("pattern", [Archimedean(coverage=CoverageGoal(value=0.1)), JitteredGrid(points=1600)])
@pytest.mark.parametrize("electrons", [0.1, 1.0, 8.0])
def test_few_electrons_are_known_by_their_steps_and_their_noise_is_theirs(pattern: object, electrons: float) -> None:
    path = expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=128.0, dwell_us=1.0))  # type: ignore[arg-type]
    geometry = FrameGeometry.from_path(path)
    expected = electrons * IMAGE.ravel()[geometry.index.numpy()]
    counted = 25.0 * np.random.default_rng(0).poisson(expected)
    variance = counted_variance(counted, geometry)
    assert variance == pytest.approx(25.0**2 * expected.mean(), rel=0.15)
    counted[::9] = np.nan
    assert counted_variance(counted, geometry) == pytest.approx(variance, rel=0.15)


def test_what_is_no_count_of_electrons_is_not_taken_for_one() -> None:
    path = expand(
        PathRecipe(pattern=Archimedean(coverage=CoverageGoal(value=0.1)), shape=SHAPE, fov_nm=128.0, dwell_us=1)
    )
    geometry = FrameGeometry.from_path(path)
    there = IMAGE.ravel()[geometry.index.numpy()]
    noise = np.random.default_rng(0).standard_normal(len(there))
    for readings in (5 * there + noise, np.round(8 * there), np.round(100 * there + noise), np.full(len(there), 3.0)):
        assert counted_variance(readings, geometry) is None
