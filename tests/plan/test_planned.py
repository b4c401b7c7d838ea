"""A plan on a microscope exists only if it can run there, and expands each of its paths once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.commands import plan as command
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.plan.plan import load_capabilities, load_plan
from scancontrol.plan.planned import PlannedScan

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def expansions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often samples of each path are computed, by its id."""
    seen: Counter[str] = Counter()
    expand = ScanPath._expand

    def counted(path: ScanPath, first: int, count: int):  # type: ignore[no-untyped-def]
        seen[path.path_id] += 1
        return expand(path, first, count)

    monkeypatch.setattr(ScanPath, "_expand", counted)
    return seen


def test_the_command_expands_each_of_six_paths_once_and_nothing_else(
    expansions: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    planned = PlannedScan(load_plan(CONFIG / "plan-cycle.yaml"), load_capabilities(CONFIG / "microscope.yaml"))
    text = command.table(planned)
    assert "lissajous" in text
    assert "full raster" in text
    assert list(expansions.values()) == [1] * 6


def test_one_frame_of_one_pattern_is_expanded_once_however_often_its_path_is_asked_for(
    expansions: Counter[str],
) -> None:
    planned = PlannedScan(plan_with(frames=50), MICROSCOPE)
    for frame in range(50):
        assert len(planned.path(frame).positions) == planned.patterns[0].samples
    assert list(expansions.values()) == [1]


def test_no_more_than_two_expanded_paths_are_kept() -> None:
    patterns = [{"kind": "jittered_grid", "points": n} for n in (50, 60, 70, 80)]
    planned = PlannedScan(plan_with(patterns=patterns), MICROSCOPE)
    paths = [planned.path(frame) for frame in range(4)]
    assert [planned.path(frame) is path for frame, path in enumerate(paths)] == [False, False, False, False]
    assert planned.path(3) is planned.path(3)
    assert planned.recipe(1) is planned.recipe(5)  # recipes are small and are all kept


def test_a_plan_that_cannot_run_never_becomes_one_on_the_microscope() -> None:
    with pytest.raises(InvalidInput, match="no detector of this microscope"):
        PlannedScan(plan_with(detectors=["nobody"]), MICROSCOPE)


def test_the_electrons_of_a_frame_are_those_of_its_pattern() -> None:
    patterns = [{"kind": "jittered_grid", "points": 100}, {"kind": "jittered_grid", "points": 300}]
    planned = PlannedScan(plan_with(patterns=patterns), MICROSCOPE)
    assert planned.electrons(3) == pytest.approx(3 * planned.electrons(2))
    assert planned.electrons(0) == pytest.approx(planned.path(0).electrons(planned.beam_current_pa))


def test_the_figures_for_the_page_are_those_of_the_first_frame() -> None:
    planned = PlannedScan(plan_with(), MICROSCOPE)
    first, figures = planned.patterns[0], planned.figures
    assert figures.pattern == "archimedean, linear"
    assert figures.beam_frame_time_ms == pytest.approx(planned.path(0).duration_us / 1e3)
    assert figures.coverage_touched == first.coverage.touched
    assert figures.worst_area_frame_e_per_a2 == first.dose.worst_area_e_per_a2
    assert figures.saturation_counts == 65535


def test_frames_that_wait_for_their_turn_take_their_interval_but_the_last() -> None:
    still = PlannedScan(plan_with(), MICROSCOPE)
    frame_s = still.total_time_s / 4
    assert still.duration_s == pytest.approx(still.total_time_s)
    spaced = PlannedScan(plan_with(interval_s=5.0), MICROSCOPE)
    assert spaced.total_time_s == still.total_time_s
    assert spaced.duration_s == pytest.approx(15 + frame_s)
    assert PlannedScan(plan_with(interval_s=frame_s / 2), MICROSCOPE).duration_s == pytest.approx(still.total_time_s)


@pytest.mark.parametrize("interval_s", [-1.0, float("nan"), 1e6])
def test_an_interval_that_cannot_be_is_refused(interval_s: float) -> None:
    with pytest.raises(InvalidInput, match="interval_s"):
        plan_with(interval_s=interval_s)
