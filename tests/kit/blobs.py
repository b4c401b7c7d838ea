"""Small recordings of a smooth specimen, without a microscope."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recording_tools import MICROSCOPE

from scancontrol.paths import Archimedean, CoverageGoal
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import record_plan

FRAMES = 3
PLAN = ScanPlan(
    name="blobs",
    shape=(64, 64),
    fov_nm=20.0,
    dwell_us=1.0,
    frames=FRAMES,
    patterns=(Archimedean(coverage=CoverageGoal(value=0.2)),),
)


def truth(positions: np.ndarray) -> np.ndarray:
    """The specimen at ``positions`` (n, 2)."""
    y, x = positions.T
    return 2000 + 1500 * np.sin(5 * x) * np.cos(4 * y)


def recorded(place: Path, keep: int, brighter: tuple[int, int] = (0, 0)) -> Path:
    """A whole recording of :data:`PLAN` at ``place``, with room for every ``keep``-th restoration.

    ``brighter`` is added to the readings of the two detectors.
    """
    planned = PlannedScan(PLAN, MICROSCOPE)
    recording = record_plan(place, planned, keep_restorations=keep)
    path = planned.path(0)
    values = (truth(path.positions) + np.array(brighter)[:, None]).astype("<u2")
    for frame in range(FRAMES):
        recording.begin_frame(frame, path)
        recording.write_chunk(frame, 0, values, 0, 0, 0.0)
        recording.end_frame(frame, "completed", exposed=path.count)
    recording.close()
    return place
