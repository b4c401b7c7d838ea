"""Direct Electron through the whole daemon: the real ``deapi`` client against the wheel's own server, to the file.

What the wheel's server lacks, scan positions and the stop, ``tests/kit/de_server.py`` adds and says how.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from scancontrol.processes.parent import ChildProcess
from scancontrol.recording import Recording
from scancontrol.units import ELECTRONS_PER_PA_US

pytest.importorskip("deapi")
from de_server import SimulatedDirectElectron

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SIDE = 24
PLAN = """
name: direct electron
shape: [{side}, {side}]
fov_nm: 20.0
dwell_us: {dwell_us}
frames: 2
patterns: [{{kind: serpentine}}]
settle: null
"""


@pytest.fixture
def microscope(tmp_path):
    """``scancontrol drive`` beside the server; its address and the server."""
    with ExitStack() as stack:
        server = SimulatedDirectElectron()
        stack.callback(server.close)
        config = tmp_path / "de.yaml"
        config.write_text(
            "address: tcp://127.0.0.1:0\n"
            f"microscope: {{driver: direct_electron, port: {server.port}, highest_rate_khz: 2.0, origin: simulation}}\n"
        )
        host = ChildProcess("drive", "scancontrol", ["drive", "--config", str(config)])
        stack.callback(host.stop, 5.0)
        yield str(host.wait_ready(60)["address"]), server


def daemon(tmp_path: Path, address: str, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "scancontrol", "daemon", "--microscope", address, "--out", str(tmp_path / "out")),
        *("--no-page", "--no-restorer", *arguments),
    ]


def plan_file(tmp_path: Path, dwell_us: float) -> str:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN.format(side=SIDE, dwell_us=dwell_us))
    return str(file)


def recording_of(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "out").glob("*.hspy")
    return found


def received_of(file: Path) -> list[int]:
    with Recording.open(file) as recording:
        return [frame.received for frame in recording.frames]


def test_frames_are_recorded_once_with_their_electrons_and_read_back(tmp_path, microscope):
    address, server = microscope
    plan = plan_file(tmp_path, 500.0)
    done = subprocess.run(daemon(tmp_path, address, "--plan", plan, "--start", "--frames", "2"), timeout=120)
    assert done.returncode == 0
    with Recording.open(recording_of(tmp_path)) as recording:
        assert [frame.received for frame in recording.frames] == [SIDE**2] * 2
        assert [frame.reason for frame in recording.frames] == ["completed"] * 2
        assert recording.header.sample_dtype == "<f4"
        stated = SIDE**2 * 500.0 * recording.header.beam_current_pa * ELECTRONS_PER_PA_US
        for frame in recording.frames:
            assert frame.electrons == pytest.approx(stated, rel=0.02)
            assert np.isfinite(recording.samples(frame.frame)).all()
    assert len(server.positions) == SIDE**2


@pytest.fixture
def scanning(tmp_path, microscope):
    """A daemon that has been in its first frame, of 5.8 s, for a second."""
    address, server = microscope
    process = subprocess.Popen(daemon(tmp_path, address, "--plan", plan_file(tmp_path, 10_000.0), "--start"))
    try:
        deadline = time.monotonic() + 60
        while server.server is None or server.server.end_time - time.time() < 1.0:
            assert time.monotonic() < deadline, "nothing is scanned"
            time.sleep(0.05)
        time.sleep(1.0)
        yield process
    finally:
        process.kill()
        process.wait()


def test_an_aborted_frame_keeps_its_samples_and_electrons(tmp_path, microscope, scanning):
    scanning.terminate()
    assert scanning.wait(30) == 0
    assert microscope[1].stops >= 1
    with Recording.open(recording_of(tmp_path)) as recording:
        (frame, *_) = recording.frames
        assert 20 < frame.received < SIDE**2
        of_samples = frame.received * 10_000.0 * recording.header.beam_current_pa * ELECTRONS_PER_PA_US
        assert of_samples <= frame.electrons <= 1.5 * of_samples


def test_what_a_killed_daemon_began_is_stopped_by_the_dead_man_kept_and_gone_on_with(tmp_path, microscope, scanning):
    address, server = microscope
    scanning.kill()
    deadline = time.monotonic() + 10
    while not server.stops:
        assert time.monotonic() < deadline, "nobody stopped the server"
        time.sleep(0.01)
    file = recording_of(tmp_path)
    again = subprocess.Popen(daemon(tmp_path, address, "--resume", str(file)))
    try:
        deadline = time.monotonic() + 90
        while received_of(file) != [SIDE**2] * 2:
            assert time.monotonic() < deadline, received_of(file)
            assert again.poll() is None
            time.sleep(0.2)
        again.terminate()
        assert again.wait(30) == 0
    finally:
        again.kill()
        again.wait()
