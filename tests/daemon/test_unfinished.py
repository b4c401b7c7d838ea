"""Every recording that was not ended is found by its own state; what is not ours is passed over, and said."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from acquisition_tools import MICROSCOPE, MemoryMicroscope, plan_of, values_of

from scancontrol.acquisition import Acquisition
from scancontrol.daemon.interrupted import Interrupted, find_unfinished
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import About, Recording, RecordingWriter, record_plan
from scancontrol.wire import messages as m
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.framing import MAX_HEADER_BYTES

PLANNED = PlannedScan(plan_of(3), MICROSCOPE)


def cut_off(path: Path, *, began: int, received: int = 20, **facts: Any) -> Path:
    """A recording that a killed daemon leaves: its first frame came this far."""
    facts = {"series_id": began, "series_unique_id": path.stem, "started_utc_ns": began} | facts
    recording = record_plan(path, PLANNED, **facts)
    recording.begin_frame(0, PLANNED.path(0))
    recording.write_chunk(0, 0, values_of(0, 0, received), 0, 0, 0.0)
    recording.abandon()
    return path


def kept(series_id: int, first: int, count: int) -> tuple[Chunk, m.End]:
    """What the microscope's server still has of frame 0 of a series, and its end."""
    facts = {"series_id": series_id, "series_unique_id": str(series_id), "frame": 0, "first_index": first}
    facts |= {"path_id": PLANNED.path(0).path_id, "monotonic_ns": 1, "utc_ns": 1, "electrons": 1.0}
    values = values_of(0, first, count - first)
    chunk = Chunk(**facts, count=count - first, values=values, frame_electrons=1.0, session_electrons=1.0)
    end = m.End(**facts, sequence=0, reason="completed", message="", next_index=count, samples=count)
    return chunk, end


def test_all_of_them_are_found_oldest_first_whatever_the_dates_of_the_files(tmp_path: Path) -> None:
    for name, began in (("b", 30), ("c", 10), ("a", 20)):
        cut_off(tmp_path / f"{name}.hspy", began=began)
    ended = record_plan(tmp_path / "ended.hspy", PLANNED)
    ended.close()
    for number, name in enumerate(("ended", "c", "b", "a")):  # a copy, a clock set back, a restoration in place
        os.utime(tmp_path / f"{name}.hspy", (number, number))
    found = find_unfinished(tmp_path, "unnamed")
    assert [each.path.name for each in found.ours] == ["c.hspy", "a.hspy", "b.hspy"]
    assert found.passed_over == ()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"specimen": "gold"}, "it is of the specimen gold, not of carbon; scancontrol daemon --resume takes it up"),
        ({"host": "hall-2"}, "it was begun on the machine hall-2; scancontrol daemon --resume takes it up"),
    ],
)
def test_what_was_begun_elsewhere_or_on_another_specimen_is_passed_over_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: facts.get("host", "hall-1"))
    cut_off(tmp_path / "theirs.hspy", began=1, specimen=facts.get("specimen", "carbon"))
    monkeypatch.setattr(socket, "gethostname", lambda: "hall-1")
    cut_off(tmp_path / "ours.hspy", began=2, specimen="carbon")
    found = find_unfinished(tmp_path, "carbon")
    assert [each.path.name for each in found.ours] == ["ours.hspy"]
    assert found.passed_over == (f"theirs.hspy was not ended and is passed over: {words}",)


def test_what_another_daemon_is_writing_and_what_is_no_recording_are_passed_over_and_said(tmp_path: Path) -> None:
    running = record_plan(tmp_path / "running.hspy", PLANNED)
    (tmp_path / "text.hspy").write_text("nothing")
    found = find_unfinished(tmp_path, "unnamed")
    assert found.ours == ()
    assert found.passed_over[0] == "running.hspy was not ended and is passed over: another process is writing it"
    assert "text.hspy is not a readable recording" in found.passed_over[1]
    running.abandon()


