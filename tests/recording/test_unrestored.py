"""Which frames of a recording are still to be restored, asked in every way, and whether they have a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_tools import SHAPE, new_recording, spiral, write_frame

from scancontrol.errors import InvalidInput
from scancontrol.recording import RecordingReader
from scancontrol.recording.unrestored import frames_to_restore, require_places
from scancontrol.restoration import Provenance


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four frames were planned; the first three have samples, and of the second HAADF was restored."""
    path, file = spiral(), tmp_path / "a.hspy"
    with new_recording(file, [path] * 4) as recording:
        for frame in range(3):
            write_frame(recording, frame, path, upto=None if frame < 2 else 40)
        recording.write_restoration(1, np.ones(SHAPE, np.float32), None, Provenance(method="nearest", face="classical"))
    return file


def test_frames_with_samples_that_are_not_restored_are_left_and_those_never_scanned_are_none(file: Path) -> None:
    with RecordingReader(file) as recording:
        assert frames_to_restore(recording, None, None, redo=False) == {"HAADF": [0, 2]}
        assert frames_to_restore(recording, None, None, redo=True) == {"HAADF": [0, 1, 2]}
        assert frames_to_restore(recording, "1-2", ["all"], redo=False) == {"HAADF": [2], "BF": [1, 2]}
        assert frames_to_restore(recording, "1", None, redo=False) == {}, "a detector with nothing left is left out"
        with pytest.raises(InvalidInput, match="frames"):
            frames_to_restore(recording, "3", None, redo=False)
        with pytest.raises(InvalidInput, match="EELS"):
            frames_to_restore(recording, None, ["EELS"], redo=False)


def test_a_recording_into_which_nothing_was_scanned_says_so(tmp_path: Path) -> None:
    new_recording(tmp_path / "a.hspy", [spiral()]).close()
    with (
        RecordingReader(tmp_path / "a.hspy") as recording,
        pytest.raises(InvalidInput, match="restore one that was scanned into"),
    ):
        frames_to_restore(recording, None, None, redo=True)


def test_only_a_recording_with_a_place_for_each_of_the_frames_takes_their_restorations(
    file: Path, tmp_path: Path
) -> None:
    with RecordingReader(file) as recording:
        require_places(recording, {"HAADF": [0, 2]})
    path = spiral()
    for keep in ("last", 2):
        other = tmp_path / f"{keep}.hspy"
        with new_recording(other, [path] * 3, keep_restorations=keep) as recording:
            for frame in range(3):
                write_frame(recording, frame, path)
        with RecordingReader(other) as recording, pytest.raises(InvalidInput, match="give --out FILE"):
            require_places(recording, {"HAADF": [0, 1]})
