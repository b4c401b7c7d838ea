"""Recorded frames for whoever asks: exact, of this folder alone, of the scan that goes on once they are restored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from recording_tools import SHAPE, new_recording, samples_of, spiral, write_frame

from scancontrol.acquisition import AcquisitionStatus, Phase
from scancontrol.daemon import frame_answers
from scancontrol.daemon.frame_answers import FrameAnswers
from scancontrol.daemon.page.arrays import decode_binary
from scancontrol.daemon.page.hub import LiveHub, RestorationView
from scancontrol.daemon.page.messages import GetFrame
from scancontrol.daemon.snapshot import RestorationsSnapshot, Snapshot
from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.recording import RecordingReader
from scancontrol.restoration import Provenance

MADE_BY = Provenance(method="lite", face="faithful", notices=("one outlier",))
ESTIMATE = np.linspace(-5, 900, SHAPE[0] * SHAPE[1], dtype="f4").reshape(SHAPE)
SERIES = 7


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub()


@pytest.fixture
def frames(tmp_path: Path, hub: LiveHub) -> FrameAnswers:
    path = spiral()
    with new_recording(tmp_path / "a.hspy", [path] * 2, series_id=SERIES) as recording:
        for frame in range(2):
            write_frame(recording, frame, path)
            recording.end_frame(frame, "completed", exposed=path.count)
        recording.write_restoration(0, ESTIMATE, ESTIMATE**2, MADE_BY)
    return FrameAnswers(tmp_path, hub)


def publish(
    hub: LiveHub, *, utc_s: float = 0.0, phase: Phase = Phase.SCANNING, ended: int = 0, **restorer: int
) -> None:
    scan = AcquisitionStatus(phase=phase, series_id=SERIES, recording="a.hspy", frames_ended=ended)
    restoring = RestorationsSnapshot(state="ready", **restorer)  # type: ignore[arg-type]
    hub.publish_status(Snapshot(utc_ns=int(utc_s * 1e9), scan=scan, restorer=restoring))


def restored(frame: int, *, series: int = SERIES, partial: bool = False) -> RestorationView:
    return RestorationView(series, frame, ESTIMATE + 1, None, MADE_BY, 5.0, partial=partial)


def test_a_frame_comes_back_to_the_last_bit(frames: FrameAnswers) -> None:
    header, arrays = decode_binary(frames.read(GetFrame(recording="a.hspy", frame=0, request=3)))
    path = spiral()
    np.testing.assert_array_equal(arrays["samples"], samples_of(0, 0, path.count))
    np.testing.assert_array_equal(arrays["positions"], path.positions)
    np.testing.assert_array_equal(arrays["estimate"], ESTIMATE)
    np.testing.assert_array_equal(arrays["interval"], ESTIMATE**2)
    assert (header["type"], header["request"], header["frame"], header["complete"]) == ("frame", 3, 0, True)
    assert header["channels"] == ["HAADF", "BF"]
    assert msgspec.convert(header["origins"]["made_by"], Provenance) == MADE_BY


def test_a_restoration_that_is_newer_than_the_disk_is_the_one(frames: FrameAnswers, hub: LiveHub) -> None:
    hub.publish_restoration(restored(1))
    _, arrays = decode_binary(frames.read(GetFrame(recording="a.hspy", frame=1)))
    np.testing.assert_array_equal(arrays["estimate"], ESTIMATE + 1)
    hub.publish_restoration(restored(1, series=SERIES + 1))
    _, arrays = decode_binary(frames.read(GetFrame(recording="a.hspy", frame=1)))
    assert "estimate" not in arrays


def test_a_restoration_is_found_though_a_later_one_takes_its_place_while_the_file_is_opened(
    frames: FrameAnswers, hub: LiveHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_slowly(file: Path) -> RecordingReader:
        reader = RecordingReader(file)
        hub.publish_restoration(restored(2))
        return reader

    hub.publish_restoration(restored(1))
    monkeypatch.setattr(frame_answers, "RecordingReader", open_slowly)
    _, arrays = decode_binary(frames.read(GetFrame(recording="a.hspy", frame=1)))
    np.testing.assert_array_equal(arrays["estimate"], ESTIMATE + 1)


@pytest.mark.parametrize("name", ["../a.hspy", "/etc/passwd", "b.hspy", "ledger", ".", "a.hspy/..", "page-links"])
def test_nothing_but_a_recording_of_the_folder_is_read(frames: FrameAnswers, tmp_path: Path, name: str) -> None:
    (tmp_path / "page-links").write_text("operator http://...")
    with pytest.raises(InvalidInput, match="is no recording of this daemon"):
        frames.read(GetFrame(recording=name, frame=0))


def test_a_frame_that_is_not_there_is_named(frames: FrameAnswers) -> None:
    with pytest.raises(RecordingError, match="no frame 5"):
        frames.read(GetFrame(recording="a.hspy", frame=5))


def test_a_frame_of_the_running_scan_is_ready_once_it_is_restored(frames: FrameAnswers, hub: LiveHub) -> None:
    wanted = GetFrame(recording="a.hspy", frame=1)
    publish(hub, queue=1)
    assert not frames.ready(wanted)
    hub.publish_restoration(restored(1, partial=True))
    assert not frames.ready(wanted)
    hub.publish_restoration(restored(1))
    assert frames.ready(wanted)


def test_where_nothing_more_is_on_its_way_the_frame_is_ready_without_a_restoration(
    frames: FrameAnswers, hub: LiveHub
) -> None:
    wanted = GetFrame(recording="a.hspy", frame=1)
    publish(hub, utc_s=1.0, ended=1)
    assert not frames.ready(wanted), "its samples are still coming"
    publish(hub, utc_s=9.0, ended=2)
    assert not frames.ready(wanted), "it may be on its way between two parts"
    publish(hub, utc_s=9.6, ended=2)
    assert frames.ready(wanted)
    publish(hub, utc_s=9.7, ended=2, queue=1)
    assert not frames.ready(wanted)


def test_a_frame_that_was_restored_long_ago_is_ready_whatever_later_ones_wait_for(tmp_path: Path, hub: LiveHub) -> None:
    settled: set[tuple[int, int]] = set()
    frames = FrameAnswers(tmp_path, hub, lambda series_id, frame: (series_id, frame) in settled)
    wanted = GetFrame(recording="a.hspy", frame=1)
    publish(hub, queue=2, ended=3)
    hub.publish_restoration(restored(2))
    assert not frames.ready(wanted)
    settled.add((SERIES, 1))
    assert frames.ready(wanted)
    publish(hub, queue=2, ended=1)
    assert not frames.ready(wanted), "its last samples are not recorded yet"


def test_frames_of_other_recordings_wait_for_nothing(frames: FrameAnswers, hub: LiveHub) -> None:
    assert frames.ready(GetFrame(recording="a.hspy", frame=0))
    publish(hub, queue=1)
    assert frames.ready(GetFrame(recording="b.hspy", frame=0))
