"""A daemon that is killed in mid-frame is started again: what was exposed is on the disk once, and nothing twice.

Real processes; what was exposed is the simulator's own word, noted in a file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scancontrol.errors import RecordingError
from scancontrol.recording import RecordingReader, RecordingWriter
from simulators.side_files.exposure_log import read_log, tally

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FRAMES = 3
PLAN = f"""
name: cut-off
shape: [64, 64]
fov_nm: 10.0
dwell_us: 2000.0
frames: {FRAMES}
patterns:
  - kind: archimedean
    coverage: {{value: 0.1, by: touched}}
"""
SIMULATOR = (
    "name: cut-off\nspecimen: {kind: crystal, size_nm: 2.0, thickness_nm: 2.0}\nstated: {dose_limit_e_per_a2: null}\n"
)


class Bench:
    """A microscope that notes what it exposes, and daemons one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "exposed.jsonl"
        (folder / "plan.yaml").write_text(PLAN)
        (folder / "simulator.yaml").write_text(SIMULATOR)
        self.log.touch()
        self.running: list[subprocess.Popen[str]] = []
        microscope = self._start(
            "simulators", "--config", str(folder / "simulator.yaml"), "--exposure-log", str(self.log)
        )
        assert microscope.stdout is not None
        self.address = json.loads(microscope.stdout.readline())["address"]

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--follow-stdin"],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.running.append(process)
        return process

    def daemon(self, *arguments: str, disk: Path | None = None) -> subprocess.Popen[str]:
        module = ["scancontrol"] if disk is None else ["benchmarks.chaos.faulty_disk", str(disk)]
        return self._start(
            *module,
            "daemon",
            "--microscope",
            self.address,
            "--plan",
            str(self.folder / "plan.yaml"),
            "--out",
            str(self.folder / "out"),
            "--no-page",
            "--no-restorer",
            *arguments,
        )

    def exposed(self) -> dict[tuple[int, int], int]:
        return tally(read_log(self.log)[0])

    def wait(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            for process in self.running:
                assert process.poll() in (None, 0, -signal.SIGKILL), process.stdout and process.stdout.read()
            assert time.monotonic() < deadline, f"still waiting after {timeout_s} s"
            time.sleep(0.01)

    @property
    def recording(self) -> Path:
        (path,) = (self.folder / "out").glob("*.hspy")
        return path

    def closed(self) -> bool:
        try:
            with RecordingReader(self.recording) as read:
                return read.closed
        except RecordingError:  # it is being replaced
            return False

    def end(self) -> None:
        for process in reversed(self.running):
            process.kill()
            process.communicate()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()


def kill_in_mid_frame(bench: Bench) -> None:
    daemon = bench.daemon("--start", "--frames", str(FRAMES))
    bench.wait(lambda: any(frame == 1 for frame, _ in bench.exposed()))
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said. Its standard input stays open: closing it would ask it to end."""
    code = process.wait(60)
    assert process.stdout is not None
    return code, process.stdout.read()


def recorded(path: Path) -> set[tuple[int, int]]:
    with RecordingReader(path) as read:
        read.verify()
        return {(frame.frame, sample) for frame in read.frames for sample in range(frame.received)}


def test_a_daemon_killed_in_mid_frame_goes_on_where_it_was_and_exposes_nothing_twice(bench: Bench) -> None:
    kill_in_mid_frame(bench)
    again = bench.daemon("--start", "--frames", str(FRAMES), "--on-interrupted", "resume")
    code, text = ended(again)
    assert code == 0, text
    assert "goes on" in text
    exposed = bench.exposed()
    assert set(exposed.values()) == {1}
    assert set(exposed) == recorded(bench.recording)
    with RecordingReader(bench.recording) as read:
        assert read.reason == "completed"
        assert [frame.complete for frame in read.frames] == [True] * FRAMES
        assert [frame.exposed for frame in read.frames] == [frame.count for frame in read.frames]


def test_a_disk_that_refuses_for_a_while_costs_time_and_no_sample(bench: Bench) -> None:
    switch = bench.folder / "disk"
    bench.daemon("--start", "--on-interrupted", "resume", disk=switch)
    bench.wait(lambda: any(frame == 1 for frame, _ in bench.exposed()))
    switch.write_text("read_only")
    time.sleep(0.8)
    switch.unlink()
    bench.wait(bench.closed)
    assert set(bench.exposed().values()) == {1}
    assert set(bench.exposed()) == recorded(bench.recording)
    with RecordingReader(bench.recording) as read:
        assert read.reason == "completed"
        assert all(frame.complete for frame in read.frames)


def test_resume_takes_up_the_recording_that_is_named(bench: Bench) -> None:
    kill_in_mid_frame(bench)
    bench.daemon("--resume", str(bench.recording))
    bench.wait(bench.closed)
    assert set(bench.exposed().values()) == {1}
    assert set(bench.exposed()) == recorded(bench.recording)
    with RecordingReader(bench.recording) as read:
        assert read.reason == "completed"


def test_or_it_ends_cleanly_with_all_that_was_exposed_and_no_more(bench: Bench) -> None:
    kill_in_mid_frame(bench)
    time.sleep(0.3)  # longer than the dead man takes
    before = bench.exposed()
    bench.daemon("--on-interrupted", "end")
    bench.wait(bench.closed)
    assert bench.exposed() == before
    assert set(before.values()) == {1}
    assert set(before) == recorded(bench.recording)
    with RecordingReader(bench.recording) as read:
        assert read.reason == "interrupted"
        assert not all(frame.complete for frame in read.frames) or len(read.frames) < FRAMES


def test_a_recording_that_ended_cleanly_is_not_resumed(bench: Bench) -> None:
    kill_in_mid_frame(bench)
    RecordingWriter.resume(bench.recording).close("aborted")
    again = bench.daemon("--resume", str(bench.recording))
    code, text = ended(again)
    assert code == 2
    assert "ended cleanly (aborted)" in text
    assert "Traceback" not in text
