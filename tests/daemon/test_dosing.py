"""The accounts of an acquisition: what a person is told of the dose before a scan and after it is one figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from plan_tools import MICROSCOPE, plan_with

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.commands.plan import table
from scancontrol.daemon.config import RestorerConfig, SpecimenConfig
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.dry_run import RUN_FILE, leave_figures
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.restorations import Restorations
from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import DoseLimitPassed
from scancontrol.plan.planned import PlannedScan

UNEVEN = {"stage_um": {"x": 3.7, "y": -1.1}}  # no cell of the ledger's map lies as one of the field's does


def worst_area(refused: str) -> float:
    """The dose that a refusal names, in e/Å²."""
    found = re.search(r"dose of one frame in the worst area.*?= ([0-9.]+)", refused)
    assert found, refused
    return float(found[1])


def test_the_dose_of_a_frame_is_one_figure_in_every_refusal_the_plans_table_and_the_report(tmp_path: Path) -> None:
    plan = plan_with(frames=1)
    planned = PlannedScan(plan, MICROSCOPE)
    spent = planned.patterns[0].dose.worst_area_e_per_a2
    assert spent > 2 * planned.patterns[0].dose.mean_e_per_a2, "a spiral is uneven, so the area matters"
    limits = DoseLimits(frame_e_per_a2=spent / 2)
    with pytest.raises(DoseLimitPassed) as by_the_plan:
        PlannedScan(plan_with(frames=1, dose_limits={"frame_e_per_a2": spent / 2}), MICROSCOPE)
    specimen = msgspec.convert({**UNEVEN, "limits": msgspec.to_builtins(limits)}, SpecimenConfig)
    keeper = DoseKeeper(specimen, tmp_path / "ledger")
    with pytest.raises(DoseLimitPassed) as by_the_specimen:
        keeper.check(planned)
    with pytest.raises(DoseLimitPassed) as by_the_microscope:
        DoseGuard(limits, MICROSCOPE).check(planned.path(0), 0, keeper.area)
    keeper.close()
    told = [worst_area(str(refused.value)) for refused in (by_the_plan, by_the_specimen, by_the_microscope)]

    row = next(line for line in table(planned).splitlines() if line.startswith("dose, worst area"))
    told.append(float(row.split()[3].replace(",", "")))
    ended = SimpleNamespace(
        run=SimpleNamespace(planned=planned, recording=SimpleNamespace(path=tmp_path / "one.hspy")),
        status=AcquisitionStatus(finish_reason="completed", frames_completed=1),
    )
    restored = Restorations(RestorerConfig(enabled=False), LiveHub(), lambda *said: None, lambda said: None)
    leave_figures(tmp_path, ended, restored)  # type: ignore[arg-type]
    restored.stop()
    told.append(json.loads((tmp_path / RUN_FILE).read_text())["worst_area_frame_e_per_a2"])
    told.append(planned.figures.worst_area_frame_e_per_a2)  # on the page
    assert told == pytest.approx([spent] * len(told), rel=5e-3)  # as precisely as each is written


def test_the_dose_of_all_frames_is_one_figure_for_the_plan_and_the_specimen(tmp_path: Path) -> None:
    patterns = [{"kind": "archimedean", "coverage": {"value": 0.05}}, {"kind": "raster"}]
    planned = PlannedScan(plan_with(frames=5, patterns=patterns), MICROSCOPE)
    limit = {"total_e_per_a2": 0.999 * planned.worst_area_e_per_a2}
    keeper = DoseKeeper(msgspec.convert({**UNEVEN, "limits": limit}, SpecimenConfig), tmp_path)
    with pytest.raises(DoseLimitPassed, match="dose of 5 frames in the worst area") as by_the_specimen:
        keeper.check(planned)
    keeper.close()
    with pytest.raises(DoseLimitPassed) as by_the_plan:
        PlannedScan(plan_with(frames=5, patterns=patterns, dose_limits=limit), MICROSCOPE)
    figures = [str(refused.value).split(";")[0] for refused in (by_the_plan, by_the_specimen)]
    assert figures[0] == figures[1]
