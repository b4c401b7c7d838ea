"""A specimen that drifts inside a frame, scanned along a path that follows it, is restored as if it stood still."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from scancontrol.capabilities import CoilModel
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, Region, achieved_positions, expand
from simulators.specimens.motion import Motion

SHAPE = (96, 96)
DRIFT_PX = (5.0, -4.0)  # from the beginning of the frame to its end
PIXEL_NM = 0.1
MARGIN = 16
COIL = CoilModel(time_constant_us=3.0)
SPECIMEN = gaussian_filter(
    np.random.default_rng(4).standard_normal((SHAPE[0] + 2 * MARGIN, SHAPE[1] + 2 * MARGIN)), 2.5
)


def error(pattern: object, bend_px: tuple[float, float], drifts: bool, coil: CoilModel | None = None) -> float:
    """Of a frame, against the specimen as it lay in the frame's middle, as a share of its spread there."""
    region = Region(y=0.15, x=0.15, height=0.7, width=0.7)
    facts = {"shape": SHAPE, "fov_nm": SHAPE[1] * PIXEL_NM, "dwell_us": 4.0, "region": region}
    path = expand(msgspec.convert({"pattern": msgspec.to_builtins(pattern), **facts}, PathRecipe))
    path = expand(msgspec.structs.replace(path.recipe, bend_px=bend_px))
    time_us = np.cumsum(path.dwell_us + path.move_us)
    rate = tuple(by * PIXEL_NM / (path.duration_us * 1e-6) for by in DRIFT_PX)
    motion = Motion(drift_nm_per_s=rate if drifts else (0.0, 0.0))
    displaced = np.stack(motion.displacement_nm(time_us - path.duration_us / 2), axis=1) / PIXEL_NM
    beam = path.positions if coil is None else achieved_positions(path, coil)
    samples = map_coordinates(SPECIMEN, (beam * SHAPE - 0.5 - displaced + MARGIN).T, order=3).astype(np.float32)
    engine = Engine(FillRestorer("spectral_fast"))
    engine.register(path, coil)
    estimate = engine.restore(samples, path.path_id).estimate.numpy()[20:-20, 20:-20]
    truth = SPECIMEN[MARGIN:-MARGIN, MARGIN:-MARGIN][20:-20, 20:-20]
    return float(np.sqrt(np.mean((estimate - truth) ** 2)) / truth.std())


@pytest.mark.parametrize(
    "pattern",
    [JitteredGrid(coverage=CoverageGoal(value=0.15)), Archimedean(coverage=CoverageGoal(value=0.3))],
    ids=["grid", "spiral"],
)
@pytest.mark.parametrize("coil", [None, COIL], ids=["no lag", "lag"])
def test_along_a_path_that_follows_it_a_drifting_specimen_is_restored_as_a_still_one(pattern, coil) -> None:
    still, followed = error(pattern, (0.0, 0.0), False, coil), error(pattern, DRIFT_PX, True, coil)
    ignored = error(pattern, (0.0, 0.0), True, coil)
    assert followed == pytest.approx(still, rel=0.03)
    assert ignored > 1.5 * followed
