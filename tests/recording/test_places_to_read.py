"""Recordings are read where they lie: while they are written, from folders and file systems that allow nothing else."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from recording_tools import SHAPE, new_recording, samples_of, spiral, write_frame

from scancontrol.cli import main
from scancontrol.dose.ledger import DoseLedger
from scancontrol.errors import RecordingInUse, StorageError
from scancontrol.recording import Recording
from scancontrol.recording.annotate import Annotator
from scancontrol.restoration import Provenance

PATH = spiral()
NAMES = ["a b", "scan [1] (x)", "α-β µm", "100 % & 'more'", "[*?]", "-dash"]
_opened: list[tuple[str, int]] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append((str(arguments[0]), int(arguments[2])))  # type: ignore[call-overload]


sys.addaudithook(_note)


@pytest.fixture
def opened() -> Iterator[list[tuple[str, int]]]:
    """Every file that Python opens meanwhile, with the flags."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


def made(file: Path, *, ended: bool = True) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    recording = new_recording(file, [PATH])
    write_frame(recording, 0, PATH)
    recording.write_restoration(0, np.ones(SHAPE), np.ones(SHAPE), Provenance(method="m", face="classical"))
    if ended:
        recording.end_frame(0, "completed", exposed=PATH.count)
        recording.close()
    else:
        recording.abandon()
    return file


@pytest.mark.parametrize("name", NAMES)
def test_whatever_folder_and_file_are_called(tmp_path: Path, name: str) -> None:
    file = made(tmp_path / name / f"{name}.hspy")
    assert main(["verify", str(file)]) == 0
    for kind in ("tiff", "png", "npz", "h5", "csv"):
        out = tmp_path / f"{name} out" / kind
        assert main(["export", str(file), f"--{kind}", "--out", str(out)]) == 0
        assert any(out.iterdir())
    assert main(["restore", str(file)]) == 0  # it has its restoration: found and left alone
    with Annotator(file) as later:
        later.write_restoration(0, np.zeros(SHAPE), None, Provenance(method="n", face="classical"))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_reading_opens_nothing_for_writing_and_leaves_nothing_beside(
    tmp_path: Path, opened: list[tuple[str, int]]
) -> None:
    file = made(tmp_path / "shared" / "a.hspy")
    opened.clear()
    assert main(["verify", str(file)]) == 0
    assert main(["export", str(file), "--npz", "--out", str(tmp_path / "out")]) == 0
    assert main(["export", str(file), "--tiff", "--out", str(tmp_path / "out")]) == 0
    with Recording.open(file) as read:
        read.examine()
    ours = [flags for path, flags in opened if path.startswith(str(file.parent))]
    assert ours
    assert all(flags & 0o3 == 0 for flags in ours), "O_RDONLY: a read-only folder is enough"
    assert [path.name for path in file.parent.iterdir()] == ["a.hspy"]


def test_it_is_read_while_it_is_written_by_us_and_by_hdf5_itself(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [PATH])
    recording.begin_frame(0, PATH)
    code = (
        "import h5py, sys; f = h5py.File(sys.argv[1], 'r'); "
        "print(f['Experiments/raw samples/data'][0, :int(sys.argv[2])].sum())"
    )
    for first in range(0, 100, 50):
        recording.write_chunk(0, first, samples_of(0, first, 50), 0, 0, 0.0)
        with Recording.open(tmp_path / "a.hspy") as read:
            np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, first + 50))
        command = [sys.executable, "-c", code, str(tmp_path / "a.hspy"), str(first + 50)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(found.stdout) == int(samples_of(0, 0, first + 50)[0].astype(np.int64).sum())
    recording.abandon()


def test_a_file_system_without_locks_is_written_and_read_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", none)
    monkeypatch.setattr(fcntl, "flock", none)
    file = made(tmp_path / "a.hspy")
    with Recording.open(file) as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, PATH.count))
    assert "has no locks: see that no other process writes it" in caplog.text
    with pytest.raises(StorageError, match=r"cannot be locked .*; keep the ledgers on a disk of this machine"):
        DoseLedger(tmp_path / "ledger", "gold")


def test_a_lock_that_another_holds_is_still_a_refusal(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [PATH])
    with pytest.raises(RecordingInUse, match="is being written by another process"):
        Annotator(tmp_path / "a.hspy")
    recording.abandon()


def test_hdf5_is_never_asked_for_its_own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    original = h5py.File.__init__

    def noting(self: h5py.File, name: object, *arguments: object, **options: object) -> None:
        if isinstance(name, str | Path):  # a file object has no lock
            asked.append(options.get("locking"))
        original(self, name, *arguments, **options)

    monkeypatch.setattr(h5py.File, "__init__", noting)
    file = made(tmp_path / "a.hspy")
    with Recording.open(file):
        pass
    assert main(["export", str(file), "--h5", "--out", str(tmp_path / "out")]) == 0
    assert asked
    assert set(asked) == {False}
