"""Large frames in the resident engine: registering a path, a look at half of it, the frame itself, and the memory.

A jittered grid at 1/20, of the weights that a processor loads by default. ``late`` is what a watcher waits for after
the last sample of the first frame of a path, in restorations of a frame that is warm: what registering takes beyond the
scan's own time, and the frame. Times are of the processor, over all threads: with one thread (``OMP_NUM_THREADS=1``)
they are those of a quiet machine, whatever else it does. A frame above 4096 px a side is restored in tiles.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from restore.engine import Engine
from restore.generator.restorer import GeneratorRestorer
from restore.process.memory import keep_freed_memory
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve

__all__ = ["run"]

_SIDES = (2048, 4096, 8192)
_DWELL_US = 1.0
_FINEST_PX, _GRAINS = 12, 9  # of the specimen: what it is made of, in octaves


def run() -> dict[str, Any]:
    """Return the figures by side of the frame in pixels."""
    keep_freed_memory()  # as the restorer does
    print(f"jittered grid 1/20, {_DWELL_US:g} µs a sample, {torch.get_num_threads()} threads; processor seconds")
    names = ("register", "look", "frame", "warm", "register/warm", "look/warm", "frame/warm", "late/warm", "peak GB")
    print(" ".join(f"{name:>13}" for name in ("side", *names)))
    return {str(side): _figures(side, names) for side in _SIDES}


def _figures(side: int, names: tuple[str, ...]) -> dict[str, float]:
    pattern = JitteredGrid(coverage=CoverageGoal(value=0.05))
    path = expand(solve(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=float(side), dwell_us=_DWELL_US)))
    samples = _read(path.positions * side)
    engine = Engine(GeneratorRestorer.load(precision="single"))
    register = _seconds(lambda: engine.register(path))
    look = _seconds(lambda: engine.restore(samples[: path.count // 2], path.path_id))
    frame = _seconds(lambda: engine.restore(samples, path.path_id))
    warm = _seconds(lambda: engine.restore(samples, path.path_id))
    late = frame + max(0.0, register - path.duration_us / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values = (register, look, frame, warm, register / warm, look / warm, frame / warm, late / warm, peak)
    print(f"{side:>13} " + " ".join(f"{value:>13.2f}" for value in values), flush=True)
    return dict(zip(names, (round(value, 3) for value in values), strict=True))


def _read(places: np.ndarray) -> np.ndarray:
    """Readings (n,) at places (n, 2) in pixels, of a specimen that is alike at many sizes, with a little noise."""
    random = np.random.default_rng(0)
    values = 0.05 * random.normal(size=len(places))
    for octave in range(_GRAINS):
        along, phase = random.normal(size=(2, 2)), random.random(2) * 2 * np.pi
        along *= 2 * np.pi / (_FINEST_PX * 2**octave) / np.linalg.norm(along, axis=1, keepdims=True)
        values += np.sin(places @ along.T + phase).sum(1)
    return values.astype(np.float32)


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began
