"""What a frame costs that is restored with the memory of those before it, beside the same frame restored alone.

In the resident engine: 512 × 512 px at 1/20, K = 4, a specimen that drifts by 1.5 px a frame; processor time on one
thread, medians over frames once the memory is full, each frame restored both ways one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from benchmarks.offline.memory import MARGIN, PATTERNS
from restore.engine import Engine
from restore.evaluation.subjects import read_specimens
from restore.generator.carried import LOOKS_EVERY
from restore.gridding import FrameGeometry
from restore.loading import load_restorer
from restore.process.memory import keep_freed_memory
from scancontrol.paths import PathRecipe, ScanPath, expand

_SIDE, _COVERAGE, _KEPT, _DRIFT_PX = 512, 0.05, 4, 1.5
_FRAMES = 12  # that are measured: four times those between two that the networks look at
_ROWS = (("particles", "spiral"), ("film", "jittered"))


def scanned(whole: NDArray[np.float64], pattern: str, number: int) -> tuple[ScanPath, NDArray[np.float32]]:
    """The path of a frame, and what it reads of a specimen that has moved since the first one."""
    recipe = PathRecipe(
        pattern=PATTERNS[pattern](number, _COVERAGE), shape=(_SIDE, _SIDE), fov_nm=float(_SIDE), dwell_us=1.0
    )
    path = expand(recipe)
    moved = number * _DRIFT_PX * np.array([np.sin(0.7), -np.cos(0.7)])
    at = FrameGeometry.from_path(path).places.numpy() - moved + MARGIN
    return path, map_coordinates(whole, at.T, order=1, mode="nearest").astype(np.float32)


def _seconds(restored: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = restored()
    return time.process_time() - began, found


def run() -> dict[str, Any]:
    """Print and return milliseconds of processor time a frame, alone and following, and their ratio."""
    keep_freed_memory()  # as the process of a restorer does
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    figures = {}
    try:
        for specimen, pattern in _ROWS:
            alone, following = _row(specimen, pattern)
            between = [ms for ms, looked in following if not looked]
            looked = [ms for ms, looked in following if looked]
            single = float(np.median(alone))
            row = {name: float(np.median(ms)) / single for name, ms in (("looked", looked), ("between", between))}
            row |= {"ratio": (row["looked"] + (LOOKS_EVERY - 1) * row["between"]) / LOOKS_EVERY, "alone_ms": single}
            figures[f"{specimen}, {pattern}"] = row
            print(
                f"{specimen}, {pattern}: alone {single:.0f} ms; following {row['ratio']:.2f} of it "
                f"({row['looked']:.2f} where the networks look, {row['between']:.2f} where they do not)",
                flush=True,
            )
    finally:
        torch.set_num_threads(threads)
    return figures


def _row(specimen: str, pattern: str) -> tuple[list[float], list[tuple[float, bool]]]:
    across = _SIDE + 2 * MARGIN
    whole = read_specimens((specimen,), (across, across), 1, None)[specimen][0].pixels.astype(np.float64)
    device = torch.device("cpu")
    single, remembering = (
        Engine(load_restorer("generator", None, device), device, memory=memory) for memory in (1, _KEPT)
    )
    network = remembering.restorer._network.network  # type: ignore[attr-defined]  # noqa: SLF001 - to see when it looks
    looks: list[int] = []
    network.outer.register_forward_hook(lambda *_: looks.append(1))
    alone, following = [], []
    for number in range(_KEPT + 2 + _FRAMES):
        path, samples = scanned(whole, pattern, number)
        for engine in (single, remembering):
            engine.register(path)
        took, _ = _seconds(lambda: single.restore(samples, path.path_id, stream="s", frame=number))  # noqa: B023
        looks.clear()
        took_more, _ = _seconds(lambda: remembering.restore(samples, path.path_id, stream="s", frame=number))  # noqa: B023
        if number >= _KEPT + 2:
            alone.append(1e3 * took)
            following.append((1e3 * took_more, bool(looks)))
    return alone, following
