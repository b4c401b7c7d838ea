"""A recording is whole under its final name or not there, whatever kills its maker; what is left over is cleaned up."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from recording_tools import SHAPE, new_recording, samples_of, serpentine, spiral, write_frame

from scancontrol.errors import RecordingError
from scancontrol.recording import Recording, compact
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.making import clean_up, name_meanwhile
from scancontrol.recording.regions import is_being_written
from scancontrol.restoration import Provenance

KIT = Path(__file__).parents[1] / "kit"
MAKES_MANY = """
import sys
from pathlib import Path
from recording_tools import new_recording, serpentine
path = serpentine()
for number in range(100000):
    if number == 1:
        print("one is made", flush=True)
    recording = new_recording(Path(sys.argv[1]) / f"{number}.hspy", [path] * 300)
    recording.begin_frame(0, path)
    recording.close("aborted")  # compacts
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_while_recordings_are_made_and_compacted_every_file_under_a_final_name_opens(
    tmp_path: Path, seed: int
) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", MAKES_MANY, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=KIT.parents[1],
        env={**os.environ, "PYTHONPATH": f"{KIT}:."},
    )
    assert victim.stdout is not None
    with victim.stdout:
        victim.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.05, 0.4))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    files = sorted(tmp_path.glob("*.hspy"))
    assert files
    for file in files:
        with Recording.open(file) as read:
            read.verify()
    clean_up(tmp_path)
    assert sorted(tmp_path.iterdir()) == files


def test_what_a_running_process_or_another_machine_is_making_is_left_alone(tmp_path: Path) -> None:
    mine = name_meanwhile(tmp_path / "a.hspy", "part")
    dead = tmp_path / mine.name.replace(f".{os.getpid()}.", ".4999999.")
    elsewhere = tmp_path / ".a.hspy.another-host.4999999.part"
    new, old = tmp_path / ".b.hspy.compact", tmp_path / ".c.hspy.compact"
    foreign = tmp_path / ".notes.hspy.txt"
    for path in (mine, dead, elsewhere, new, old, foreign):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert clean_up(tmp_path) == sorted([dead, old])
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, new, foreign])


def test_two_that_make_a_recording_of_one_name_get_one_file_and_one_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def another_is_first(source: Path, target: Path) -> None:
        Path(target).write_text("precious")
        link(source, target)

    monkeypatch.setattr(os, "link", another_is_first)
    with pytest.raises(RecordingError, match="never overwrites"):
        new_recording(tmp_path / "a.hspy", [spiral()])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.hspy", "precious")]


def test_a_file_system_without_links_is_recorded_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with new_recording(tmp_path / "a.hspy", [spiral()]) as recording:
        write_frame(recording, 0, spiral())
    assert [path.name for path in tmp_path.iterdir()] == ["a.hspy"]
    with pytest.raises(RecordingError, match="never overwrites"):
        new_recording(tmp_path / "a.hspy", [spiral()])


def test_a_recording_that_ends_before_its_first_frame_gives_its_room_back(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [serpentine()] * 3000)
    before = (tmp_path / "a.hspy").stat().st_blocks
    recording.close("aborted")
    assert (tmp_path / "a.hspy").stat().st_blocks < before / 50
    with Recording.open(tmp_path / "a.hspy") as read:
        assert (read.closed, read.reason, read.frames) == (True, "aborted", ())


def test_whether_a_file_is_being_written_can_be_seen_without_touching_it(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [spiral()])
    assert is_being_written(tmp_path / "a.hspy")
    with Recording.open(tmp_path / "a.hspy"):
        pass
    assert is_being_written(tmp_path / "a.hspy"), "nor does reading it let go of the lock"
    recording.abandon()
    assert not is_being_written(tmp_path / "a.hspy")
    assert not is_being_written(tmp_path / "nowhere.hspy")


@pytest.mark.parametrize("takes", [Annotator, Recording.resume])
def test_who_opens_a_recording_as_its_compact_copy_replaces_it_writes_into_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: object
) -> None:
    """Offsets read before the lock were those of the old file: what was written there overwrote raw samples."""
    path, file = serpentine(), tmp_path / "a.hspy"
    recording = new_recording(file, [path] * 50)
    write_frame(recording, 0, path)
    recording.abandon()
    opened = os.open
    raced = []

    def replaced_before_the_lock(name: str, flags: int, *mode: int) -> int:
        descriptor = opened(name, flags, *mode)
        if not raced and Path(name) == file and flags & os.O_RDWR:
            raced.append(file)
            assert compact.compact(file)
        return descriptor

    monkeypatch.setattr(os, "open", replaced_before_the_lock)
    made_by = Provenance(method="m", face="classical")
    if takes is Annotator:
        with Annotator(file) as later:
            later.write_restoration(0, np.ones(SHAPE), None, made_by)
    else:
        resumed = Recording.resume(file)
        resumed.write_restoration(0, np.ones(SHAPE), None, made_by)
        resumed.close()
    assert raced
    with Recording.open(file) as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, path.count))
        assert read.restoration(0).estimate.mean() == 1
