"""What judging the readings of a frame costs, beside the same frame with every reading believed.

In the resident engine: 512 × 512 px at 1/20 of noisy particles, along paths that are each another one, and along one;
with an afterglow stated as a good detector has it. Processor time on one thread, medians over frames after the first
eight, each frame restored both ways one after the other. What is found once for a path is found when it is registered.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from benchmarks.offline.memory import PATTERNS
from restore.engine import Engine
from restore.evaluation.subjects import read_specimens
from restore.gridding import FrameGeometry
from restore.loading import load_restorer
from restore.process.memory import keep_freed_memory
from scancontrol.capabilities import DetectorChannel
from scancontrol.paths import PathRecipe, expand

_SIDE, _COVERAGE, _DWELL_US = 512, 0.05, 16.0
_DETECTOR = DetectorChannel(name="HAADF", counts_per_electron=20.0, decay_us=0.1)
_ELECTRONS = 500.0  # a sample, where it is brightest
_PASSED_OVER, _FRAMES = 8, 16
_ROWS = (("spiral", True), ("spiral", False), ("jittered", True), ("jittered", False))


def run() -> dict[str, Any]:
    """Print and return the ratio of both times, and milliseconds."""
    keep_freed_memory()  # as the process of a restorer does
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = {
            f"{pattern}, {'turned' if turned else 'one path'}": _row(pattern, turned) for pattern, turned in _ROWS
        }
    finally:
        torch.set_num_threads(threads)
    for name, row in figures.items():
        told = f"{row['judged_ms']:.0f} ms judged, {row['believed_ms']:.0f} ms believed, {row['ratio']:.2f} of it"
        print(f"{name}: {told}; registered in {row['registered_ms']:.0f} ms", flush=True)
    return figures


def _row(pattern: str, new: bool) -> dict[str, float]:
    image = read_specimens(("particles",), (_SIDE, _SIDE), 1, None)["particles"][0].pixels.astype(np.float64)
    rates = _ELECTRONS * (image - image.min()) / np.ptp(image) + 1
    random, device = np.random.default_rng(0), torch.device("cpu")
    engines = [Engine(load_restorer("generator", None, device), device, model=model) for model in (True, False)]
    took: list[list[float]] = []
    for number in range(_PASSED_OVER + _FRAMES):
        path = expand(
            PathRecipe(
                pattern=PATTERNS[pattern](number if new else 0, _COVERAGE),
                shape=(_SIDE, _SIDE),
                fov_nm=float(_SIDE),
                dwell_us=_DWELL_US,
            )
        )
        there = rates.ravel()[FrameGeometry.from_path(path).index.numpy()]
        samples = (20.0 * random.poisson(there)).astype(np.float32)
        row = []
        for engine in engines:
            began = time.process_time()
            if path.path_id not in engine:
                engine.register(path, None, _DETECTOR)
            known = time.process_time()
            engine.restore(samples, path.path_id, stream="s", frame=number)
            row += [time.process_time() - known, known - began]
        took.append(row)
    judged, registered, believed, _ = 1e3 * np.median(np.array(took)[_PASSED_OVER:], 0)
    return {
        "judged_ms": float(judged),
        "believed_ms": float(believed),
        "ratio": float(judged / believed),
        "registered_ms": float(registered),
    }
