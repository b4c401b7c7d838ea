"""A delay is told by spirals of either sense together, by none of one sense, and never where there is none."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.engine import Engine
from restore.estimate.delay_over_frames import FramesDelay
from restore.estimate.disagreement import Delay
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from scancontrol.capabilities import CoilModel
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, ScanPath, expand

SIDE = 160
GOLDEN = Archimedean(coverage=CoverageGoal(value=0.1), turn_deg="golden")
SENSES = msgspec.structs.replace(GOLDEN, mirrored="eighth")


def _path(pattern: Archimedean, frame: int) -> ScanPath:
    return expand(PathRecipe(pattern=pattern.for_frame(frame), shape=(SIDE, SIDE), fov_nm=160.0, dwell_us=1.0))


def _paths(pattern: Archimedean, frames: int) -> list[ScanPath]:
    return [_path(pattern, frame) for frame in range(frames)]


ONE_SENSE, BOTH = _paths(GOLDEN, 4), _paths(SENSES, 4)
GEOMETRIES = {id(path): FrameGeometry.from_path(path, torch.device("cpu")) for path in (*ONE_SENSE, *BOTH)}


def _read(path: ScanPath, late: int, seed: int, frame: int = 0, drift_px: int = 0, noise: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = np.roll(gaussian_filter(random.standard_normal((SIDE, SIDE)), 4, mode="wrap"), drift_px * frame, 0)
    there = (image / image.std()).ravel()[GEOMETRIES[id(path)].index.numpy()]
    random = np.random.default_rng((seed, frame))
    return there[np.clip(np.arange(len(there)) - late, 0, len(there) - 1)] + noise * random.standard_normal(len(there))


def _found(paths: list[ScanPath], late: int, seed: int, drift_px: int = 0, known: bool = True) -> Delay | None:
    watch = FramesDelay()
    for frame, path in enumerate(paths):
        values = torch.from_numpy(_read(path, late, seed, frame, drift_px)).float()
        moved_px = (float(drift_px) if known else 0.0, 0.0)
        watch.look(frame, values, torch.ones(len(values)), GEOMETRIES[id(path)], moved_px)
    return watch.found


@pytest.mark.parametrize("late", [-3, 3, 10])
def test_a_spiral_of_the_other_sense_tells_how_late_readings_come(late: int) -> None:
    for seed in range(5):
        found = _found(BOTH, late, seed)
        assert found is not None
        assert abs(found.samples - late) < max(0.2, 3 * found.sd_samples)


def test_spirals_of_one_sense_tell_nothing_however_they_are_turned() -> None:
    for seed in range(5):
        assert _found(ONE_SENSE, 5, seed) is None


def test_nothing_is_told_where_there_is_no_delay_with_or_without_a_drift_that_is_known() -> None:
    for seed in range(5):
        assert _found(BOTH, 0, seed) is None
        assert _found(BOTH, 0, seed, drift_px=2) is None
        assert _found(BOTH, 0, seed, drift_px=2, known=False) is None


def test_a_drift_that_is_known_is_taken_off_and_one_that_is_not_does_not_mislead() -> None:
    for seed in range(5):
        found = _found(BOTH, 5, seed, drift_px=2)
        assert found is not None
        assert abs(found.samples - 5) < max(0.3, 3 * found.sd_samples)
        misled = _found(BOTH, 5, seed, drift_px=2, known=False)
        assert misled is None or abs(misled.samples - 5) < 3 * misled.sd_samples


def test_a_streams_pictures_tell_it_until_it_is_corrected() -> None:
    engine = Engine(FillRestorer("push_pull"))
    for frame, path in enumerate(BOTH[:3]):
        engine.register(path)
        made_by = engine.restore(_read(path, 5, 1, frame), path.path_id, stream="live", frame=frame).made_by
    assert made_by.delay_samples == pytest.approx(5, abs=0.3)
    assert made_by.cause == "delay"
    path = BOTH[3]
    engine.register(path, CoilModel(delay_us=made_by.delay_samples))
    made_by = engine.restore(_read(path, 5, 1, 3), path.path_id, stream="live", frame=3).made_by
    assert made_by.delay_samples is None
