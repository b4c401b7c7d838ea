"""A recording is made as large as its plan needs, before the scan."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, Raster, expand
from scancontrol.plan.plan import ScanPlan, parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Capacity, Recording, file_name, record_plan
from scancontrol.recording.planned import capacity_of

MICROSCOPE = Capabilities(name="bench", detectors=(DetectorChannel(name="HAADF"),))
SPIRAL = Archimedean(coverage=CoverageGoal(value=0.1))
FIXED = ScanPlan(name="two in turn", shape=(32, 32), fov_nm=10.0, dwell_us=1.0, patterns=(SPIRAL, Raster()), frames=5)
GRID = JitteredGrid(coverage=CoverageGoal(value=0.1), seed_per_frame=True)
CHANGING = ScanPlan(name="changing", shape=(32, 32), fov_nm=10.0, dwell_us=1.0, patterns=(GRID,), frames=90)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_capacity_of_repeated_frames_is_exactly_that_of_each_one_counted(frames: int) -> None:
    plan = ScanPlan(**{name: getattr(FIXED, name) for name in FIXED.__struct_fields__} | {"frames": frames})
    planned = PlannedScan(plan, MICROSCOPE)
    assert capacity_of(planned) == Capacity.of([planned.path(i) for i in range(frames)])


def test_a_plan_whose_every_frame_is_another_path_fits_its_recording_and_leaves_no_unused_room(tmp_path: Path) -> None:
    planned = PlannedScan(CHANGING, MICROSCOPE)
    recording = record_plan(tmp_path / "a.hspy", planned)
    values = {}
    for frame in range(CHANGING.frames):
        path = planned.path(frame)
        recording.begin_frame(frame, path)
        values[frame] = np.random.default_rng(frame).integers(0, 65536, (1, path.count), dtype="<u2")
        recording.write_chunk(frame, 0, values[frame], 0, 0, 0.0)
        recording.end_frame(frame, "completed", exposed=path.count)
    recording.close()
    with Recording.open(tmp_path / "a.hspy") as read:
        assert len(read.paths) == len({read.paths[f.path].path_id for f in read.frames}) == 90
        for frame, written in values.items():
            np.testing.assert_array_equal(read.samples(frame), written)
        again = expand(read.recipe(77))
        np.testing.assert_array_equal(again.positions, planned.path(77).positions)


def test_the_plan_in_the_recording_is_the_plan_that_was_run(tmp_path: Path) -> None:
    record_plan(
        tmp_path / "a.hspy", PlannedScan(FIXED, MICROSCOPE), specimen="gold on carbon", stage_nm=(1.5, -2.0)
    ).abandon()
    with Recording.open(tmp_path / "a.hspy") as read:
        assert parse_plan(read.plan_text) == FIXED
        assert read.header.specimen == "gold on carbon"
        assert read.header.stage_nm == (1.5, -2.0)
        assert read.header.channels == ("HAADF",)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gold spiral 1/20", "gold_spiral_1_20-7.hspy"),
        ("../../etc/passwd", "etc_passwd-7.hspy"),
        ("/", "scan-7.hspy"),
        ("..", "scan-7.hspy"),
        (".hidden", "hidden-7.hspy"),
        ("gold\x00\n", "gold-7.hspy"),
        ("Å" * 200, "Å" * 50 + "-7.hspy"),
    ],
)
def test_whatever_a_plan_is_called_its_recording_stays_in_its_folder(name: str, file: str, tmp_path: Path) -> None:
    plan = ScanPlan(name=name, shape=(32, 32), fov_nm=10.0, dwell_us=1.0, patterns=(SPIRAL,))
    assert file_name(plan, "7") == file
    assert (tmp_path / file).resolve().parent == tmp_path.resolve()
    with Recording.open(_made(tmp_path / file, plan)) as read:
        assert read.header.name == name


def _made(place: Path, plan: ScanPlan) -> Path:
    record_plan(place, PlannedScan(plan, MICROSCOPE)).abandon()
    return place


@pytest.mark.parametrize("pattern", ["", "crossed "])
def test_there_is_room_for_spirals_that_each_frame_turns_anew(pattern: str) -> None:
    spiral = "{kind: archimedean, turn_deg: golden, coverage: {value: 0.1}}"
    crossed = f"{{kind: crossed, crossings: 1, pattern: {spiral}}}"
    plan = parse_plan(
        "name: turned\nshape: [64, 64]\nfov_nm: 20.0\ndwell_us: 2.0\nframes: 3\n"
        f"patterns: [{crossed if pattern else spiral}]\n"
    )
    planned = PlannedScan(plan, MICROSCOPE)
    room, exact = capacity_of(planned), Capacity.of([planned.path(frame) for frame in range(3)])
    assert msgspec.structs.replace(room, chunks=exact.chunks) == exact
    assert exact.chunks <= room.chunks <= 1.2 * exact.chunks + 3, "no path is expanded to know how long it takes"
    assert room.paths == 3


@pytest.mark.parametrize(("asked_us", "done_us"), [(2.003, 2.0), (2.07, 2.125), (0.125, 0.125)])
def test_the_header_names_the_dwell_that_the_beam_does_and_not_the_one_asked_for(
    asked_us: float, done_us: float, tmp_path: Path
) -> None:
    plan = ScanPlan(name="ticks", shape=(32, 32), fov_nm=10.0, dwell_us=asked_us, patterns=(SPIRAL,))
    microscope = Capabilities(name="bench", sample_clock_mhz=8.0, detectors=MICROSCOPE.detectors)
    planned = PlannedScan(plan, microscope)
    record_plan(tmp_path / "ticks.hspy", planned).abandon()
    assert (planned.path(0).dwell_us == done_us).all()
    with Recording.open(tmp_path / "ticks.hspy") as read:
        assert read.header.dwell_us == done_us
