"""Which readings are believed: no single one does harm, nothing real is lost, and numbers of any size do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from restore.engine import Engine
from restore.estimate.neighbours import across, nearest
from restore.estimate.readings import judge
from restore.evaluation.subjects import read_specimens
from restore.fills.restorer import FillRestorer
from restore.generator.restorer import GeneratorRestorer
from restore.gridding import FrameGeometry
from restore.restorer import Restoration
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, ScanPath, expand

SHAPE = (128, 128)
GOAL = CoverageGoal(value=0.1)
PATHS = {
    name: expand(PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=128.0, dwell_us=1.0))
    for name, pattern in (("spiral", Archimedean(coverage=GOAL)), ("grid", JitteredGrid(coverage=GOAL, seed=1)))
}
GEOMETRIES = {name: FrameGeometry.from_path(path) for name, path in PATHS.items()}
both = pytest.mark.parametrize("name", list(PATHS))


def _image(kind: str = "rough", shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Grey levels between 100 and 200, in counts: a rough surface, an even lattice, noise, or black ground."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[: shape[0], : shape[1]]
    if kind == "lattice":
        image = 150 + 25 * (np.cos(2 * np.pi * x / 11.3) + np.cos(2 * np.pi * y / 9.7))
    else:
        smooth = gaussian_filter(random.standard_normal(shape), {"rough": 5, "noise": 0.01, "black": 8}[kind])
        image = 150 + 18 * smooth / smooth.std()
    if kind == "black":
        return np.clip(image - 150, 0, None)
    return np.clip(image + random.standard_normal(shape), 100, 200)


def _readings(name: str, image: np.ndarray) -> np.ndarray:
    return image.ravel()[GEOMETRIES[name].index.numpy()].astype(np.float64)


def _rmse(found: torch.Tensor, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found.double().numpy() - truth) ** 2)))


def _restored(restorer: FillRestorer | GeneratorRestorer, path: ScanPath, samples: np.ndarray) -> Restoration:
    engine = Engine(restorer)
    engine.register(path)
    return engine.restore(samples, path.path_id)


@both
def test_neighbours_are_the_nearest_samples_and_those_across_were_taken_at_another_time(name: str) -> None:
    geometry = GEOMETRIES[name]
    cols = geometry.shape[1]
    place = torch.stack((geometry.index // cols, geometry.index % cols), 1) + geometry.offset
    distance = torch.cdist(place.double(), place.double()).fill_diagonal_(torch.inf)
    near = nearest(geometry)
    assert torch.allclose(distance.gather(1, near), distance.topk(8, largest=False).values, atol=1e-4)
    beside = across(geometry, torch.arange(geometry.count))
    own = torch.arange(geometry.count)[:, None]
    apart = (beside - own).abs()
    assert ((apart >= 24) | (apart == 0)).all()
    assert (apart > 0).any(1).double().mean() > 0.9


@both
@pytest.mark.parametrize("kind", ["rough", "lattice", "noise", "black"])
def test_of_a_clean_frame_every_reading_is_believed(name: str, kind: str) -> None:
    readings = _readings(name, _image(kind))
    for values in (readings, np.round(readings)):
        judged = judge(values, GEOMETRIES[name])
        assert judged.all_used
        assert judged.notices == ()
        assert judged.excess is None
        assert np.allclose(judged.centre + judged.scale * judged.values.double(), values, atol=1e-5)


@both
@pytest.mark.parametrize("kind", ["rough", "lattice", "black"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("signs", [(1.0,), (1.0, -1.0)], ids=["up", "both"])
def test_spikes_are_left_out_and_nothing_else_is(name: str, kind: str, share: float, signs: tuple[float, ...]) -> None:
    readings = _readings(name, _image(kind))
    random = np.random.default_rng(11)
    hit = random.random(len(readings)) < max(share, 2 / len(readings))
    spoiled = np.where(
        hit, readings + 1000 * random.choice(signs, len(hit)) * random.uniform(0.5, 1, len(hit)), readings
    )
    judged = judge(spoiled, GEOMETRIES[name])
    left_out = judged.weights.numpy() == 0
    assert (left_out & ~hit).sum() <= 2
    assert (hit & ~left_out).sum() <= 0.01 * hit.sum()
    assert judged.outliers == left_out.sum()
    assert "outliers" in judged.notices[0]


COLUMNS = ["square-7px", "square-16px", "hexagonal-20px", "two_species-10px"]


@pytest.mark.parametrize("coverage", [0.05, 0.01])
@pytest.mark.parametrize("electrons", [60.0, 600.0])
@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_samples_hit_once_each_are_believed_and_spikes_among_them_are_not(
    name: str, electrons: float, coverage: float
) -> None:
    goal = CoverageGoal(value=coverage)
    path = expand(PathRecipe(pattern=JitteredGrid(coverage=goal, seed=1), shape=(256, 256), fov_nm=256.0, dwell_us=1.0))
    geometry = FrameGeometry.from_path(path)
    ((subject,),) = read_specimens([name], (256, 256), 1, electrons).values()
    samples = subject.read(geometry.index.numpy()).astype(np.float64)
    assert judge(samples, geometry).outliers <= max(1, len(samples) // 1000)
    random = np.random.default_rng(0)
    spikes = random.choice(len(samples), len(samples) // 100, replace=False)
    samples[spikes] += 10 * np.ptp(samples) * random.choice([-1, 1], len(spikes))
    found = judge(samples, geometry)
    assert not found.weights[torch.from_numpy(spikes)].any()
    assert found.outliers <= len(spikes) + max(1, len(samples) // 1000)


@both
def test_a_bright_speck_that_several_readings_agree_on_is_believed(name: str) -> None:
    image = _image()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for row, col in ((40, 40), (90, 30), (64, 100)):
        image[(y - row) ** 2 + (x - col) ** 2 <= 64] += 3000.0
    judged = judge(_readings(name, image), GEOMETRIES[name])
    assert judged.outliers == 0


@both
def test_discs_on_an_exactly_even_ground_do_not_vanish(name: str) -> None:
    image = np.full(SHAPE, 7.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for row, col in ((30, 40), (90, 75)):
        image[(y - row) ** 2 + (x - col) ** 2 <= 20] = 107.0
    path = PATHS[name]
    samples = _readings(name, image)
    assert 0 < (samples > 7).mean() < 0.01
    found = _restored(FillRestorer("push_pull"), path, samples)
    assert float(found.estimate[28:33, 38:43].mean()) > 50
    assert float(found.estimate[60:70, 10:20].mean()) == pytest.approx(7, abs=0.5)


@both
@pytest.mark.parametrize("fault", ["stuck", "zeros", "nan", "full", "strewn zeros"])
def test_stretches_that_were_lost_are_told_apart(name: str, fault: str) -> None:
    readings = np.round(_readings(name, _image()))
    random = np.random.default_rng(5)
    gone = np.zeros(len(readings), bool)
    if fault == "strewn zeros":
        gone = random.random(len(readings)) < 0.3
    while gone.mean() < 0.2:
        start = random.integers(len(readings) - 40)
        gone[start : start + 40] = True
    value = {"stuck": 147.0, "zeros": 0.0, "nan": np.nan, "full": 4095.0, "strewn zeros": 0.0}[fault]
    judged = judge(np.where(gone, value, readings), GEOMETRIES[name])
    left_out = judged.weights.numpy() == 0
    assert (left_out == gone).mean() > 0.99
    assert judged.lost + judged.outliers == left_out.sum()
    assert "lost" in judged.notices[0]


@both
def test_a_specimen_that_saturates_is_believed_and_said(name: str) -> None:
    image = np.minimum(_image("rough"), 165.0)
    judged = judge(_readings(name, image), GEOMETRIES[name])
    assert judged.all_used
    assert judged.saturated > 0
    assert "saturated" in judged.notices[-1]


@both
def test_a_count_of_few_electrons_is_believed_although_most_readings_are_zero(name: str) -> None:
    for electrons in (3.0, 1.0, 0.3, 0.1):
        counts = np.random.default_rng(2).poisson(_readings(name, _image() - 90) * electrons / 60)
        judged = judge(counts.astype(np.uint16), GEOMETRIES[name])
        assert judged.lost == 0
        assert judged.outliers <= 0.01 * len(counts)


@both
@pytest.mark.parametrize(
    ("offset", "gain"), [(0.0, 1e-36), (0.0, 3e36), (1e8, 0.1), (-1e8, -0.1), (0.0, 1e30), (0.0, 1e250)]
)
def test_readings_of_any_size_and_offset_are_restored_alike(name: str, offset: float, gain: float) -> None:
    image = _image()
    readings = _readings(name, image)
    plain = _restored(FillRestorer("push_pull"), PATHS[name], readings)
    found = _restored(FillRestorer("push_pull"), PATHS[name], offset + gain * readings)
    back = (found.estimate.double() - offset) / gain
    assert _rmse(back, image) == pytest.approx(_rmse(plain.estimate, image), rel=0.02)
    assert found.interval is not None
    assert plain.interval is not None
    assert torch.allclose(found.interval.double() / abs(gain), plain.interval.double(), rtol=0.02)
    assert found.made_by.withheld_rmse == pytest.approx(plain.made_by.withheld_rmse * abs(gain), rel=0.02)


def test_complex_readings_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="complex"):
        judge(np.zeros(GEOMETRIES["grid"].count, dtype=np.complex64), GEOMETRIES["grid"])


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(list(PATHS)), st.lists(st.tuples(st.floats(0, 0.999), st.floats(width=64)), min_size=1, max_size=12)
)
def test_whatever_a_few_readings_are_what_leaves_here_is_bounded(name: str, faults: list[tuple[float, float]]) -> None:
    readings = _readings(name, _image())
    for where, value in faults:
        readings[int(where * len(readings))] = value
    judged = judge(readings, GEOMETRIES[name])
    assert bool(judged.values.isfinite().all())
    assert float(judged.values.abs().max()) <= 24
    assert 0.1 < float(judged.values[judged.weights > 0].std()) < 3


@pytest.mark.slow
@both
def test_one_reading_however_large_makes_no_picture_worse(name: str) -> None:
    image = _image()
    readings = _readings(name, image)
    for restorer in (FillRestorer("spectral"), GeneratorRestorer.load()):
        clean = _rmse(_restored(restorer, PATHS[name], readings).estimate, image)
        for size in (1e2, 1e4, 1e12, 1e30):
            spoiled = readings.copy()
            spoiled[len(spoiled) // 3] = size * 100
            found = _restored(restorer, PATHS[name], spoiled)
            assert found.made_by.outliers == 1
            assert _rmse(found.estimate, image) < 1.02 * clean


@both
def test_a_frame_keeps_what_made_it_when_readings_are_lost(name: str) -> None:
    readings = _readings(name, _image())
    engine = Engine(FillRestorer("auto"))
    prepared = engine.register(PATHS[name])
    readings[100:160] = np.nan
    found = engine.restore(readings, PATHS[name].path_id)
    assert found.made_by.method == prepared.method
    assert found.made_by.lost == 60
    assert found.made_by.samples_used == len(readings)


def test_the_counts_rise_with_the_faults() -> None:
    readings = _readings("grid", _image())
    lost = []
    for count in (0, 20, 200):
        spoiled = readings.copy()
        spoiled[50 : 50 + count] = np.inf
        lost.append(judge(spoiled, GEOMETRIES["grid"]).lost)
    assert all(a < b for a, b in pairwise(lost))
    assert lost[-1] == 200
