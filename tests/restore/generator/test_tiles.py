"""Frames that are restored in tiles: seamless, as good as in one pass, and honest about what tiles cannot do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.engine import Engine
from restore.generator.generator import Estimate
from restore.generator.restorer import GeneratorRestorer
from restore.generator.tiles import Tiling, cuts, fading
from restore.generator.weights import load_weights, shipped
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, ScanPath, expand

pytestmark = pytest.mark.slow

SIDE, TILING = 384, Tiling(256, 96)


@pytest.mark.parametrize("length", [16, 4096, 4097, 5000, 8191, 8192, 12_345])
def test_tiles_cover_an_axis_once_overlap_enough_and_are_no_longer_than_was_asked_for(length: int) -> None:
    places = cuts(length, 4096, 256)
    assert (places[0][0], places[-1][1]) == (0, length)
    assert all(last - first <= 4096 + 32 for first, last in places)
    assert all(before[1] - after[0] >= 200 for before, after in pairwise(places))
    assert all(first % 32 == 0 for first, _ in places)
    total = torch.zeros(length)
    for (first, last), weight in zip(places, fading(places), strict=True):
        total[first:last] += weight
    torch.testing.assert_close(total, torch.ones(length))
    assert Tiling().is_for((16, length)) is (len(places) > 1)


def test_what_each_tile_says_is_put_in_its_place_and_its_edge_is_not_used() -> None:
    frame = torch.rand(1, 1, 300, 500)

    def spoilt(mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor) -> Estimate:
        said = mean + torch.nn.functional.pad(torch.zeros_like(mean[..., 8:-8, 8:-8]), (8, 8, 8, 8), value=9.0)
        return Estimate(said, distance.clone(), None)

    found = Tiling(160, 64).restored(spoilt, frame, frame, frame, torch.zeros(1))
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(found.frame[inner], frame[inner])
    torch.testing.assert_close(found.log_scale, frame)
    assert found.carried is None


def _scanned() -> tuple[ScanPath, np.ndarray, np.ndarray]:
    """A path at 1/20 and what is read along it of particles on a ground that is nowhere even, with noise."""
    random = np.random.default_rng(4)
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    truth = 0.3 * np.sin(y / 31) * np.cos(x / 23)
    for row, col, radius in zip(*random.random((2, 40)) * SIDE, 5 + 12 * random.random(40), strict=True):
        truth += np.clip(1 - ((y - row) ** 2 + (x - col) ** 2) / radius**2, 0, None)
    recipe = PathRecipe(
        pattern=JitteredGrid(coverage=CoverageGoal(value=0.05)), shape=(SIDE, SIDE), fov_nm=1.0, dwell_us=1.0
    )
    path = expand(recipe)
    at = np.clip((path.positions * SIDE).astype(int), 0, SIDE - 1)
    return path, truth[at[:, 0], at[:, 1]] + 0.05 * random.normal(size=path.count), truth


def test_a_frame_in_tiles_is_as_right_as_in_one_pass_has_no_seams_and_says_that_no_lattice_is_looked_for() -> None:
    path, samples, truth = _scanned()
    weights = load_weights(shipped("lite"), "cpu")
    in_one, in_tiles = (
        Engine(GeneratorRestorer(weights, precision="single", crystals=crystals, tiling=tiling), memory=2)
        for crystals, tiling in (("off", Tiling()), ("first", TILING))
    )
    for engine in (in_one, in_tiles):
        engine.register(path)
    whole, tiled = in_one.restore(samples, path.path_id), in_tiles.restore(samples, path.path_id, stream="tiled")
    for image in (tiled.estimate, tiled.interval):
        assert image is not None
        assert bool(image.isfinite().all())
    error, other = ((found.estimate.numpy() - truth) for found in (whole, tiled))
    assert np.square(other).mean() ** 0.5 < 1.03 * np.square(error).mean() ** 0.5
    assert np.square(error - other).mean() ** 0.5 < 0.35 * np.square(error).mean() ** 0.5
    assert whole.interval is not None
    assert tiled.interval is not None
    assert float(tiled.interval.mean() / whole.interval.mean()) == pytest.approx(1, abs=0.1)
    assert any("tiles" in notice for notice in tiled.made_by.notices)
    assert not any("tiles" in notice for notice in whole.made_by.notices)
    steps = np.abs(np.diff(tiled.estimate.numpy(), axis=0)).mean(1)
    usual = np.abs(np.diff(whole.estimate.numpy(), axis=0)).mean(1)
    seams = np.zeros(SIDE - 1, bool)
    for (_, last), (first, _) in pairwise(cuts(SIDE, TILING.side, TILING.overlap)):
        seams[first - 1 : last] = True
    ratio = steps / usual
    assert ratio[seams].max() < max(1.1, 1.1 * ratio[~seams].max())
    following = in_tiles.restore(samples, path.path_id, stream="tiled", frame=1)
    assert following.made_by.frames == 2, "samples are remembered, whatever the network cannot carry"