def test_a_recording_of_another_microscope_is_refused_by_name_once_ours_has_answered(tmp_path: Path) -> None:
    found = Interrupted.look_into(cut_off(tmp_path / "a.hspy", began=1))
    found.check(MICROSCOPE)
    with pytest.raises(InvalidInput, match=r"microscope = other bench is not that of a\.hspy, bench; go on at"):
        found.check(msgspec.structs.replace(MICROSCOPE, name="other bench"))


@pytest.mark.slow
def test_a_hundred_thousand_frames_are_found_attached_to_and_gone_on_with(tmp_path: Path) -> None:
    frames = 100_000
    tiny = Archimedean(coverage=CoverageGoal(value=0.05))
    plan = ScanPlan(name="long", shape=(16, 16), fov_nm=16.0, dwell_us=1.0, frames=frames, patterns=(tiny,))
    planned = PlannedScan(plan, MICROSCOPE)
    path, values = planned.path(0), values_of(0, 0, planned.path(0).count)
    recording = record_plan(tmp_path / "long.hspy", planned, series_id=5, series_unique_id="s", keep_restorations=0)
    for frame in range(frames):
        recording.begin_frame(frame, path)
        if frame == frames - 1:
            recording.write_chunk(frame, 0, values[:, :7], 0, 0, 0.0)
        else:
            recording.write_chunk(frame, 0, values, 0, 0, 0.0)
            recording.end_frame(frame, "completed", exposed=path.count)
    recording.abandon()
    found = find_unfinished(tmp_path, "unnamed").ours[0]
    have = tuple(
        m.Have(series_unique_id=series, frame=frame, next_index=index) for (series, frame), index in found.have.items()
    )
    assert m.Have(series_unique_id="s", frame=frames - 1, next_index=7) in have
    attach = m.Attach(session="0" * 32, next_sequence=None, have=have, credit=16)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(attach), type=m.Attach) == attach, "it is within its bounds"
    assert len(msgspec.msgpack.encode(attach)) < MAX_HEADER_BYTES / 2, "with room for a hundred recordings more"
    going_on = RecordingWriter.resume(found.path)
    assert going_on.next_index(frames - 1) == 7
    assert going_on.next_index(frames - 2) == path.count
    going_on.write_chunk(frames - 1, 7, values[:, 7:], 0, 0, 0.0)
    going_on.end_frame(frames - 1, "completed", exposed=path.count)
    going_on.close()
    with Recording.open(found.path) as read:
        assert len(read.frames) == frames
        np.testing.assert_array_equal(read.samples(frames - 1), values)


def test_what_the_microscope_kept_for_several_recordings_reaches_each(tmp_path: Path) -> None:
    """The microscope tells what it kept once, in the order of exposure: the second recording's samples come, too."""
    files = [cut_off(tmp_path / f"{number}.hspy", began=number, received=10 * number) for number in (1, 2)]
    writers = {number: RecordingWriter.resume(file) for number, file in enumerate(files, 1)}
    for writer in writers.values():
        writer.note_asked(0, "a" * 32)
    microscope, count = MemoryMicroscope(), PLANNED.path(0).count
    for number, writer in writers.items():
        first = writer.next_index(0)
        microscope.events += kept(number, first, count)
    status = Acquisition(microscope, writers[1], (), others={2: writers[2]}, frames_planned=3).run()
    assert status.finish_reason == "completed"
    for number, writer in writers.items():
        assert writer.next_index(0) == count
        assert writer.asked_of(0) == ""
        writer.close("interrupted")
        with Recording.open(files[number - 1]) as read:
            np.testing.assert_array_equal(read.samples(0), values_of(0, 0, count))
    assert microscope.acknowledged[0] == count


def test_who_recorded_what_and_where_is_in_the_file(tmp_path: Path) -> None:
    about = About(operator="R. Feynman", project="P-17", notes="tilted", detector_settings={"HAADF": {"gain": 3.0}})
    record_plan(tmp_path / "a.hspy", PLANNED, about=about).abandon()
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.header.about == msgspec.structs.replace(about, host=socket.gethostname())
