"""What putting samples on the disk costs beside an earlier state of this project, as ratios from one alternating run.

    git worktree add /tmp/before COMMIT
    python -m benchmarks.offline.recording_before /tmp/before --called COMMIT [--rounds 9]

At 1, 10 and 100 million samples a second, in chunks of 2 ms as an acquisition writes them: processor time per million
samples in a process of its own for each state and round, one state after the other, so that whatever else the machine
does meets both alike. The ratio is that of the medians, now over before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parent.parent.parent
FRAMES = {1: (1000, 2000), 10: (1600, 2500), 100: (1600, 2500)}  # rate in MSa/s → (rows, cols) of a full raster
REPEATS = {1: 1, 10: 4, 100: 16}  # frames: enough that processor time is more than a few ticks of its clock
_CHUNK_US = 2000.0


def measure() -> dict[str, float]:
    """Processor milliseconds per million samples by rate, of whatever state this process imports."""
    import numpy as np

    from scancontrol.capabilities import Capabilities, DetectorChannel
    from scancontrol.paths import Serpentine
    from scancontrol.recording import record_plan

    try:
        from scancontrol.plan.plan import ScanPlan
        from scancontrol.plan.planned import PlannedScan
    except ImportError:  # an early state, where a plan was planned anew by each who took it
        from scancontrol.plan import ScanPlan  # type: ignore[attr-defined,no-redef]

        PlannedScan = None  # type: ignore[assignment,misc]

    microscope = Capabilities(
        name="benchmark", detectors=(DetectorChannel(name="HAADF"),), sample_clock_mhz=100.0, shortest_dwell_us=0.01
    )
    found: dict[str, float] = {}
    for rate, shape in FRAMES.items():
        plan = ScanPlan(
            name="recording",
            shape=shape,
            fov_nm=100.0,
            dwell_us=1 / rate,
            patterns=(Serpentine(),),
            frames=REPEATS[rate],
            settle=None,
        )
        if PlannedScan is None:
            arguments, path = (plan, microscope), plan.path(0, microscope)
        else:
            planned = PlannedScan(plan, microscope)
            arguments, path = (planned,), planned.path(0)
        chunk = round(rate * _CHUNK_US)
        values = np.random.default_rng(rate).integers(0, 65536, (1, chunk), dtype="<u2")
        with tempfile.TemporaryDirectory() as folder:
            recording = record_plan(Path(folder) / "a.hspy", *arguments, keep_restorations="none")  # type: ignore[arg-type]
            spent, each = 0.0, path.count // chunk * chunk
            for frame in range(plan.frames):
                recording.begin_frame(frame, path)
                began = time.process_time()
                for first in range(0, each, chunk):
                    recording.write_chunk(frame, first, values, first, first, 0.0)
                spent += time.process_time() - began
            found[str(rate)] = 1e9 * spent / (each * plan.frames)
            recording.abandon()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.recording_before", description=__doc__)
    parser.add_argument("before", type=Path, nargs="?", help="folder of the earlier state")
    parser.add_argument("--called", default="before", help="what that state is called in the results, a commit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure()))
        return 0
    states = {"before": arguments.before, "now": ROOT}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in states}
    for number in range(arguments.rounds):
        for name in states if number % 2 else reversed(states):
            environment = {**os.environ, "PYTHONPATH": str(states[name]), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, str(HERE), "--measure"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            rounds[name].append(json.loads(done.stdout))
    figures: dict[str, object] = {"before": arguments.called, "rounds": arguments.rounds}
    for rate in map(str, FRAMES):
        medians = {name: statistics.median(one[rate] for one in ones) for name, ones in rounds.items()}
        least = {name: min(one[rate] for one in ones) for name, ones in rounds.items()}
        figures[f"{rate} MSa/s"] = {
            "cpu_ms_per_msample_before": round(medians["before"], 3),
            "cpu_ms_per_msample_now": round(medians["now"], 3),
            "ratio_of_medians": round(medians["now"] / medians["before"], 3),
            "ratio_of_least": round(least["now"] / least["before"], 3),
        }
        print(f"{rate:>4} MSa/s  {figures[f'{rate} MSa/s']}")
    (ROOT / "benchmarks" / "results" / "recording-before.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
