"""How much of a core it costs to put samples on the disk, and that killing the writer costs nothing.

Chunks of three sizes into one recording; CPU per million samples is what matters beside a beam, since the disk's own
speed is the machine's. Beside it, in the same run, the same bytes through plain ``write`` into a file.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.paths import Serpentine
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan

__all__ = ["run"]

MICROSCOPE = Capabilities(name="benchmark", detectors=(DetectorChannel(name="HAADF"),))
CHUNKS = (4096, 16384, 65536)
PLAN = ScanPlan(
    name="recording", shape=(4096, 4096), fov_nm=100.0, dwell_us=0.125, patterns=(Serpentine(),), frames=len(CHUNKS)
)


def run() -> dict[str, Any]:
    """Figures by chunk size: samples a second, CPU seconds per million samples, and those of plain writing."""
    figures: dict[str, Any] = {}
    planned = PlannedScan(PLAN, MICROSCOPE)
    path = planned.path(0)
    with tempfile.TemporaryDirectory() as folder:
        recording = record_plan(Path(folder) / "a.hspy", planned, keep_restorations="none")
        for frame, chunk in enumerate(CHUNKS):
            values = np.random.default_rng(frame).integers(0, 65536, (1, chunk), dtype="<u2")
            recording.begin_frame(frame, path)
            ours = _timed(
                lambda at, frame=frame, values=values: recording.write_chunk(frame, at, values, at, at, 0.0),
                path.count,
                chunk,
            )
            with (Path(folder) / "plain").open("wb", buffering=0) as plain:
                theirs = _timed(lambda first, plain=plain, values=values: plain.write(values.data), path.count, chunk)
            figures[str(chunk)] = {
                "msamples_per_s": ours[0],
                "cpu_ms_per_msample": ours[1],
                "plain_msamples_per_s": theirs[0],
                "plain_cpu_ms_per_msample": theirs[1],
            }
        recording.close()
        started = time.perf_counter()
        with Recording.open(Path(folder) / "a.hspy") as read:
            checked = read.verify()
        figures["verify_msamples_per_s"] = len(CHUNKS) * path.count / (time.perf_counter() - started) / 1e6
        figures["chunks_verified"] = checked
    _print(figures)
    return figures


def _timed(write: Any, samples: int, chunk: int) -> tuple[float, float]:
    """Million samples a second, and CPU milliseconds per million samples."""
    started, before = time.perf_counter(), os.times()
    for first in range(0, samples, chunk):
        write(first)
    after = os.times()
    cpu_s = after.user + after.system - before.user - before.system
    return samples / (time.perf_counter() - started) / 1e6, 1e9 * cpu_s / samples


def _print(figures: dict[str, Any]) -> None:
    print("recording      MSa/s   CPU ms/MSa   at 8 MSa/s     plain write: MSa/s   CPU ms/MSa")
    for chunk in CHUNKS:
        row = figures[str(chunk)]
        print(
            f"{chunk:>6} a chunk {row['msamples_per_s']:>6.0f} {row['cpu_ms_per_msample']:>10.2f}"
            f" {0.8 * row['cpu_ms_per_msample']:>10.1f} % CPU {row['plain_msamples_per_s']:>17.0f}"
            f" {row['plain_cpu_ms_per_msample']:>12.2f}"
        )
    print(f"verified {figures['chunks_verified']} chunks at {figures['verify_msamples_per_s']:.0f} MSa/s")


if __name__ == "__main__":
    run()
