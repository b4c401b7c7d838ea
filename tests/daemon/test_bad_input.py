"""What a user can get wrong, on the real command line: one clear message, exit code 2, nothing left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scancontrol.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = {
    "name": "bad",
    "shape": [64, 64],
    "fov_nm": 10.0,
    "dwell_us": 1.0,
    "patterns": [{"kind": "archimedean", "coverage": {"value": 0.05}}],
}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scancontrol", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr.strip()
    for word in words:
        assert word in message, message


def refused_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says in this process, which it refuses; a process of its own is the subject elsewhere."""
    assert main([*arguments]) == 2
    said = capsys.readouterr().err
    assert said.strip()
    assert "Traceback" not in said
    return said


def write_plan(folder: Path, **changes: object) -> Path:
    import yaml

    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dwell_us": 0}, ["dwell_us", "0", "above 0"]),
        ({"dwell_us": -1.5}, ["dwell_us", "-1.5", "above 0"]),
        ({"dwell_us": 0.001}, ["dwell_us", "shortest dwell", "raise"]),
        ({"dwell_us": "fast"}, ["dwell_us", "float"]),
        ({"fov_nm": 0}, ["fov_nm", "0"]),
        ({"flyback": 3}, ["flyback"]),
        ({"patterns": []}, ["patterns"]),
        ({"patterns": [{"kind": "archimedean", "coverage": {"value": 0}}]}, ["coverage", "above 0"]),
        ({"patterns": [{"kind": "archimedean", "coverage": {"value": 1.2}}]}, ["coverage", "1.2", "at most 1"]),
        ({"patterns": [{"kind": "teleport"}]}, ["teleport"]),
        ({"region": {"y0": 0.5, "x0": 0.5, "height": 0.8, "width": 0.2}}, ["region"]),
        ({"frames": 1_000_000, "dose_limits": {"total_e_per_a2": 100.0}}, ["dose", "100", "frames"]),
        ({"frames": 0}, ["frames", "0"]),
    ],
    ids=[
        "zero dwell",
        "negative dwell",
        "dwell below the hardware's",
        "dwell of a wrong type",
        "no field of view",
        "unknown key",
        "no pattern",
        "no coverage",
        "coverage above 1",
        "unknown pattern",
        "path outside the field",
        "too large a dose",
        "no frames",
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], words: list[str]
) -> None:
    said = refused_here(capsys, "plan", str(write_plan(tmp_path, **changes)))
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("text", "words"),
    [("name: [unclosed", ["not YAML"]), ("", ["plan"]), ("\x00\x01", ["YAML"])],
    ids=["malformed", "empty", "binary"],
)
def test_a_plan_file_that_is_not_yaml_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: list[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    said = refused_here(capsys, "plan", str(plan))
    assert all(word in said for word in words), said


def test_a_plan_is_refused_by_a_process_as_by_its_function(tmp_path: Path) -> None:
    refused(run("plan", str(write_plan(tmp_path, dwell_us=0)), folder=tmp_path), "dwell_us", "0", "above 0")


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.empty((0, 2)), ["points", "empty"]),
        (np.array([[0.5, np.nan], [0.2, 0.2]]), ["nan"]),
        (np.array([[0.5, np.inf], [0.2, 0.2]]), ["inf"]),
        (np.array([[0.5, 1.5], [0.2, 0.2]]), ["1.5", "outside"]),
    ],
    ids=["empty", "NaN", "infinite", "outside the field"],
)
def test_a_path_from_a_file_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], points: np.ndarray, words: list[str]
) -> None:
    np.save(tmp_path / "points.npy", points)
    plan = write_plan(tmp_path, patterns=[{"kind": "points", "file": "points.npy"}])
    said = refused_here(capsys, "plan", str(plan)).lower()
    assert all(word in said for word in words), said


def test_no_microscope_at_the_address_is_said_within_the_timeout(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plan = write_plan(tmp_path)
    result = run("daemon", "--microscope", f"tcp://127.0.0.1:{port}", "--plan", str(plan), folder=tmp_path)
    refused(result, "no microscope answers", str(port), "scancontrol simulate")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("version", ["version", "99"]), ("nonsense", ["shortest_dwell_us", "-3", "mend the microscope's configuration"])],
)
def test_a_microscope_that_cannot_be_is_refused(tmp_path: Path, kind: str, words: list[str]) -> None:
    impostor = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("impostor.py")), kind], stdout=subprocess.PIPE, text=True
    )
    try:
        assert impostor.stdout is not None
        port = impostor.stdout.readline().strip()
        plan = write_plan(tmp_path)
        result = run("daemon", "--microscope", f"tcp://127.0.0.1:{port}", "--plan", str(plan), folder=tmp_path)
        refused(result, *words)
    finally:
        impostor.kill()
        impostor.wait()
        impostor.stdout.close()


def test_a_disk_without_room_refuses_the_scan_before_the_first_electron(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, frames=200, shape=[256, 256])
    # A limit on the size of files stands for the disk's: it needs no privilege and ends in the same system call.
    result = subprocess.run(
        [
            "/bin/bash",
            "-c",
            f"ulimit -f 300; exec {sys.executable} -m scancontrol demo --frames 200 --headless"
            f" --method push_pull --out out --plan {plan}",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    refused(result, "has room and can be written to", ".hspy")
    assert not list((tmp_path / "out").glob("*.hspy"))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(run("simulate", "--address", f"tcp://127.0.0.1:{port}", folder=tmp_path), str(port), "in use")


def test_an_open_address_without_keys_is_refused(tmp_path: Path) -> None:
    refused(run("simulate", "--address", "tcp://0.0.0.0:0", folder=tmp_path), "0.0.0.0", "keys")  # noqa: S104 - it is refused


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut short"])
def test_an_unreadable_specimen_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "specimen.png").write_bytes(content)
    result = run("demo", "--frames", "1", "--headless", "--specimen", "specimen.png", "--out", "out", folder=tmp_path)
    refused(result, "specimen.png")


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("demo", "--frames", "1", "--headless", "--out", "file/out", folder=tmp_path)
    refused(result, "output folder", "file/out")


@pytest.mark.parametrize("command", ["replay", "restore", "export"])
def test_a_truncated_recording_is_refused_by_every_command_that_reads_one(tmp_path: Path, command: str) -> None:
    (tmp_path / "recording.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4000))
    extra = ["--png", "--out", "out"] if command == "export" else []
    refused(run(command, "recording.h5", *extra, folder=tmp_path), "recording.h5")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--headless"], ["--headless", "--frames"]),
        (["demo", "--frames", "0"], ["--frames", "0"]),
        (["daemon"], ["microscope", "--config"]),
        (["daemon", "--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
    ids=["headless without end", "no frames", "no microscope named", "no configuration"],
)
def test_orders_that_contradict_themselves_are_refused(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    refused(run(*arguments, folder=tmp_path), *words)
