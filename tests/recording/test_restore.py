"""``scancontrol restore`` and ``scancontrol replay`` as a user types them: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from blobs import PLAN, recorded, truth
from recording_tools import MICROSCOPE, flip

from scancontrol.cli import main
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.plan import load_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(ROOT)


def test_a_recording_is_restored_in_place_and_what_has_a_restoration_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = recorded(tmp_path / "a.hspy", 1)
    assert main(["restore", str(place), "--frames", "1", "--method", "harmonic", "--device", "cpu"]) == 0
    assert "1 frames of" in capsys.readouterr().out
    with Recording.open(place) as read:
        assert read.restoration(0) is None
        before = read.restoration(1)
    assert before is not None
    assert before.made_by.method == "harmonic"
    rows, cols = PLAN.shape
    grid = (np.stack(np.mgrid[0:rows, 0:cols], -1).reshape(-1, 2) + 0.5) / (rows, cols)
    expected = truth(grid).reshape(PLAN.shape)
    inside = np.hypot(*(np.mgrid[0:rows, 0:cols] - 31.5)) < 28
    error = np.sqrt(np.mean((before.estimate - expected)[inside] ** 2))
    assert error < 0.05 * expected.std(), "a smooth image is restored to a few percent"
    assert main(["restore", str(place), "--method", "nearest", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "2 frames of" in captured.out
    assert "2/2 frames" in captured.err
    with Recording.open(place) as read:
        assert [read.restoration(frame).made_by.method for frame in range(3)] == ["nearest", "harmonic", "nearest"]
        assert read.verify() == 3
    assert main(["restore", str(place)]) == 0
    assert "every frame has its restoration" in capsys.readouterr().out


def test_each_detector_is_restored_by_name_and_all_are_in_the_exported_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = recorded(tmp_path / "a.hspy", 1, brighter=(0, 900))
    options = ["--frames", "0", "--method", "nearest", "--device", "cpu"]
    assert main(["restore", str(place), "--channel", "SE", *options]) == 2
    assert "channel = SE is not in the recording; choose of HAADF, BF, or all" in capsys.readouterr().err
    assert main(["restore", str(place), "--channel", "BF", *options]) == 0
    assert f"1 frames of {place}, BF restored by nearest" in capsys.readouterr().out
    with Recording.open(place) as read:
        assert read.restoration(0) is None
    assert main(["restore", str(place), "--channel", "all", *options]) == 0
    said = capsys.readouterr().out
    assert "HAADF restored" in said
    assert "BF restored" not in said, "it has its restoration"
    with Recording.open(place) as read:
        dark, bright = read.restoration(0, "HAADF").estimate, read.restoration(0, "BF").estimate
    np.testing.assert_allclose(bright, dark + 900, atol=0.5)
    assert main(["export", str(place), "--npz", "--out", str(tmp_path), "--frames", "0"]) == 0
    with np.load(tmp_path / "frame_000000.npz") as arrays:
        np.testing.assert_array_equal(arrays["estimate"], dark)
        np.testing.assert_array_equal(arrays["estimate BF"], bright)
        assert arrays["channels"].tolist() == ["HAADF", "BF"]
    assert main(["export", str(place), "--h5", "--out", str(tmp_path), "--frames", "0", "--channel", "BF"]) == 0
    with h5py.File(tmp_path / "frame_000000.h5") as file:
        np.testing.assert_array_equal(file["estimate"], bright)
        np.testing.assert_array_equal(file["samples"][0], Recording.open(place).samples(0)[1])
    assert (
        main(["export", str(place), "--tiff", "--out", str(tmp_path / "t"), "--frames", "0", "--channel", "all"]) == 0
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "t" / "frame_000000_BF_restoration.tif"), bright)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "t" / "frame_000000_restoration.tif"), dark)


def test_a_chunk_that_the_disk_damaged_is_left_out_of_the_restoration_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = PlannedScan(PLAN, MICROSCOPE)
    path = planned.path(0)
    values = np.repeat(truth(path.positions)[None], 2, axis=0).astype("<u2")
    with record_plan(tmp_path / "a.hspy", planned) as recording:
        for frame in range(2):
            recording.begin_frame(frame, path)
            for first in range(0, path.count, 150):
                recording.write_chunk(frame, first, values[:, first : first + 150], 0, 0, 0.0)
    flip(tmp_path / "a.hspy", 1, 200)
    assert main(["restore", str(tmp_path / "a.hspy"), "--method", "harmonic", "--device", "cpu"]) == 0
    assert "samples 150 to 300 of frame 1" in capsys.readouterr().err
    with Recording.open(tmp_path / "a.hspy") as read:
        whole, less = read.restoration(0), read.restoration(1)
        assert (whole.made_by.samples_used, less.made_by.samples_used) == (path.count, path.count - 150)
        assert np.abs(whole.estimate - less.estimate).max() < 500


def test_a_recording_without_places_is_restored_into_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = recorded(tmp_path / "a.hspy", 0)
    before = place.read_bytes()
    assert main(["restore", str(place)]) == 2
    assert "give --out FILE" in capsys.readouterr().err
    copy = tmp_path / "b.hspy"
    assert main(["restore", str(place), "--out", str(copy), "--method", "nearest", "--device", "cpu"]) == 0
    assert place.read_bytes() == before
    with Recording.open(copy) as read:
        assert all(read.restoration(frame) is not None for frame in range(3))
    assert main(["restore", str(place), "--out", str(copy)]) == 2
    assert "never overwrites" in capsys.readouterr().err
    anew = tmp_path / "c.hspy"
    assert main(["restore", str(copy), "--out", str(anew), "--method", "harmonic", "--device", "cpu"]) == 0
    with Recording.open(anew) as read, Recording.open(copy) as before_it:
        assert [read.restoration(frame).made_by.method for frame in range(3)] == ["harmonic"] * 3
        assert before_it.restoration(0).made_by.method == "nearest"


def test_a_recording_without_a_frame_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_plan(tmp_path / "empty.hspy", PlannedScan(PLAN, MICROSCOPE)).close("aborted")
    assert main(["restore", str(tmp_path / "empty.hspy")]) == 2
    assert "frames = none of" in capsys.readouterr().err


def test_a_restorer_that_cannot_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = recorded(tmp_path / "a.hspy", 1)
    assert main(["restore", str(place), "--method", "magic"]) == 2
    assert "method = 'magic' is not a known one" in capsys.readouterr().err
    with Recording.open(place) as read:
        assert read.restoration(0) is None


def test_replay_serves_until_it_is_told_to_end_and_saves_the_plan(tmp_path: Path) -> None:
    place = recorded(tmp_path / "a.hspy", 0)
    command = [sys.executable, "-m", "scancontrol", "replay", str(place), "--speed", "max"]
    process = subprocess.Popen(
        [*command, "--save-plan", str(tmp_path / "plan.yaml"), "--follow-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        facts = json.loads(process.stdout.readline())
        assert facts["ready"] == "microscope"
        with MicroscopeLink(facts["address"]) as link:
            assert link.connect(5) == MICROSCOPE
        assert load_plan(tmp_path / "plan.yaml") == PLAN
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_a_pace_that_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], speed: str) -> None:
    assert main(["replay", str(tmp_path / "a.hspy"), f"--speed={speed}"]) == 2
    assert f"speed = {speed} is not a pace; give a number above 0, or max" in capsys.readouterr().err
