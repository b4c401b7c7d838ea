"""Large frames in the resident engine: registering a path, a look at half of it, the frame itself, and the memory.

Jittered grids at 1/20, each drawn anew, of the weights that a processor loads by default. ``late`` is what a watcher
waits for after the last sample of the first frame along a path, in restorations of a frame along a path that is known:
what registering takes beyond the scan's own time, and the frame. ``first`` is the same of the first path of its size,
for which the process gets its memory from the system. Times are of the processor, over all threads: with one thread
(``OMP_NUM_THREADS=1``) they are those of a quiet machine, whatever else it does. A frame above 4096 px a side is
restored in tiles.
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
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, ScanPath, expand, solve

__all__ = ["run"]

_SIDES = (2048, 4096, 8192)
_DWELL_US = 1.0
_FIGURES = ("restoration", "register", "look", "frame", "late", "first", "peak GB")
_FINEST_PX, _GRAINS = 12, 9  # of the specimen: what it is made of, in octaves


def run() -> dict[str, Any]:
    """Return the figures by side of the frame in pixels."""
    keep_freed_memory()  # as the restorer does
    threads = torch.get_num_threads()
    print(f"jittered grid 1/20, {_DWELL_US:g} µs a sample, {threads} threads; processor seconds, and ratios to them")
    print(" ".join(f"{name:>13}" for name in ("side", *_FIGURES)))
    return {str(side): _figures(side) for side in _SIDES}


def _figures(side: int) -> dict[str, float]:
    engine = Engine(GeneratorRestorer.load(precision="single"))
    paths = [_path(side, seed) for seed in range(2)]
    samples = [_read(path.positions * side) for path in paths]
    registered, frames = [], []
    for number, path in enumerate(paths):
        registered.append(_seconds(engine.register, path))
        if number:  # when memory has been got
            look = _seconds(engine.restore, samples[number][: path.count // 2], path.path_id)
        frames.append(_seconds(engine.restore, samples[number], path.path_id))
    warm = _seconds(engine.restore, samples[1], paths[1].path_id)
    first, late = (
        frame + max(0.0, register - path.duration_us / 1e6)
        for frame, register, path in zip(frames, registered, paths, strict=True)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ratios = (registered[1] / warm, look / warm, frames[1] / warm, late / warm, first / warm)
    values = dict(zip(_FIGURES, (warm, *ratios, peak), strict=True))
    print(f"{side:>13} " + " ".join(f"{value:>13.2f}" for value in values.values()), flush=True)
    return {name: round(value, 3) for name, value in values.items()}


def _path(side: int, seed: int) -> ScanPath:
    pattern = JitteredGrid(coverage=CoverageGoal(value=0.05), seed=seed)
    return expand(solve(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=float(side), dwell_us=_DWELL_US)))


def _read(places: np.ndarray) -> np.ndarray:
    """Readings (n,) at places (n, 2) in pixels, of a specimen that is alike at many sizes, with a little noise."""
    random = np.random.default_rng(0)
    values = 0.05 * random.normal(size=len(places))
    for octave in range(_GRAINS):
        along, phase = random.normal(size=(2, 2)), random.random(2) * 2 * np.pi
        along *= 2 * np.pi / (_FINEST_PX * 2**octave) / np.linalg.norm(along, axis=1, keepdims=True)
        values += np.sin(places @ along.T + phase).sum(1)
    return values.astype(np.float32)


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    began = time.process_time()
    call(*arguments)
    return time.process_time() - began
