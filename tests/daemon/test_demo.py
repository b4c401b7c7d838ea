"""The demo as a newcomer runs it: real processes, real sockets, a recording, a report, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scancontrol.daemon.moving_truth import MovingTruth
from scancontrol.figures.dry_run import frame_figures
from scancontrol.recording import RecordingReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = """
name: small-spiral
shape: [128, 128]
fov_nm: 10.0
dwell_us: {dwell_us}
frames: {frames}
patterns:
  - kind: archimedean
    coverage: {{value: 0.05, by: touched}}
"""
FIGURES = {
    "frames",
    "samples_sent",
    "samples_received",
    "samples_lost",
    "frames_restored",
    "frame_rate_hz",
    "beam_frame_time_ms",
    "restore_latency_ms",
    "rmse_pct",
    "psnr_db",
    "coverage",
}


def write_plan(folder: Path, *, dwell_us: float = 4.0, frames: int = 200) -> Path:
    path = folder / "plan.yaml"
    path.write_text(PLAN.format(dwell_us=dwell_us, frames=frames))
    return path


def descendants(pid: int) -> set[int]:
    """Process ids of everything below ``pid``."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


class Demo:
    """A running ``scancontrol demo`` and what it prints."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scancontrol", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.text = ""

    def read_until(self, pattern: str, timeout_s: float = 90) -> re.Match[str]:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.text)) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing like {pattern!r} within {timeout_s} s in:\n{self.text}"
            piece = os.read(self.process.stdout.fileno(), 65536).decode()
            assert piece, f"the demo ended without {pattern!r}:\n{self.text}"
            self.text += piece
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def demo() -> Iterator[type[Demo]]:
    started: list[Demo] = []

    class Tracked(Demo):
        def __init__(self, *arguments: str) -> None:
            super().__init__(*arguments)
            started.append(self)

    yield Tracked
    for one in started:
        one.close()


def test_a_headless_demo_ends_by_itself_and_leaves_recording_report_and_summary(
    tmp_path: Path, demo: type[Demo]
) -> None:
    out = tmp_path / "out"
    plan = write_plan(tmp_path)
    running = demo("--frames", "3", "--headless", "--out", str(out), "--plan", str(plan), "--method", "push_pull")
    running.read_until(r"summary +\S+summary\.png", 120)
    assert running.process.wait(10) == 0
    report = json.loads((out / "report.json").read_text())
    assert report.keys() >= FIGURES
    assert report["frames"] == report["frames_restored"] == 3
    assert report["samples_sent"] == report["samples_received"] > 0
    assert report["samples_lost"] == 0
    assert report["coverage"]["touched"] == pytest.approx(0.05, rel=0.01)
    assert set(report["restore_latency_ms"]) == {"p50", "p99", "max"}
    assert 0 < report["rmse_pct"] < 40
    said = running.read_until(r"error +((?:\d+\.\d\d ){3})% RMSE")[1].split()
    assert [f"{each['rmse_pct']:.2f}" for each in report["by_frame"]] == said
    with RecordingReader(out / report["recording"]) as recording:
        assert [frame.complete for frame in recording.frames] == [True] * 3
        assert recording.verify() >= 3
        assert sum(frame.received for frame in recording.frames) == report["samples_received"]
        assert all(recording.restoration(frame.frame) is not None for frame in recording.frames)
    with Image.open(out / "summary.png") as picture:
        assert picture.width > 1000


def test_the_scanned_region_follows_a_drifting_specimen_if_asked_to(tmp_path: Path, demo: type[Demo]) -> None:
    """1 px a frame: 0.1 nm in the 0.2 s that a frame takes, down and half as much left."""
    out, plan, simulator = tmp_path / "out", tmp_path / "plan.yaml", tmp_path / "simulator.yaml"
    region = "region: {y: 0.2, x: 0.2, height: 0.6, width: 0.6}\n"
    plan.write_text(
        "name: following\nshape: [128, 128]\nfov_nm: 12.8\ndwell_us: 300.0\nframes: 20\n" + region + "patterns:\n"
        "  - {kind: jittered_grid, coverage: {value: 0.1}, seed_per_frame: true}\n"
    )
    simulator.write_text(
        "specimen: {kind: particles, size_nm: 40.0, count: 110}\nmotion: {drift_nm_per_s: [0.5, -0.25]}\n"
    )
    given = ("--frames", "20", "--headless", "--out", str(out), "--plan", str(plan), "--simulator", str(simulator))
    running = demo(*given, "--method", "spectral_fast", "--memory", "4", "--compensate-drift")
    running.read_until(r"summary +\S+summary\.png", 180)
    report = json.loads((out / "report.json").read_text())
    with RecordingReader(out / report["recording"]) as recording:
        recipes = [recording.recipe(frame.frame) for frame in recording.frames]
        regions = [recipe.region for recipe in recipes]
        last = recording.restoration(19)
        times_s = [1e-9 * frame.started_utc_ns for frame in recording.frames]
    drifted_nm = 0.5 * (times_s[-1] - times_s[0])
    shift_nm = 12.8 * np.array([regions[-1].y - regions[0].y, regions[-1].x - regions[0].x])
    assert last is not None
    truth, known = MovingTruth(out / "truth.npz"), np.s_[40:88, 40:88]
    own, first = (frame_figures(true[known], last.estimate[known]).rmse_pct for true in (truth.of(19), truth.still))
    assert own < 0.5 * first, "each frame is compared with its own truth"
    assert shift_nm == pytest.approx([drifted_nm, -drifted_nm / 2], abs=0.35)
    assert all(0 <= region.y <= 0.4 and 0 <= region.x <= 0.4 for region in regions)
    down, right = recipes[-1].bend_px or (0.0, 0.0)
    in_frame_px = 0.5 * (times_s[-1] - times_s[0]) / 19 / 0.1
    assert (down, right) == pytest.approx((in_frame_px, -in_frame_px / 2), abs=0.35)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_endless_demo_ends_within_two_seconds_with_nothing_left_running(
    tmp_path: Path, demo: type[Demo], end: signal.Signals
) -> None:
    running = demo("--out", str(tmp_path / "out"), "--plan", str(write_plan(tmp_path)), "--method", "push_pull")
    running.read_until(r"page +http://127\.0\.0\.1:\d+")
    running.read_until(r"restorer +process \d+")
    running.read_until(r"frame \d+/200")
    below = descendants(running.process.pid)
    assert len(below) == 3, "microscope, daemon and restorer are processes of their own"
    handles = {pid: os.pidfd_open(pid) for pid in below}
    try:
        began = time.monotonic()
        running.process.send_signal(end)
        assert running.process.wait(10) == 0
        for pid, handle in handles.items():
            assert select.select([handle], [], [], max(0.0, began + 10 - time.monotonic()))[0], f"{pid} still runs"
        took_s = time.monotonic() - began
    finally:
        for handle in handles.values():
            os.close(handle)
    assert took_s < 2.0 * _slowness(), f"took {took_s:.2f} s"
    recordings = sorted((tmp_path / "out").glob("*.hspy"))
    with RecordingReader(recordings[-1]) as recording:
        assert recording.closed


def _slowness() -> float:
    """How many times longer things take because others use the processors, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_a_restorer_that_is_killed_comes_back_and_the_acquisition_never_notices(
    tmp_path: Path, demo: type[Demo]
) -> None:
    running = demo(
        "--frames",
        "60",
        "--headless",
        "--out",
        str(tmp_path / "out"),
        "--method",
        "push_pull",
        "--plan",
        str(write_plan(tmp_path, dwell_us=60.0, frames=60)),
    )
    restorer = int(running.read_until(r"restorer +process (\d+)")[1])
    running.read_until(r"frame [1-9]\d*/60")
    os.kill(restorer, signal.SIGKILL)
    running.read_until(r"the restorer died")
    running.read_until(r"the restorer is back")
    running.read_until(r"summary +\S+summary\.png", 150)
    assert running.process.wait(10) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["restorer_restarts"] == 1
    assert report["samples_lost"] == 0
    assert report["frames"] == report["frames_restored"] == 60


def test_a_grayscale_micrograph_is_a_specimen(tmp_path: Path, demo: type[Demo]) -> None:
    """Of any kind of file that ``simulators.specimens.micrograph`` reads, which its own tests go through."""
    rows, cols = np.mgrid[0:200, 0:300]
    image = (127 + 100 * np.sin(rows / 9) * np.cos(cols / 13)).astype(np.uint8)
    specimen = tmp_path / "micrograph.tif"
    Image.fromarray(image).save(specimen)
    out = tmp_path / "out"
    running = demo(
        "--frames",
        "1",
        "--headless",
        "--out",
        str(out),
        "--specimen",
        str(specimen),
        "--method",
        "push_pull",
        "--plan",
        str(write_plan(tmp_path)),
    )
    running.read_until(r"summary +\S+summary\.png", 120)
    assert running.process.wait(10) == 0
    with np.load(out / "truth.npz") as truth:
        seen = truth["expected"][0]
    at = ((np.arange(128) + 0.5) * 200 / 128).astype(int)
    covered = image[:, 50:250][at][:, at]  # the middle square covers the field
    assert np.corrcoef(covered.ravel(), seen.ravel())[0, 1] > 0.98
