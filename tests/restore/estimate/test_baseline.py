"""What wanders along time is found where a path crosses itself, taken off, and never taken for what is not there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restore.estimate.baseline import Wandering, wandering
from restore.estimate.readings import Judged, judge
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, JitteredGrid, PathRecipe, ScanPath, expand

SHAPE = (160, 160)
GOAL = CoverageGoal(value=0.1)
PATTERNS = {
    "grid": JitteredGrid(coverage=GOAL, seed=1),
    "spiral": Archimedean(coverage=GOAL),
    "crossed grid": Crossed(pattern=JitteredGrid(coverage=GOAL, seed=1), crossings=2),
    "crossed spiral": Crossed(pattern=Archimedean(coverage=GOAL), crossings=2),
}
CROSSED = ("crossed grid", "crossed spiral")


def _path(name: str, dwell_us: float = 1.0) -> ScanPath:
    return expand(PathRecipe(pattern=PATTERNS[name], shape=SHAPE, fov_nm=160.0, dwell_us=dwell_us))  # type: ignore[arg-type]


def _specimen(path: ScanPath, seed: int) -> tuple[FrameGeometry, np.ndarray]:
    """A path's geometry, and readings of a specimen with noise: mean 5, spread 1."""
    random = np.random.default_rng(seed)
    image = gaussian_filter(random.standard_normal(SHAPE), 4)
    geometry = FrameGeometry.from_path(path)
    there = 5 + (image / image.std()).ravel()[geometry.index.numpy()]
    return geometry, there + 0.1 * random.standard_normal(len(there))


def _time_us(path: ScanPath) -> np.ndarray:
    return np.cumsum(path.dwell_us + path.move_us)


def _found(readings: np.ndarray, geometry: FrameGeometry, path: ScanPath) -> tuple[Judged, Wandering | None]:
    judged = judge(readings, geometry)
    return judged, wandering(judged, geometry, _time_us(path))


def _mended(readings: np.ndarray, geometry: FrameGeometry, path: ScanPath) -> tuple[np.ndarray, Wandering]:
    judged, found = _found(readings, geometry, path)
    assert found is not None
    mended = found.taken_off(judged)
    return mended.values.double().numpy() * judged.scale + judged.centre, found


@pytest.mark.parametrize("name", list(PATTERNS))
@pytest.mark.parametrize("dwell_us", [1.0, 50.0])
def test_where_nothing_wanders_nothing_is_told(name: str, dwell_us: float) -> None:
    path = _path(name, dwell_us)
    for seed in range(8):
        geometry, clean = _specimen(path, seed)
        assert _found(clean, geometry, path)[1] is None


@pytest.mark.parametrize("name", CROSSED)
@pytest.mark.parametrize("size", [0.6, -2.0])
def test_a_baseline_that_wanders_is_taken_off_where_the_path_crosses_itself(name: str, size: float) -> None:
    path = _path(name)
    time = np.linspace(0, 1, path.count)
    for seed in range(4):
        geometry, clean = _specimen(path, seed)
        mended, found = _mended(clean + size * time, geometry, path)
        assert np.sqrt(np.mean((mended - clean) ** 2)) < 0.15
        assert found.baseline or found.gain[-1] != 1
        assert found.doubt < 0.3


@pytest.mark.parametrize("name", CROSSED)
def test_the_doubt_of_a_baseline_is_about_its_error(name: str) -> None:
    path = _path(name)
    errors, doubts = [], []
    for seed in range(12):
        geometry, clean = _specimen(path, seed)
        mended, found = _mended(clean + 1.5 * np.linspace(0, 1, path.count), geometry, path)
        errors.append(np.sqrt(np.mean((mended - clean) ** 2)))
        doubts.append(found.doubt * judge(clean, geometry).scale)
    assert 0.5 < np.mean(doubts) / np.sqrt(np.mean(np.square(errors))) < 2.5


@pytest.mark.parametrize("name", CROSSED)
def test_a_gain_that_drifts_is_told_from_a_baseline(name: str) -> None:
    path = _path(name)
    geometry, clean = _specimen(path, 1)
    bright = 3 * (clean - 3)
    mended, found = _mended(bright * np.linspace(1, 0.6, path.count), geometry, path)
    assert found.gain[-1] == pytest.approx(0.6, abs=0.08)
    assert any("gain" in text for text in found.notices(1.0))
    assert np.sqrt(np.mean((mended - bright) ** 2)) < 0.1 * bright.std()


@pytest.mark.parametrize("name", ["grid", "crossed grid", "crossed spiral"])
def test_mains_are_found_with_their_frequency_and_amplitude(name: str) -> None:
    path = _path(name, 100.0)
    for hz in (50.0, 60.0):
        geometry, clean = _specimen(path, 2)
        hum = 0.4 * np.sin(2e-6 * np.pi * hz * _time_us(path) + 1)
        mended, found = _mended(clean + hum, geometry, path)
        assert abs(found.hz - hz) < 1
        assert f"mains of {found.hz:.1f} Hz" in found.notices(1.0)[-1]
        assert np.sqrt(np.mean((mended - clean) ** 2)) < 0.08


def test_readings_that_are_not_believed_say_nothing_of_a_baseline() -> None:
    path = _path("crossed spiral")
    geometry, clean = _specimen(path, 3)
    drifting = clean + np.linspace(0, 1.5, path.count)
    lost = drifting.copy()
    lost[::7] = np.nan
    mended, _ = _mended(lost, geometry, path)
    kept = np.isfinite(lost)
    assert np.sqrt(np.mean((mended - clean)[kept] ** 2)) < 0.2


def test_an_even_frame_has_no_baseline() -> None:
    path = _path("crossed spiral")
    geometry, _ = _specimen(path, 0)
    assert _found(np.full(path.count, 7.0), geometry, path)[1] is None
