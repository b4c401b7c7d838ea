"""A plan of a few frames and the recording of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from acquisition_tools import MICROSCOPE, plan_of

from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingWriter, record_plan


@pytest.fixture
def plan() -> ScanPlan:
    return plan_of(4)


@pytest.fixture
def recording(tmp_path: Path, plan: ScanPlan) -> Iterator[RecordingWriter]:
    writer = record_plan(tmp_path / "a.hspy", PlannedScan(plan, MICROSCOPE), series_id=1, series_unique_id="s")
    yield writer
    writer.abandon()
