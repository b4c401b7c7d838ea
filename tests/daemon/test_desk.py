"""What a plan would come to is answered as its arming would find it, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_tools import GOOD, MICROSCOPE, plan_with

from scancontrol.daemon.config import SpecimenConfig
from scancontrol.daemon.desk import Desk
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.frame_answers import FrameAnswers
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.messages import (
    CheckPlan,
    DeletePreset,
    Done,
    ListPlans,
    PlanChecked,
    Plans,
    Refusal,
    SavePreset,
)
from scancontrol.daemon.plans import PlanBook
from scancontrol.dose.limits import DoseLimits
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.need import RecordingNeed


@pytest.fixture
def dose(tmp_path: Path) -> Iterator[DoseKeeper]:
    keeper = DoseKeeper(SpecimenConfig(limits=DoseLimits(area_e_per_a2=1e4)), tmp_path / "ledger")
    yield keeper
    keeper.close()


@pytest.fixture
def desk(tmp_path: Path, dose: DoseKeeper) -> Desk:
    book = PlanBook({"good": plan_with()}, tmp_path / "presets", lambda text, level: None)
    return Desk(book, dose, FrameAnswers(tmp_path, LiveHub()), lambda: MICROSCOPE, folder=tmp_path)


def test_a_plan_is_answered_with_what_it_comes_to_on_this_microscope(desk: Desk) -> None:
    found = desk.answer(CheckPlan(plan=GOOD, request=4))
    planned = PlannedScan(plan_with(), MICROSCOPE)
    need = RecordingNeed.of(planned)
    assert isinstance(found, PlanChecked)
    (cost,), (figures,) = found.patterns, planned.patterns
    assert found.request == 4
    assert (cost.coverage_nominal, cost.coverage_touched, cost.coverage_dose) == (
        figures.coverage.nominal,
        figures.coverage.touched,
        figures.coverage.dose,
    )
    assert cost.frame_time_ms == pytest.approx(figures.duration_us / 1e3)
    assert found.total_time_s == pytest.approx(4 * cost.frame_time_ms / 1e3)
    assert found.worst_area_e_per_a2 == planned.worst_area_e_per_a2
    assert found.electrons == pytest.approx(4 * figures.dose.electrons)
    assert (found.area_e_per_a2, found.area_limit_e_per_a2) == (0.0, 1e4)
    assert 0 < found.arming_s < 60
    assert (found.recording_bytes, found.pictures_bytes) == (need.samples_bytes, need.pictures_bytes)
    assert found.disk_free_bytes is not None


def test_a_plan_whose_samples_do_not_fit_on_the_disk_is_refused_with_what_would(desk: Desk) -> None:
    whole = {**GOOD, "frames": 10_000_000, "shape": [512, 512], "fov_nm": 1e5, "patterns": [{"kind": "raster"}]}
    found = desk.answer(CheckPlan(plan=whole, request=9))
    assert isinstance(found, Refusal)
    assert "do not fit on the disk" in found.text
    assert "of 10000000 frames; free some space, record to another disk or plan fewer frames" in found.text


def test_an_offered_plan_is_checked_by_its_name(desk: Desk) -> None:
    assert isinstance(desk.answer(CheckPlan(plan="good", request=1)), PlanChecked)


@pytest.mark.parametrize(
    ("changed", "quantity"),
    [
        ({"dwell_us": 0.01}, "dwell_us"),
        ({"dwell_us": 2000.0, "fov_nm": 1.0}, "area"),
        ({"detectors": ["EBSD"]}, "detectors"),
        ({"dose_limits": {"frame_e_per_a2": 1e-6}}, "dose"),
        ({"shape": [16384, 16384]}, "shape"),
    ],
)
def test_a_plan_that_may_not_run_is_refused_by_quantity_limit_and_remedy(
    desk: Desk, changed: dict[str, object], quantity: str
) -> None:
    found = desk.answer(CheckPlan(plan={**GOOD, **changed}, request=9))
    assert isinstance(found, Refusal)
    assert (found.request, found.code) == (9, "refused")
    assert quantity in found.quantity
    assert found.value
    assert found.limit
    assert found.remedy


def test_presets_are_saved_listed_and_deleted(desk: Desk) -> None:
    assert desk.answer(SavePreset(plan={**GOOD, "name": "mine"}, request=1)) == Done(request=1)
    listed = desk.answer(ListPlans(request=2))
    assert isinstance(listed, Plans)
    assert [(offered.plan["name"], offered.preset) for offered in listed.plans] == [("good", False), ("mine", True)]
    assert desk.answer(DeletePreset(name="mine", request=3)) == Done(request=3)
    assert isinstance(desk.answer(CheckPlan(plan="mine", request=4)), Refusal)


def test_a_preset_that_this_microscope_cannot_run_is_not_saved(desk: Desk) -> None:
    refused = desk.answer(SavePreset(plan={**GOOD, "name": "mine", "dwell_us": 0.01}, request=1))
    assert isinstance(refused, Refusal)
    assert refused.quantity == "dwell_us"
    listed = desk.answer(ListPlans(request=2))
    assert isinstance(listed, Plans)
    assert len(listed.plans) == 1


def test_before_a_microscope_has_answered_nothing_is_planned(tmp_path: Path, dose: DoseKeeper) -> None:
    book = PlanBook({}, tmp_path, lambda text, level: None)
    desk = Desk(book, dose, FrameAnswers(tmp_path, LiveHub()), lambda: None, folder=tmp_path)
    refused = desk.answer(CheckPlan(plan=GOOD, request=1))
    assert isinstance(refused, Refusal)
    assert "no microscope has answered" in refused.text
