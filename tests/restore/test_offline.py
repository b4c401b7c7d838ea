"""Recordings restored offline from the frames before and after each, and what the file then says of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from recording_tools import MICROSCOPE
from scipy.ndimage import gaussian_filter, map_coordinates

from restore.both_ways import Later
from restore.engine import Engine
from restore.estimate.stream import Recalled
from restore.fills.restorer import FillRestorer
from restore.offline import restore_frames
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan

SIDE, FRAMES, MEMORY = 64, 6, 3
PLAN = ScanPlan(
    name="drifting",
    shape=(SIDE, SIDE),
    fov_nm=20.0,
    dwell_us=1.0,
    frames=FRAMES,
    patterns=(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=1, seed_per_frame=True),),
)


def truth(frame: int, margin: int = 16) -> np.ndarray:
    """The field in a frame of a specimen that moves by 0.8 px down a frame."""
    rough = gaussian_filter(np.random.default_rng(3).standard_normal((SIDE + 2 * margin,) * 2), 2.5)
    y, x = np.mgrid[:SIDE, :SIDE]
    field = map_coordinates(rough / rough.std(), [y - 0.8 * frame + margin, x + margin], order=3)
    return np.asarray(2000 + 400 * field)


def recorded(place: Path) -> Path:
    planned = PlannedScan(PLAN, MICROSCOPE)
    recording = record_plan(place, planned, keep_restorations=1)
    for frame in range(FRAMES):
        path = planned.path(frame)
        places = path.positions.T * SIDE - 0.5
        values = map_coordinates(truth(frame), places, order=1, mode="nearest").round().astype("<u2")
        recording.begin_frame(frame, path)
        recording.write_chunk(frame, 0, np.stack([values, values]), 0, 0, 0.0)
        recording.end_frame(frame, "completed", exposed=path.count)
    recording.close()
    return place


def restored(file: Path, both_ways: bool) -> tuple[list[float], list[tuple[int, int, int]]]:
    """Errors of the frames, and of each of how many frames it is, how old, and how many came later."""
    engine = Engine(FillRestorer("harmonic"), memory=MEMORY)
    assert restore_frames(file, range(FRAMES), engine, say=lambda **_: None, both_ways=both_ways) == FRAMES
    errors, made = [], []
    with Recording.open(file) as read:
        for frame in range(FRAMES):
            found = read.restoration(frame)
            assert found is not None
            errors.append(float(np.sqrt(np.mean((found.estimate - truth(frame)) ** 2))))
            made.append((found.made_by.frames, found.made_by.age_frames, found.made_by.later_frames))
    return errors, made


def test_frames_before_and_after_make_a_better_picture_than_those_before_and_the_recording_says_so(
    tmp_path: Path,
) -> None:
    file = recorded(tmp_path / "drifting.hspy")
    forwards, made = restored(file, both_ways=False)
    assert made == [(1, 0, 0), (2, 1, 0), *[(3, 2, 0)] * 4]
    both, made = restored(file, both_ways=True)
    assert made == [(3, 0, 2), (4, 1, 2), (5, 2, 2), (5, 2, 2), (4, 2, 1), (3, 2, 0)]
    assert both[0] < 0.75 * forwards[0], "the first frame has the most to gain"
    assert np.mean(both[1:5]) < 0.9 * np.mean(forwards[1:5])
    assert both[-1] == pytest.approx(forwards[-1], rel=0.02), "of the last there is nothing later"


def test_both_ways_without_a_memory_are_refused_before_anything_is_restored(tmp_path: Path) -> None:
    file = recorded(tmp_path / "drifting.hspy")
    with pytest.raises(InvalidInput, match="give --memory K"):
        restore_frames(file, range(FRAMES), Engine(FillRestorer("harmonic")), both_ways=True)
    with Recording.open(file) as read:
        assert read.restoration(0) is None


def test_of_a_long_recording_one_block_is_looked_ahead_at_a_time_each_in_a_stream_of_its_own() -> None:
    seen: list[tuple[int, int, int]] = []

    def recall(frame: int, place: int, block: int) -> Recalled | None:
        seen.append((block, place, frame))
        return None

    frames = list(range(0, 200, 2))
    later = Later(frames, 4, recall)
    most = 0
    for index in range(len(frames)):
        before = len(seen)
        assert later.of(index) is None
        most = max(most, len(seen) - before)
    assert {frame for _, _, frame in seen} == set(frames)
    assert most == 16 + 3, "a block and the memory after it"
    assert seen == sorted(seen), "by places that grow"
    assert seen[:2] == [(0, 0, 36), (0, 2, 34)], "which are as far apart as the frames, the last first"


def test_spirals_of_either_sense_tell_a_delay_together_and_it_is_corrected_at_once(tmp_path: Path) -> None:
    spiral = Archimedean(coverage=CoverageGoal(value=0.1), turn_deg="golden", mirrored="eighth")
    planned = PlannedScan(msgspec.structs.replace(PLAN, patterns=(spiral,), frames=3), MICROSCOPE)
    file = tmp_path / "late.hspy"
    recording = record_plan(file, planned, keep_restorations=1)
    for frame in range(3):
        path = planned.path(frame)
        values = map_coordinates(truth(0), path.positions.T * SIDE - 0.5, order=1, mode="nearest")
        late = np.concatenate([values[:1].repeat(4), values[:-4]]).round().astype("<u2")
        recording.begin_frame(frame, path)
        recording.write_chunk(frame, 0, np.stack([late, late]), 0, 0, 0.0)
        recording.end_frame(frame, "completed", exposed=path.count)
    recording.close()
    told: list[str] = []
    engine = Engine(FillRestorer("harmonic"))
    restore_frames(file, range(3), engine, say=lambda **what: told.append(str(what.get("notice", ""))))
    found = [notice for notice in told if "after the beam" in notice]
    assert len(found) == 1
    assert found[0].endswith("corrected")
    assert float(found[0].split()[2]) == pytest.approx(4, abs=0.3)
