"""How long each classical fill takes beside the beam, and what the restorer's process adds to it.

A frame that takes longer to fill than to scan is said to be behind the beam; ``auto`` never chooses such a fill.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import numpy as np
import torch

from restore.engine import Engine
from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from restore.restorer import trial_samples
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, expand, solve
from scancontrol.restorer import RestoredFrame, RestorerProcess, restorer_arguments

__all__ = ["run"]

_SIDES = (256, 512, 1024)
_SLOW = {"kriging": 512, "total_variation": 512}  # px: larger frames take minutes
_DWELL_US = 1.0
_FRAMES = 200


def _recipe(side: int) -> PathRecipe:
    pattern = Archimedean(coverage=CoverageGoal(value=0.05))
    return solve(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=float(side), dwell_us=_DWELL_US))


def _fills() -> list[dict[str, Any]]:
    rows = []
    print(f"fills, spiral 1/20, {torch.get_num_threads()} threads; beam at {_DWELL_US:g} µs a sample")
    print(f"{'fill':>16} {'frame':>6} {'fill ms':>10} {'beam ms':>10}")
    for side in _SIDES:
        path = expand(_recipe(side))
        for name in FILLS:
            if side > _SLOW.get(name, side):
                continue
            engine = Engine(FillRestorer(name, share=0))
            geometry = engine.register(path).geometry
            samples = trial_samples(geometry).numpy()
            times, began = [], time.perf_counter()
            while len(times) < 3 or (len(times) < 20 and time.perf_counter() - began < 1):
                started = time.perf_counter()
                engine.restore(samples, path.path_id)
                times.append(1e3 * (time.perf_counter() - started))
                if time.perf_counter() - began > 10:
                    break
            took, beam = statistics.median(times), path.duration_us / 1e3
            behind = "behind the beam" if took > beam else ""
            print(f"{name:>16} {side:>6} {took:>10.1f} {beam:>10.1f} {behind}")
            rows.append({"fill": name, "side": side, "fill_ms": took, "beam_ms": beam, "keeps_up": took <= beam})
    return rows


def _process() -> dict[str, float]:
    """Time from handing samples in to having the restoration, beyond the restorer's own computing; 512², 1/20."""
    recipe = _recipe(512)
    samples = np.random.default_rng(0).integers(0, 4000, expand(recipe).count).astype("<u2")
    done = threading.Event()
    frames: list[RestoredFrame] = []

    def on_restored(frame: RestoredFrame) -> None:
        frames.append(frame)
        done.set()

    with RestorerProcess(on_restored, arguments=restorer_arguments(method="push_pull", device="cpu")) as restorer:
        restorer.wait_ready(60)
        path_id = restorer.register(recipe)
        for frame in range(_FRAMES):
            done.clear()
            restorer.restore(frame, path_id, samples)
            if not done.wait(20):
                raise RuntimeError("the restorer did not answer")
    beyond = [frame.turnaround_ms - frame.compute_ms for frame in frames[10:]]
    figures = {
        "compute_ms_median": statistics.median(frame.compute_ms for frame in frames[10:]),
        "beyond_compute_ms_median": statistics.median(beyond),
        "beyond_compute_ms_p99": float(np.percentile(beyond, 99)),
    }
    print("process, push_pull, 512² 1/20: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return figures


def run() -> dict[str, Any]:
    """Measure; returns the rows, and the figures of the process."""
    return {"fills": _fills(), "process": _process()}
