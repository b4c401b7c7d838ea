"""What the restorer says of the drift becomes a rate, a foretold place and a shifted region, inside the field."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scancontrol.daemon.config import DaemonConfig, RestorerConfig
from scancontrol.daemon.drift_follower import DriftFollower
from scancontrol.errors import InvalidInput
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.paths.geometry import Region
from scancontrol.restoration import Provenance

SHAPE = (128, 256)


def recipe(region: Region, rotation_deg: float = 0.0) -> PathRecipe:
    pattern = JitteredGrid(coverage=CoverageGoal(value=0.05))
    return solve(
        PathRecipe(pattern=pattern, shape=SHAPE, fov_nm=20.0, dwell_us=1.0, region=region, rotation_deg=rotation_deg)
    )


MIDDLE = recipe(Region(y=0.2, x=0.2, height=0.6, width=0.6))


def said(y_px: float, x_px: float, sd_px: float = 0.1, forgotten: float = 0.0) -> Provenance:
    return Provenance(method="lite", face="faithful", drift_px=(y_px, x_px), drift_sd_px=sd_px, forgotten=forgotten)


FIRST = Provenance(method="lite", face="faithful")


def follower(*moves: tuple[float, float], sd_px: float = 0.1) -> DriftFollower:
    found = DriftFollower(SHAPE, True)
    found.restored(0, FIRST)
    for frame, (y, x) in enumerate(moves, 1):
        found.restored(frame, said(y, x, sd_px))
    return found


def test_a_constant_drift_is_foretold_over_frames_that_are_not_scanned_yet() -> None:
    drift = follower(*[(1.0, -0.5)] * 10)
    assert drift.foretold_px(13) == pytest.approx((13.0, -6.5), abs=0.1)
    told = drift.snapshot()
    assert told.rate_px == pytest.approx((1.0, -0.5), abs=0.02)
    assert told.rate_sd_px is not None
    assert 0 < told.rate_sd_px < 0.2
    assert told.trace_px[-1] == pytest.approx((10.0, -5.0))


def test_what_is_hardly_known_moves_the_rate_hardly() -> None:
    sure, unsure = follower((1.0, 0.0), (1.0, 0.0)), follower((1.0, 0.0), (1.0, 0.0))
    sure.restored(3, said(3.0, 0.0, sd_px=0.1))
    unsure.restored(3, said(3.0, 0.0, sd_px=2.0))
    rate = [each.snapshot().rate_px for each in (sure, unsure)]
    assert rate[0] is not None
    assert rate[1] is not None
    assert rate[0][0] > 1.5
    assert rate[1][0] < 1.1


@pytest.mark.parametrize("leap", [said(5.0, 5.0, forgotten=1.0), said(5.0, 5.0, sd_px=4.0)], ids=["other", "unknown"])
def test_after_a_leap_nothing_is_foretold_until_the_drift_is_known_again(leap: Provenance) -> None:
    drift = follower(*[(1.0, 0.0)] * 5)
    drift.restored(6, leap)
    assert drift.foretold_px(9) == pytest.approx((5.0, 0.0))


def test_frames_that_come_late_say_nothing_and_gaps_count_by_their_length() -> None:
    drift = follower((1.0, 0.0))
    drift.restored(4, said(3.0, 0.0))
    drift.restored(2, said(9.0, 9.0))
    assert drift.snapshot().rate_px == pytest.approx((1.0, 0.0), abs=0.02)
    assert drift.foretold_px(4) == pytest.approx((4.0, 0.0))


def test_a_restorer_that_falls_silent_lets_nothing_run_away() -> None:
    assert follower(*[(1.0, 0.0)] * 4).foretold_px(1000) == pytest.approx((20.0, 0.0), abs=0.5)


def test_the_region_follows_the_specimen_and_the_path_is_the_same_one_moved() -> None:
    drift = follower(*[(1.0, -2.0)] * 4)
    shifted = drift.shifted(MIDDLE, 5)
    assert (shifted.region.y - MIDDLE.region.y) * 128 == pytest.approx(5.0, abs=0.26)
    assert (shifted.region.x - MIDDLE.region.x) * 256 == pytest.approx(-10.0, abs=0.26)
    assert len(shifted.path_id) == 32
    before, after = expand(MIDDLE), expand(shifted)
    assert after.count == before.count
    moved = (after.positions - before.positions) * np.array(SHAPE)
    np.testing.assert_allclose(moved, np.broadcast_to(drift.snapshot().shift_px, moved.shape), atol=0.02)


@pytest.mark.parametrize("rotation_deg", [0.0, 20.0])
@pytest.mark.parametrize("way", [(3.0, 5.0), (-4.0, -2.0)])
def test_no_drift_carries_a_path_out_of_the_field_that_was_asked_for(
    rotation_deg: float, way: tuple[float, float]
) -> None:
    start = recipe(Region(y=0.25, x=0.3, height=0.5, width=0.4), rotation_deg)
    drift = follower(*[way] * 20)
    shifted = drift.shifted(start, 21)  # a recipe that leaves the field cannot be made
    outline = shifted.placement.outline()
    assert outline is not None
    assert outline.min() >= 0
    assert outline.max() <= 1
    assert drift.snapshot().short_px > 10
    assert expand(shifted).count == expand(start).count


def test_a_path_that_fills_the_field_has_no_room_and_stays_as_it_is() -> None:
    drift, whole = follower(*[(1.0, 1.0)] * 4), recipe(Region())
    assert drift.shifted(whole, 5) is whole
    assert drift.snapshot().short_px == pytest.approx(5 * math.sqrt(2), abs=0.2)


def path_made(drift: DriftFollower, start: PathRecipe, frame: int) -> PathRecipe:
    return list(drift.recipes(frame + 1, lambda _: start, lambda one: None if one == frame else start))[-1]


def test_a_path_moves_on_by_the_rate_about_where_its_region_lies_in_mid_frame() -> None:
    drift = follower(*[(1.0, -2.0)] * 6)
    made = path_made(drift, MIDDLE, 7)
    assert made.bend_px == pytest.approx((1.0, -2.0), abs=0.02)
    assert drift.snapshot().bend_px == made.bend_px
    assert made.region == follower(*[(1.0, -2.0)] * 6).shifted(MIDDLE, 7).region
    moved = (expand(made).positions - expand(MIDDLE).positions) * SHAPE
    assert moved.mean(0) == pytest.approx(drift.snapshot().shift_px, abs=0.05)
    assert moved[-1] - moved[0] == pytest.approx(made.bend_px, abs=0.05)


def test_of_frames_with_a_pause_between_them_a_path_moves_on_for_its_own_time_alone() -> None:
    scanned_s = expand(MIDDLE).duration_us * 1e-6
    drift = DriftFollower(SHAPE, True, 4 * scanned_s)
    drift.restored(0, FIRST)
    for frame in range(1, 9):
        drift.restored(frame, said(2.0, 0.0))
    assert path_made(drift, MIDDLE, 9).bend_px == pytest.approx((0.5, 0.0), abs=0.02)


@pytest.mark.parametrize(
    "moves", [[], [(0.02, -0.03)] * 6], ids=["nothing is measured", "the specimen stands all but still"]
)
def test_where_nothing_is_to_be_followed_a_path_is_the_planned_one(moves: list[tuple[float, float]]) -> None:
    made = path_made(follower(*moves), MIDDLE, len(moves) + 1)
    assert made == MIDDLE
    assert made.path_id == MIDDLE.path_id


@pytest.mark.parametrize(("sd_px", "frame"), [(2.5, 3), (0.1, 40)], ids=["hardly known", "long ago"])
def test_a_rate_that_is_not_known_now_bends_no_path(sd_px: float, frame: int) -> None:
    drift = follower((2.0, 2.0), sd_px=sd_px)
    assert not isinstance(path_made(drift, MIDDLE, frame).bend_px, tuple)
    assert drift.snapshot().bend_px == (0.0, 0.0)


@pytest.mark.parametrize("rotation_deg", [0.0, 20.0])
def test_a_bent_path_stays_in_the_field_that_was_asked_for(rotation_deg: float) -> None:
    start = recipe(Region(y=0.25, x=0.3, height=0.5, width=0.4), rotation_deg)
    drift = follower(*[(1.0, -6.0)] * 8)  # left to the edge, where nothing is left to bend
    bends = [path_made(drift, start, frame) for frame in range(9, 20)]  # a recipe that leaves the field cannot be made
    assert bends[0].bend_px == pytest.approx((1.0, -6.0), abs=0.1)
    at_edge = bends[-1].bend_px
    assert isinstance(at_edge, tuple)
    assert abs(at_edge[1]) < 0.5
    assert all(expand(made).count == expand(start).count for made in bends)
    whole = recipe(Region())
    assert path_made(drift, whole, 9) is whole


def test_frames_of_an_earlier_process_keep_their_paths_and_without_compensation_all_do() -> None:
    drift = follower(*[(1.0, 0.0)] * 3)
    paths = list(drift.recipes(5, lambda frame: MIDDLE, {0: MIDDLE, 1: MIDDLE}.get))
    assert [path == MIDDLE for path in paths] == [True, True, False, False, False]
    off = DriftFollower(SHAPE, False)
    off.restored(0, FIRST)
    off.restored(1, said(3.0, 3.0))
    assert all(path == MIDDLE for path in off.recipes(5, lambda frame: MIDDLE, {}.get))


@pytest.mark.parametrize("restorer", [RestorerConfig(memory=1), RestorerConfig(enabled=False, memory=4)])
def test_compensation_without_a_drift_that_is_measured_is_refused(restorer: RestorerConfig) -> None:
    with pytest.raises(InvalidInput, match="compensate_drift"):
        DaemonConfig(microscope="tcp://127.0.0.1:1", restorer=restorer, compensate_drift=True)
