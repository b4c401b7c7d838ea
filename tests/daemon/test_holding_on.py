"""A recording whose file was deleted is kept until there is a place for it, and never given up in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recording_tools import new_recording, samples_of, spiral, write_frame

from scancontrol.daemon.holding_on import hold_on
from scancontrol.recording import RecordingReader, RecordingWriter


class Operator:
    """Hears what is said, and has the waiting end; every wait is over at once."""

    def __init__(self, act: Callable[[int], bool]) -> None:
        self.act, self.said, self.waited_s = act, list[tuple[str, str]](), list[float]()

    def wait(self, seconds: float) -> bool:
        """Whether the process is to end, as ``act`` says of the number of waits so far."""
        self.waited_s.append(seconds)
        return self.act(len(self.waited_s))

    def hold(self, recording: RecordingWriter, given_up: bool = False) -> bool:
        return hold_on(recording, lambda text, level: self.said.append((text, level)), self.wait, lambda: given_up)


@pytest.fixture
def homeless(tmp_path: Path) -> RecordingWriter:
    """A recording with a whole frame whose folder is gone, and a file stands where it was."""
    path = spiral()
    (tmp_path / "gone").mkdir()
    recording = new_recording(tmp_path / "gone" / "a.hspy", [path])
    write_frame(recording, 0, path)
    recording.end_frame(0, "completed", exposed=path.count)
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "gone").write_text("in the way")
    return recording


def whole(file: Path) -> bool:
    with RecordingReader(file) as read:
        return bool(np.array_equal(read.samples(0), samples_of(0, 0, spiral().count)))


def test_it_is_written_again_once_there_is_a_place_and_asks_ever_less_often(
    tmp_path: Path, homeless: RecordingWriter
) -> None:
    def act(waits: int) -> bool:
        if waits == 8:
            (tmp_path / "gone").unlink()
        return False

    operator = Operator(act)
    assert operator.hold(homeless)
    assert operator.waited_s == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert {level for _, level in operator.said} == {"error"}
    homeless.close()
    assert whole(tmp_path / "gone" / "a.hspy")


@pytest.mark.parametrize("how", ["the process ends", "the operator will not wait"])
def test_given_up_it_is_written_elsewhere_and_said_where(
    tmp_path: Path, homeless: RecordingWriter, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    operator = Operator(lambda waits: how == "the process ends")
    assert not operator.hold(homeless, given_up=how == "the operator will not wait")
    assert str(elsewhere / "a.hspy") in operator.said[-1][0]
    homeless.close()
    assert whole(elsewhere / "a.hspy")


def test_a_place_at_the_last_moment_is_taken(tmp_path: Path, homeless: RecordingWriter) -> None:
    def act(waits: int) -> bool:
        (tmp_path / "gone").unlink()
        return True

    assert Operator(act).hold(homeless)
    homeless.close()
    assert whole(tmp_path / "gone" / "a.hspy")


def test_without_any_place_the_loss_is_said_in_so_many_words(
    tmp_path: Path, homeless: RecordingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    operator = Operator(lambda waits: True)
    assert not operator.hold(homeless)
    assert "a.hspy IS LOST" in operator.said[-1][0]
    homeless.abandon()
