"""Samples are checked whenever they are read: what the disk damaged is named and left out, and the rest goes on."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest
from recording_tools import MICROSCOPE, SHAPE, flip, new_recording, samples_of, serpentine, spiral, write_frame

from scancontrol.cli import main
from scancontrol.errors import RecordingError
from scancontrol.microscope.drivers.recording import Replay
from scancontrol.paths import PathRecipe, ScanPath, Serpentine, expand
from scancontrol.recording import Capacity, Recording
from scancontrol.recording.compact import copy_recording

OF_VERSION_1 = Path(__file__).parent / "version-1.hspy.gz"
"""Written by the software of version 1: 200 µs dwell, frame 0 complete, frame 1 cut off after 42 of 85 samples."""


def slow(dwell_us: float) -> ScanPath:
    return expand(PathRecipe(pattern=Serpentine(), shape=SHAPE, fov_nm=16.0, dwell_us=dwell_us))


@pytest.mark.parametrize("dwell_us", [1.0, 30.0, 200.0, 1000.0, 20000.0])
def test_every_sample_has_a_checksum_and_every_chunk_its_time_at_any_dwell(tmp_path: Path, dwell_us: float) -> None:
    path = slow(dwell_us)
    step = max(1, round(2000 / dwell_us))
    with new_recording(tmp_path / "a.hspy", [path] * 2, dwell_us=dwell_us) as recording:
        for frame in range(2):
            write_frame(recording, frame, path, step=step)
            recording.end_frame(frame, "completed", exposed=path.count)
    with Recording.open(tmp_path / "a.hspy") as read:
        found = read.examine()
        assert (found.samples, found.unchecked_samples, found.damaged) == (2 * path.count, 0, ())
        chunks = read.rows("chunks")
        assert len(chunks) == 2 * -(-path.count // step)
        np.testing.assert_array_equal(chunks["monotonic_ns"], 1000 * chunks["first_index"])
    for index in np.random.default_rng(0).integers(0, path.count, 8):
        flip(tmp_path / "a.hspy", 1, int(index))
        with Recording.open(tmp_path / "a.hspy") as read, pytest.raises(RecordingError, match="of frame 1"):
            read.verify()
        flip(tmp_path / "a.hspy", 1, int(index))


def test_where_chunks_are_smaller_than_planned_rows_are_shared_evenly_and_every_sample_is_checked(
    tmp_path: Path,
) -> None:
    path = serpentine()
    room = msgspec.structs.replace(Capacity.of([path] * 4), chunks=40)
    with new_recording(tmp_path / "a.hspy", [path] * 4, capacity=room) as recording:
        for frame in range(4):
            write_frame(recording, frame, path, step=2)
            recording.end_frame(frame, "completed", exposed=path.count)
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.examine().unchecked_samples == 0
        counts = read.rows("chunks")["count"]
        assert len(counts) > 30
        assert counts.max() < 2 * path.count * 4 / 40, "time stamps are as dense at the end as at the beginning"


def test_damage_is_left_out_and_named_and_what_is_sound_is_read(tmp_path: Path) -> None:
    path, file = serpentine(), tmp_path / "a.hspy"
    with new_recording(file, [path] * 2) as recording:
        for frame in range(2):
            write_frame(recording, frame, path, step=100)
            recording.end_frame(frame, "completed", exposed=path.count)
    flip(file, 1, 250, channel=1)
    with Recording.open(file) as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, path.count))
        with pytest.raises(RecordingError, match=r"samples 200 to 300 of frame 1 \(chunk 10\) differ"):
            read.samples(1)
        with pytest.raises(RecordingError, match="samples 200 to 300 of frame 1"):
            read.samples(1, 210, 3)
        np.testing.assert_array_equal(read.samples(1, 300), samples_of(1, 300, path.count - 300))
        found = read.read_samples(1)
        assert [(chunk.first_index, chunk.end) for chunk in found.damaged] == [(200, 300)]
        assert not found.sound[200:300].any()
        assert found.sound.sum() == path.count - 100
        np.testing.assert_array_equal(
            found.values[:, found.sound], samples_of(1, 0, path.count)[:, found.sound], "and so is the rest of it"
        )
    copy_recording(file, tmp_path / "copy.hspy")
    with Recording.open(tmp_path / "copy.hspy") as read:
        assert [chunk.first_index for chunk in read.examine().damaged] == [200], "a copy vouches for no more"


def test_verify_names_frame_and_chunk_and_its_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = spiral(), tmp_path / "a.hspy"
    with new_recording(file, [path]) as recording:
        write_frame(recording, 0, path)
    assert main(["verify", str(file)]) == 0
    assert f"format 2, completed, 1 frames, {path.count} samples of each channel\n" in capsys.readouterr().out
    flip(file, 0, 40)
    (tmp_path / "text.hspy").write_text("nothing")
    assert main(["verify", str(file), str(tmp_path / "text.hspy")]) == 1
    captured = capsys.readouterr()
    assert "damaged     " in captured.out
    assert "samples 37 to 74 of frame 0 (chunk 1) differ from their checksum" in captured.out
    assert "text.hspy is not a readable recording" in captured.err


def test_the_picture_of_a_damaged_frame_leaves_those_samples_out_and_says_so(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, file = serpentine(), tmp_path / "a.hspy"
    with new_recording(file, [path]) as recording:
        write_frame(recording, 0, path, step=96)
    flip(file, 0, 100)
    assert main(["export", str(file), "--tiff", "--out", str(tmp_path)]) == 0
    with tifffile.TiffFile(tmp_path / "frame_000000_partial.tif") as picture:
        assert "96 left out because the disk damaged them" in picture.pages[0].description
        image = picture.asarray()
    whole = samples_of(0, 0, path.count)[0].reshape(SHAPE).astype("f4")
    whole[1::2] = whole[1::2, ::-1]
    assert (image[3:6] == 0).all(), "three rows of the serpentine are the damaged chunk"
    np.testing.assert_array_equal(np.delete(image, [3, 4, 5], 0), np.delete(whole, [3, 4, 5], 0))


def test_a_damaged_chunk_is_played_back_as_0_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, file = serpentine(), tmp_path / "a.hspy"
    with new_recording(file, [path]) as recording:
        write_frame(recording, 0, path, step=100)
    flip(file, 0, 150)
    replay = Replay(file, speed=float("inf"))
    replay.begin(path, 0, 0)
    played = []
    while (block := replay.read(64)) is not None:
        played.append(block.values)
    replay.close()
    expected = samples_of(0, 0, path.count)
    expected[:, 100:200] = 0
    np.testing.assert_array_equal(np.concatenate(played, axis=1), expected)
    assert caplog.text.count("samples 100 to 200 of frame 0 (chunk 1) differ") == 1


def test_a_resumed_recording_names_a_damaged_chunk_and_goes_on_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, file = serpentine(), tmp_path / "a.hspy"
    dying = new_recording(file, [path])
    write_frame(dying, 0, path, upto=300, step=100)
    dying.abandon()
    flip(file, 0, 220)
    recording = Recording.resume(file)
    assert "samples 200 to 300 of frame 0 (chunk 2) differ" in caplog.text
    assert recording.write_chunk(0, 300, samples_of(0, 300, path.count - 300), 0, 0, 0.0) == path.count
    recording.close()
    with Recording.open(file) as read:
        assert [(chunk.first_index, chunk.end) for chunk in read.examine().damaged] == [(200, 300)]
        np.testing.assert_array_equal(read.samples(0, 300), samples_of(0, 300, path.count - 300))


def test_a_recording_of_version_1_is_read_copied_and_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "a.hspy"
    file.write_bytes(gzip.decompress(OF_VERSION_1.read_bytes()))
    with Recording.open(file) as read:
        assert read.header.version == 1
        assert read.capabilities == MICROSCOPE
        received = [(frame.received, frame.count) for frame in read.frames]
        assert received == [(85, 85), (42, 85)]
        for frame, (count, _) in enumerate(received):
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, count))
        assert read.restoration(0).estimate.mean() == 7
        unchecked = read.examine().unchecked_samples
        assert unchecked == 127 - 3 * len(read.rows("chunks")[read.rows("chunks")["checked"] > 0])
    copy_recording(file, tmp_path / "b.hspy")
    for name in ("a.hspy", "b.hspy"):
        recording = Recording.resume(tmp_path / name)
        recording.write_chunk(1, 42, samples_of(1, 42, 43), 0, 0, 0.0)
        recording.end_frame(1, "completed", exposed=85)
        recording.close()
        with Recording.open(tmp_path / name) as read:
            np.testing.assert_array_equal(read.samples(1), samples_of(1, 0, 85))
            assert read.examine().damaged == ()
            assert read.header.version == 1


def test_no_closed_recording_keeps_a_frame_that_is_recording(tmp_path: Path) -> None:
    path, file = spiral(), tmp_path / "a.hspy"
    with new_recording(file, [path] * 3) as recording:
        write_frame(recording, 0, path)
        recording.end_frame(0, "completed", exposed=path.count)
        write_frame(recording, 1, path, upto=37)
        recording.begin_frame(2, path)  # asked for ahead, and never begun by the microscope
        recording.close("aborted")
    with Recording.open(file) as read:
        assert [frame.reason for frame in read.frames] == ["completed", "aborted", "aborted"]
        assert [frame.exposed for frame in read.frames] == [path.count, None, None]
