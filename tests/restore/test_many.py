"""Many recordings restored by one process and by a cluster, one of whose workers is killed: real processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from blobs import FRAMES, recorded

from restore.many import Piece, find_recordings, restore_piece
from restore.process.cluster import crew
from scancontrol.cli import main
from scancontrol.errors import InvalidInput
from scancontrol.recording import Recording

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "recordings"
    place.mkdir()
    first = recorded(place / "0.hspy", 1)
    for number in range(1, 6):
        shutil.copy(first, place / f"{number}.hspy")
    (place / ".hidden.hspy").write_bytes(b"none of yours")
    return place


def estimates(folder: Path) -> list[np.ndarray]:
    found = []
    for file in find_recordings([folder]):
        with Recording.open(file) as read:
            assert read.verify() == FRAMES
            restorations = [read.restoration(frame) for frame in range(FRAMES)]
        assert all(one is not None for one in restorations)
        found.append(np.stack([one.estimate for one in restorations if one is not None]))
    return found


def test_a_killed_worker_loses_no_recording_and_doubles_none_and_the_pictures_are_those_of_one_process(
    folder: Path, tmp_path: Path
) -> None:
    alone = shutil.copytree(folder, tmp_path / "alone")
    with crew() as workers:
        pieces = [Piece(file, file, method="spectral_fast", device="cpu") for file in find_recordings([alone])]
        assert list(workers.do(restore_piece, pieces)) == [(index, FRAMES) for index in range(6)]

    killed: list[int] = []

    def kill_one(_: Any) -> None:
        children = psutil.Process().children(recursive=True)
        running = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if running and not killed:
            killed.append(running[0].pid)
            running[0].kill()

    with crew(workers=2) as workers:
        pieces = [Piece(file, file, method="spectral_fast", device="cpu") for file in find_recordings([folder])]
        outcomes = dict(workers.do(restore_piece, pieces, kill_one))
    assert killed
    assert sorted(outcomes) == list(range(6)), "each recording ended once"
    assert all(isinstance(outcome, int) for outcome in outcomes.values()), outcomes
    for one, other in zip(estimates(alone), estimates(folder), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_is_restored_and_what_cannot_be_is_named_while_the_others_go_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.hspy").write_bytes(b"no recording")
    before = (folder / "0.hspy").read_bytes()
    out = tmp_path / "restored"
    asked = ["restore", str(folder), "--out", str(out), "--method", "nearest", "--device", "cpu"]
    assert main([*asked, "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert "6 recordings restored, 1 could not be" in said.out
    assert "broken.hspy" in said.err
    assert (folder / "0.hspy").read_bytes() == before
    assert len(estimates(out)) == 6
    (folder / "broken.hspy").unlink()
    assert main(asked) == 0, "a second time there is nothing left to do"
    with Recording.open(out / "3.hspy") as read:
        assert read.restoration(0).made_by.method == "nearest"


def test_who_cannot_do_the_work_is_one_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", str(folder), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "does not answer" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="below 1"), crew(workers=0):
        pass
    with pytest.raises(InvalidInput, match="give one"), crew(2, "tcp://127.0.0.1:1"):
        pass
    with pytest.raises(InvalidInput, match="holds none"):
        find_recordings([folder / "0.hspy", folder.parent])


def test_a_scheduler_with_workers_of_its_own_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        asked = [str(folder / "1.hspy"), str(folder / "2.hspy"), "--method", "nearest", "--device", "cpu"]
        assert main(["restore", *asked, "--scheduler", cluster.scheduler_address]) == 0
    assert "2 recordings restored, 0 could not be" in capsys.readouterr().out
    with Recording.open(folder / "0.hspy") as read:
        assert read.restoration(0) is None
