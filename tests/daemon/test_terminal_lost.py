"""A real daemon loses its terminal in every way; the acquisition goes on to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scancontrol.daemon import health
from scancontrol.errors import LinkError
from scancontrol.processes.parent import ChildProcess
from scancontrol.recording import RecordingReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = "name: p\nshape: [64, 64]\nfov_nm: 5.0\ndwell_us: 20.0\nframes: {frames}\npatterns: [{{kind: raster}}]\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a microscope that no two daemons use at a time."""
    config = tmp_path_factory.mktemp("microscope") / "simulator.yaml"
    config.write_text("specimen: {kind: crystal, size_nm: 2.0, thickness_nm: 2.0}\n")  # soon drawn
    microscope = ChildProcess("microscope", "simulators", ["--config", str(config)])
    yield str(microscope.wait_ready(60)["address"])
    microscope.stop(2.0)


@pytest.mark.parametrize("to", ["> /dev/full 2>&1", ">&- 2>&-", "2>&1 | head -1", "2>/dev/full"])
def test_an_acquisition_ends_as_planned_wherever_its_words_go(tmp_path: Path, address: str, to: str) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN.format(frames=5))
    line = (
        f"{sys.executable} -m scancontrol daemon --microscope {address} --plan plan.yaml --out out --start --frames 5"
        f" --no-page --no-restorer {to}"
    )
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").glob("*.hspy")
    with RecordingReader(file) as read:
        assert (read.reason, [frame.complete for frame in read.frames]) == ("completed", [True] * 5)


def test_a_hangup_ends_nothing_and_sigterm_does_at_once(tmp_path: Path, address: str) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN.format(frames=1000))
    command = [sys.executable, "-m", "scancontrol", "daemon", "--microscope", address, "--plan", "plan.yaml"]
    daemon = subprocess.Popen(
        [*command, "--out", "out", "--start", "--no-page", "--no-restorer"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        before = _frames_when(tmp_path / "out", 2)
        daemon.send_signal(signal.SIGHUP)
        assert _frames_when(tmp_path / "out", before + 3) > before
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    finally:
        daemon.kill()
        daemon.wait()


def _frames_when(runs: Path, least: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            frames = health.ask(health.find_daemon(runs).status).scan.frames_completed
        except LinkError:
            frames = -1
        if frames >= least:
            return frames
        time.sleep(0.05)
    raise AssertionError("the acquisition does not go on")
