"""Spirals that are turned from frame to frame, and those that are not."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
import pytest

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, Fermat, PathRecipe, expand
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan

GOLDEN_DEG = 180 * (3 - math.sqrt(5))


def recipe(pattern: Archimedean | Fermat) -> PathRecipe:
    return PathRecipe(pattern=pattern, shape=(128, 128), fov_nm=20, dwell_us=2)


@pytest.mark.parametrize(
    "straight", [Archimedean(turn_spacing_px=9.0), Fermat(turns=8.0)], ids=["archimedean", "fermat"]
)
def test_a_turned_spiral_is_the_same_curve_turned_about_the_middle(straight: Archimedean | Fermat) -> None:
    straight = msgspec.structs.replace(straight, extent="inscribed")
    base = expand(recipe(straight)).positions - 0.5
    turned = expand(recipe(msgspec.structs.replace(straight, turn_deg=90.0))).positions - 0.5
    quarter = np.stack((base[:, 1], -base[:, 0]), 1)  # from x towards y
    assert np.abs(turned - quarter).max() < 1e-9


@pytest.mark.parametrize(
    "straight", [Archimedean(turn_spacing_px=9.0, turn_deg=40.0), Fermat(turns=8.0)], ids=["archimedean", "fermat"]
)
@pytest.mark.parametrize("extent", ["inscribed", "corners"])
def test_a_mirrored_spiral_turns_the_other_way_from_the_same_angle(
    straight: Archimedean | Fermat, extent: Literal["inscribed", "corners"]
) -> None:
    straight = msgspec.structs.replace(straight, extent=extent)
    forth = expand(recipe(straight)).positions - 0.5
    back = expand(recipe(msgspec.structs.replace(straight, mirrored=True))).positions - 0.5
    angle = math.radians(straight.turn_deg if isinstance(straight.turn_deg, float) else 0.0)
    if extent == "corners":  # what is left out is another part of each turn
        forth, back = (each[: int(np.flatnonzero(np.hypot(*each.T) > 0.499)[0])] for each in (forth, back))
    along, aside = np.array([math.sin(angle), math.cos(angle)]), np.array([math.cos(angle), -math.sin(angle)])
    assert np.abs(back @ along - forth @ along).max() < 1e-9
    assert np.abs(back @ aside + forth @ aside).max() < 1e-9


def test_every_eighth_frame_is_mirrored_from_the_second_on() -> None:
    pattern = Archimedean(turn_spacing_px=9.0, turn_deg="golden", mirrored="eighth")
    assert pattern.changes_per_frame
    mirrored = [frame for frame in range(24) if pattern.for_frame(frame).mirrored is True]
    assert mirrored == [1, 9, 17]
    assert b"mirrored" not in msgspec.json.encode(pattern.for_frame(2))


def test_a_spiral_that_is_not_turned_keeps_its_id() -> None:
    text = msgspec.json.encode(recipe(Archimedean(coverage=CoverageGoal(value=0.1))))
    assert b"turn_deg" not in text
    assert (
        msgspec.json.decode(text, type=PathRecipe).path_id
        == recipe(Archimedean(coverage=CoverageGoal(value=0.1))).path_id
    )


def test_a_plan_turns_each_frames_spiral_by_the_golden_angle_and_solves_its_spacing_once() -> None:
    pattern = Archimedean(coverage=CoverageGoal(value=0.05), turn_deg="golden")
    plan = ScanPlan(name="turning", shape=(256, 256), fov_nm=20.0, dwell_us=2.0, patterns=(pattern,), frames=4)
    planned = PlannedScan(plan, Capabilities(name="any"))
    patterns = [planned.recipe(frame).pattern for frame in range(4)]
    turns = [each.turn_deg for each in patterns]  # type: ignore[union-attr]
    assert turns == pytest.approx([frame * GOLDEN_DEG % 360 for frame in range(4)], abs=1e-6)
    assert len({each.turn_spacing_px for each in patterns}) == 1  # type: ignore[union-attr]
    assert len({planned.path(frame).path_id for frame in range(4)}) == 4
    touched = [planned.path(frame).coverage.touched for frame in range(4)]
    assert touched == pytest.approx([0.05] * 4, rel=0.02)


def test_an_angle_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="turn_deg"):
        recipe(Archimedean(turn_spacing_px=5.0, turn_deg=math.nan))
