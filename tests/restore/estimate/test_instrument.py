"""Every stage of the model of the readings, in its order: what comes out is what the specimen gave."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.estimate.instrument import SpecimenReadings, specimen_readings
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import DetectorChannel
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, PathRecipe, expand

PATH = expand(
    PathRecipe(
        pattern=Crossed(pattern=Archimedean(coverage=CoverageGoal(value=0.1)), crossings=2),
        shape=(160, 160),
        fov_nm=160.0,
        dwell_us=1.0,
    )
)
GEOMETRY = FrameGeometry.from_path(PATH)
IMAGE = gaussian_filter(np.random.default_rng(3).standard_normal(PATH.shape), 4)
THERE = 100 + 10 * (IMAGE / IMAGE.std()).ravel()[GEOMETRY.index.numpy()]
DRIFT = np.linspace(0, 15, len(THERE))
GLOWING = DetectorChannel(name="HAADF", decay_us=2.0)


def _error(found: SpecimenReadings) -> float:
    judged = found.judged
    values = judged.values.double().numpy() * judged.scale + judged.centre
    return float(np.sqrt(np.mean((values - THERE)[judged.weights.numpy() > 0] ** 2)))


def test_readings_of_a_perfect_instrument_are_left_as_they_are() -> None:
    found = specimen_readings(THERE, GEOMETRY, PATH)
    assert _error(found) < 1e-4
    assert (found.geometry, found.doubt, found.notices, found.noise_variance) == (GEOMETRY, 0.0, (), None)


def test_an_afterglow_that_is_known_only_about_widens_what_is_said_to_be_unknown() -> None:
    read = Afterglow(2.5, PATH.dwell_us, PATH.move_us).read(THERE)
    sure, unsure = (
        specimen_readings(read, GEOMETRY, PATH, msgspec.structs.replace(GLOWING, decay_sd_us=sd_us), model=False)
        for sd_us in (None, 0.5)
    )
    np.testing.assert_array_equal(sure.judged.values, unsure.judged.values)
    assert unsure.doubt > 1.02 * sure.doubt
    assert _error(unsure) < 1.5 * unsure.doubt * unsure.judged.scale, "the truth is one standard deviation away"


def test_spikes_afterglow_and_a_baseline_together_are_each_undone() -> None:
    read = Afterglow(2.0, PATH.dwell_us, PATH.move_us).read(THERE) + DRIFT
    read[::101] += np.random.default_rng(0).uniform(500, 900, len(read[::101]))
    found = specimen_readings(read, GEOMETRY, PATH, GLOWING)
    assert found.judged.outliers == len(read[::101])
    assert any("baseline" in told for told in found.notices)
    assert any("outliers" in told for told in found.notices)
    assert float(found.geometry.dwell[101]) == 0
    assert _error(found) < 3, "a third of the specimen's spread; the drift alone is 9, the afterglow 4"
    assert 0 < found.doubt * found.judged.scale < 5


def test_without_the_model_only_what_is_stated_is_used() -> None:
    read = Afterglow(2.0, PATH.dwell_us, PATH.move_us).read(THERE) + DRIFT
    found = specimen_readings(read, GEOMETRY, PATH, GLOWING, model=False)
    assert not any("baseline" in told for told in found.notices)
    assert _error(found) > 7


@pytest.mark.parametrize("stated", [True, False])
def test_the_noise_of_few_electrons_is_known_stated_or_not(stated: bool) -> None:
    counts = 50.0 * np.random.default_rng(0).poisson(0.03 * THERE)
    detector = DetectorChannel(name="HAADF", counts_per_electron=50.0) if stated else None
    found = specimen_readings(counts, GEOMETRY, PATH, detector)
    assert found.noise_variance is not None
    assert found.noise_variance * found.judged.scale**2 == pytest.approx(50.0**2 * 3, rel=0.1)


def test_the_beginning_of_a_frame_is_as_good_as_the_whole() -> None:
    count = 2 * len(THERE) // 3
    found = specimen_readings((THERE + DRIFT)[:count], GEOMETRY.prefix(count), PATH)
    values = found.judged.values.double().numpy() * found.judged.scale + found.judged.centre
    assert np.sqrt(np.mean((values - THERE[:count]) ** 2)) < 2
