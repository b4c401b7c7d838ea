"""Faults on purpose under the real daemon: what it says, records and returns is what the documentation promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scancontrol.recording import RecordingReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PIXELS = 128
SAMPLES = PIXELS * PIXELS
PLAN = f"""
name: faulty
shape: [{PIXELS}, {PIXELS}]
fov_nm: 3.0
dwell_us: 20.0
patterns: [{{kind: raster}}]
"""
MICROSCOPE = """
pace: real_time
specimen: {kind: crystal, size_nm: 3.0, thickness_nm: 4.0}
detectors: [{name: HAADF, kind: HAADF, read_noise_counts: 6.0}]
faults:
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Outcome:
    """What a run of the daemon left behind."""

    code: int
    said: str
    figures: dict[str, object]
    reason: str | None
    values: list[np.ndarray]  # (channels, n) of each frame, as recorded
    reasons: list[str | None]


def run_daemon(folder: Path, faults: list[str], frames: int) -> Outcome:
    """A simulator and a daemon, both as processes; the daemon takes ``frames`` frames and ends by itself."""
    folder.mkdir()
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "simulator.yaml").write_text(MICROSCOPE + ("".join(f"  - {{{fault}}}\n" for fault in faults) or "  []\n"))
    simulator = subprocess.Popen(
        [sys.executable, "-m", "simulators", "--config", str(folder / "simulator.yaml"), "--follow-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert simulator.stdout is not None
        address = json.loads(simulator.stdout.readline())["address"]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "scancontrol",
                "daemon",
                "--microscope",
                address,
                "--plan",
                "plan.yaml",
                "--out",
                "out",
                "--start",
                "--frames",
                str(frames),
                "--no-page",
                "--no-restorer",
            ],
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=100,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    finally:
        assert simulator.stdin is not None
        simulator.stdin.close()
        simulator.wait(60)  # one that comes back after a crash listens again only then
        simulator.stdout.close()
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    reports = list((folder / "out").glob("run.json"))
    figures = json.loads(reports[0].read_text()) if reports else {}
    values: list[np.ndarray] = []
    reasons: list[str | None] = []
    reason = None
    for file in (folder / "out").glob("*.hspy"):
        with RecordingReader(file) as reader:
            reason = reader.reason
            for frame in reader.frames:
                values.append(reader.samples(frame.frame))
                reasons.append(frame.reason)
    return Outcome(done.returncode, said, figures, reason, values, reasons)


def assert_the_same_scan(seen: np.ndarray, expected: np.ndarray, *, but: slice = slice(0)) -> None:
    """Sample for sample; but a beam that a busy machine let wait goes on with other noise, at the same places."""
    assert seen.shape == expected.shape
    differs = seen != expected
    differs[:, but] = False
    if differs.any():
        first = min(int(differs.any(axis=0).argmax()), seen.shape[1] - 1024)
        kept = np.delete(np.arange(seen.shape[1]), but)
        for stretch in np.array_split(kept[kept >= first], max(1, (seen.shape[1] - first) // 1024)):
            assert np.corrcoef(seen[0, stretch], expected[0, stretch])[0, 1] > 0.9


CASES: dict[str, tuple[list[str], int]] = {
    "clean": ([], 7),
    "link": (
        [
            "kind: drop, frame: 1, sample: 3000, count: 2",
            "kind: duplicate, frame: 2, sample: 3000, count: 3",
            "kind: reorder, frame: 3, sample: 3000, count: 2",
            "kind: delay, frame: 4, sample: 3000, duration_s: 0.3",
            "kind: link_cut, frame: 5, sample: 3000, duration_s: 0.5",
            "kind: stall, frame: 6, sample: 3000, duration_s: 0.5",
        ],
        7,
    ),
    "detector": (
        [
            "kind: stuck_detector, frame: 1, sample: 3000, count: 4000",
            "kind: nan_detector, frame: 2, sample: 3000, count: 500",
            "kind: clock_skew, frame: 3, sample: 3000, skew_ns: 5000000000",
        ],
        4,
    ),
    "operator_blank": (["kind: operator_blank, frame: 1, sample: 3000"], 3),
    "beam_trip": (["kind: beam_trip, frame: 1, sample: 3000"], 3),
    "overrun": (["kind: overrun, frame: 1, sample: 3000"], 3),
    "crash": (["kind: crash, frame: 1, sample: 3000, restart_after_s: 0.3"], 3),
    "version_mismatch": (["kind: version_mismatch"], 1),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every case, two at a time."""
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(2) as pool:
        waiting = {name: pool.submit(run_daemon, folder / name, *case) for name, case in CASES.items()}
        return {name: future.result() for name, future in waiting.items()}


def test_lost_doubled_swapped_late_and_cut_off_chunks_and_a_stall_cost_no_sample(outcomes):
    clean, faulty = outcomes["clean"], outcomes["link"]
    assert (clean.code, faulty.code) == (0, 0), faulty.said
    assert faulty.reason == "completed"
    assert faulty.reasons == ["completed"] * 7
    assert faulty.figures["samples_lost"] == 0
    assert faulty.figures["samples_received"] == faulty.figures["samples_sent"] == 7 * SAMPLES
    for received, expected in zip(faulty.values, clean.values, strict=True):
        assert received.shape == (1, SAMPLES)
        assert_the_same_scan(received, expected)


def test_a_detector_that_sticks_or_sends_nan_is_recorded_as_it_is_and_named(outcomes):
    found, clean = outcomes["detector"], outcomes["clean"]
    assert found.code == 0, found.said
    assert found.reason == "completed"
    stuck = found.values[1][0]
    assert (stuck[3000:7000] == stuck[3000]).all()
    assert_the_same_scan(found.values[1], clean.values[1], but=slice(3000, 7000))
    blind = found.values[2][0]
    assert np.isnan(blind[3000:3500]).all()
    assert_the_same_scan(found.values[2], clean.values[2], but=slice(3000, 3500))
    assert "HAADF gave the value" in found.said
    assert "stuck, dead or saturated" in found.said
    assert "HAADF sends NaN from sample 3000 of frame 2" in found.said


def test_a_clock_that_runs_wrong_is_named(outcomes):
    found = outcomes["detector"]
    assert "the microscope's clock is wrong: samples of frame 3 are stamped" in found.said
    assert "clock" not in outcomes["clean"].said
    assert "stuck" not in outcomes["clean"].said


@pytest.mark.parametrize(
    ("kind", "reason", "why"),
    [
        ("operator_blank", "operator_blank", "the operator blanked the beam at the column"),
        ("beam_trip", "fault", "the high tension tripped"),
        ("overrun", "overrun", "FIFO"),
    ],
)
def test_a_beam_that_goes_off_ends_the_acquisition_with_its_reason_and_keeps_what_was_exposed(
    outcomes, kind, reason, why
):
    found = outcomes[kind]
    assert found.code == 2
    assert found.reason == reason
    assert why in found.said
    assert found.figures["samples_lost"] == 0
    kept = found.values[1].shape[1]
    assert 3000 <= kept < SAMPLES  # in real time the beam is blanked when it is noticed
    assert found.figures["samples_received"] == SAMPLES + kept
    assert found.reasons[:2] == ["completed", reason]
    assert_the_same_scan(found.values[1], outcomes["clean"].values[1][:, :kept])
    assert len(found.values) == 2 or found.values[2].size == 0  # nobody started it again


def test_a_microscope_that_crashes_ends_the_acquisition_and_the_recording_opens(outcomes):
    found = outcomes["crash"]
    assert found.code == 2, found.said
    assert found.reason not in ("completed", "")
    assert_the_same_scan(found.values[0], outcomes["clean"].values[0])
    kept = found.values[1].shape[1]
    assert_the_same_scan(found.values[1], outcomes["clean"].values[1][:, :kept])
    assert "ended early" in found.said


def test_a_microscope_of_another_version_is_refused_in_one_sentence(outcomes):
    found = outcomes["version_mismatch"]
    assert found.code == 2
    assert "version" in found.said
    assert len(found.said.strip().splitlines()) == 1
    assert found.values == []
