"""The detector's memory, undone without blowing up the noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import DetectorChannel
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand


@pytest.mark.slow
def test_a_detector_that_states_its_afterglow_is_restored_nearly_as_if_it_had_none() -> None:
    path = expand(
        PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.1)), shape=(128, 128), fov_nm=9.0, dwell_us=2.0)
    )
    image = gaussian_filter(np.random.default_rng(1).standard_normal((128, 128)), 5)
    image = 1000 + 200 * image / image.std()
    there = image.ravel()[FrameGeometry.from_path(path).index.numpy()]
    read = Afterglow(6.0, path.dwell_us, path.move_us).read(there)

    def error(samples: np.ndarray, detector: DetectorChannel | None) -> float:
        engine = Engine(FillRestorer("spectral"))
        engine.register(path, None, detector)
        return float(np.sqrt(np.mean((engine.restore(samples, path.path_id).estimate.numpy() - image) ** 2)))

    clean, glowing = error(there, None), error(read, None)
    told = error(read, DetectorChannel(name="HAADF", decay_us=6.0, counts_per_electron=1e-3))
    unknown_noise = error(read, DetectorChannel(name="HAADF", decay_us=6.0))
    assert glowing > 2 * clean
    assert told < 1.3 * clean
    assert unknown_noise < 0.6 * glowing
