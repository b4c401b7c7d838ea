"""The stated noise is that which readings have: counted electrons, or their mean over a dwell, and the converter's."""

from __future__ import annotations

import numpy as np
import pytest

from restore.estimate.noise import stated_variance
from scancontrol.capabilities import DetectorChannel
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
