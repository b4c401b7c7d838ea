"""What a recording takes is said before it is made, and making a long one leaves the heart beating."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.errors import RecordingError
from scancontrol.paths import Archimedean, CoverageGoal
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import record_plan
from scancontrol.recording.need import RecordingNeed, size

MICROSCOPE = Capabilities(name="bench", detectors=(DetectorChannel(name="HAADF"), DetectorChannel(name="BF")))


def planned(frames: int, turn: Literal["golden"] | None = None) -> PlannedScan:
    spiral = Archimedean(coverage=CoverageGoal(value=0.05), turn_deg=0.0 if turn is None else turn)
    return PlannedScan(
        ScanPlan(name="long", shape=(64, 64), fov_nm=10.0, dwell_us=1.0, frames=frames, patterns=(spiral,)), MICROSCOPE
    )


def test_it_says_what_is_set_aside_and_what_every_picture_would_take(tmp_path: Path) -> None:
    scan = planned(50)
    need = RecordingNeed.of(scan)
    with record_plan(tmp_path / "a.hspy", scan) as recording:
        assert need.samples_bytes == recording.header.reserved_bytes
        assert need.samples_bytes >= 2 * 2 * 50 * scan.path(0).count
        assert (tmp_path / "a.hspy").stat().st_size == pytest.approx(
            need.samples_bytes + need.pictures_bytes, rel=0.2, abs=2e5
        )
    pictures, positions = 2 * 3 * 50 * 64 * 64 * 4, 20 * scan.path(0).count
    assert need.pictures_bytes == pictures + positions
    without = RecordingNeed.of(scan, "none")
    assert (without.samples_bytes, without.pictures_bytes) == (need.samples_bytes, pictures // 3 + positions)


@pytest.mark.parametrize(("turn", "shifted"), [(None, False), (None, True), ("golden", False)])
def test_paths_that_differ_from_frame_to_frame_take_room_each(
    tmp_path: Path, turn: Literal["golden"] | None, shifted: bool
) -> None:
    scan = planned(20, turn)
    need = RecordingNeed.of(scan, "none", paths_vary=shifted)
    apart = 20 if turn or shifted else 1
    positions = 20 * scan.path(0).count * apart
    assert need.pictures_bytes - 2 * 20 * 64 * 64 * 4 == pytest.approx(positions, rel=0.15)
    with record_plan(tmp_path / "a.hspy", scan, keep_restorations="none", paths_vary=shifted) as recording:
        assert need.samples_bytes == recording.header.reserved_bytes
        assert recording.header.capacity.paths == apart


def test_what_does_not_fit_is_refused_with_how_many_frames_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = RecordingNeed.of(planned(1_000_000))
    monkeypatch.setattr("os.statvfs", lambda folder: SimpleNamespace(f_bavail=need.samples_bytes // 4, f_frsize=1))
    with pytest.raises(RecordingError, match=r"room for about (249999|250000) of 1000000 frames; free some space"):
        need.check(tmp_path)


@pytest.mark.parametrize(("count", "words"), [(0, "0 bytes"), (1500, "1.5 kB"), (5.5e10, "55 GB"), (3e15, "3e+03 TB")])
def test_sizes_are_words(count: float, words: str) -> None:
    assert size(count) == words


@pytest.mark.slow
def test_a_plan_of_a_million_frames_is_made_without_a_silence_that_blanks_the_beam(tmp_path: Path) -> None:
    scan = planned(1_000_000)
    need = RecordingNeed.of(scan)
    if shutil.disk_usage(tmp_path).free < 2 * need.samples_bytes:
        pytest.skip("the disk has no room for it")
    silences, stop = [0.0], threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not stop.wait(0.005):
            now = time.monotonic()
            silences.append(now - last)
            last = now

    heart = threading.Thread(target=beat)
    heart.start()
    recording = record_plan(tmp_path / "a.hspy", scan)
    stop.set()
    heart.join()
    recording.abandon()
    recording.path.unlink()
    assert need.making_s > 1, "which page and terminal say beforehand"
    assert max(silences) < 0.2, "the microscope blanks after 210 ms without a heartbeat"
