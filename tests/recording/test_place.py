"""A recording whose file is deleted, moved or left without a folder while it is written loses no sample."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recording_tools import SHAPE, new_recording, samples_of, serpentine, write_frame

from scancontrol.errors import RecordingError
from scancontrol.recording import Recording, images, place

PATH = serpentine()


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_LOOK_S", 0.0)


def test_it_is_looked_for_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_LOOK_S", 0.5)
    now = [10.0]
    file = tmp_path / "a.hspy"
    file.write_bytes(b"x")
    found = place.FilePlace(file, lambda: now[0])
    file.unlink()
    assert found.look() is None
    now[0] += 0.5
    with pytest.raises(RecordingError, match=r"a\.hspy was deleted, or its folder is gone"):
        found.look()
    found.close()


@pytest.mark.parametrize("what", [Path.unlink, lambda file: shutil.rmtree(file.parent)])
def test_what_was_deleted_is_noticed_put_back_whole_and_gone_on_with(
    tmp_path: Path, what: Callable[[Path], None]
) -> None:
    file = tmp_path / "runs" / "a.hspy"
    file.parent.mkdir()
    recording = new_recording(file, [PATH] * 2)
    write_frame(recording, 0, PATH, upto=300)
    recording.write_partial(0, np.ones(SHAPE))
    what(file)
    with pytest.raises(RecordingError, match="was deleted, or its folder is gone"):
        recording.write_chunk(0, 300, samples_of(0, 300, 50), 0, 0, 0.0)
    assert recording.next_index(0) == 300, "and nothing is acknowledged that has no name"
    assert recording.put_back()
    assert not recording.put_back()
    assert recording.write_chunk(0, 300, samples_of(0, 300, PATH.count - 300), 0, 0, 0.0) == PATH.count
    recording.write_partial(0, np.full(SHAPE, 2.0))
    recording.close()
    with Recording.open(file) as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, PATH.count))
        assert read.partial(0).mean() == 2
        assert read.examine().damaged == ()


def test_without_a_place_it_is_held_on_to_until_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    recording = new_recording(folder / "a.hspy", [PATH])
    write_frame(recording, 0, PATH, upto=300)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(RecordingError, match=r"a\.hspy cannot be put back .*; make its folder writable"):
        recording.put_back()
    with pytest.raises(RecordingError, match="cannot be put back"):
        recording.close("aborted")
    folder.unlink()
    recording.close("aborted")
    with Recording.open(folder / "a.hspy") as read:
        assert read.reason == "aborted"
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, 300))
    assert [path.name for path in folder.iterdir()] == ["a.hspy"]


def test_a_folder_that_is_renamed_takes_the_recording_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "runs").mkdir()
    recording = new_recording(tmp_path / "runs" / "a.hspy", [PATH])
    write_frame(recording, 0, PATH, upto=111)
    (tmp_path / "runs").rename(tmp_path / "kept")
    recording.write_chunk(0, 111, samples_of(0, 111, PATH.count - 111), 0, 0, 0.0)
    recording.close()
    assert "was moved while it was written" in caplog.text
    assert recording.path == tmp_path / "kept" / "a.hspy"
    assert not (tmp_path / "runs").exists()
    with Recording.open(recording.path) as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, PATH.count))


def test_pictures_yield_while_the_disk_is_down_to_its_reserve_and_come_back_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(images, "_LOOK_S", 0.0)
    statvfs = os.fstatvfs
    scarce = [True]

    def nearly_full(descriptor: int) -> os.statvfs_result:
        found = list(statvfs(descriptor))
        if scarce[0]:
            found[4] = 1  # blocks that are free for us
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "fstatvfs", nearly_full)
    recording = new_recording(tmp_path / "a.hspy", [PATH] * 2)
    for frame in range(2):
        write_frame(recording, frame, PATH)
        assert recording.write_partial(frame, np.ones(SHAPE)) != scarce[0]
        recording.end_frame(frame, "completed", exposed=PATH.count)
        scarce[0] = False
    recording.close()
    assert "less than 256 MiB or 2% of the disk is free; free some space" in caplog.text
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.images_not_stored == 1
        assert [read.partial(frame) is not None for frame in range(2)] == [False, True]
        assert read.examine().samples == 2 * PATH.count
