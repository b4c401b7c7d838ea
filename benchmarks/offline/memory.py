"""Frames that remember, beside single frames: error against the number of frames, the pattern, the coverage, the drift.

python -m benchmarks.offline.memory --frames 1 2 4 8 --drift 0 1.5

Specimens are noise-free and known under the whole way that the field drifts; with ``--images`` crops of micrographs.
For each row the drift is measured (``found``), given (``true``) or taken to be none (``ignored``). Errors are root mean
squares over the last frames (of a step, from it on) against the truth as it is, in per cent of its range; they are
means over the specimens.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from restore.estimate.drift import Drift
from restore.estimate.stream import Stream
from restore.evaluation.subjects import read_micrographs, read_specimens
from restore.gridding import FrameGeometry
from restore.loading import load_restorer
from restore.restorer import Restorer
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand

MARGIN = 64  # px that the field may drift over
_LAST = 3  # frames that are judged, once the memory is full
_SPECIMENS = ("hexagonal-20px", "two_species-16px", "particles", "film")

Field = NDArray[np.float64]


def _spiral(frame: int, coverage: float) -> Any:
    return Archimedean(coverage=CoverageGoal(value=coverage), turn_deg="golden").for_frame(frame)


def _jittered(frame: int, coverage: float) -> Any:
    return JitteredGrid(coverage=CoverageGoal(value=coverage), seed=1, seed_per_frame=True).for_frame(frame)


PATTERNS: dict[str, Callable[[int, float], Any]] = {"spiral": _spiral, "jittered": _jittered}


def _along(way: Field) -> Field:
    return way[:, None] * np.array([np.sin(0.7), -np.cos(0.7)])


_WAYS: dict[str, Callable[[int], Field]] = {
    "constant": lambda frames: _along(np.arange(float(frames))),
    "creep": lambda frames: _along(4 * -np.expm1(-np.arange(frames) / 4.0)),
    "step": lambda frames: _along(10.0 * (np.arange(frames) >= frames - _LAST)),
    "vibration": lambda frames: np.random.default_rng(3).normal(0, 0.33, (frames, 2)),
}
"""Where the specimen is in each frame, (frames, 2), for a drift of 1 px a frame at first; a step of 10 px."""


class _Given(Stream):
    """A memory that is told the way."""

    def __init__(self, frames: int, way: Field) -> None:
        super().__init__(frames)
        self._given = way

    def _measure(self, number: int, *_: Any) -> Drift:
        y, x = self._given[number] - self._given[self._newest]
        return Drift(float(y), float(x), 0.01, 1.0)


@dataclass(frozen=True)
class Run:
    """Figures of one memory over one specimen."""

    error_pct: float
    held_pct: float  # of the pixels, by the interval
    off_px: tuple[float, ...]  # of each drift that was measured


def follow(stream: Stream, restorer: Restorer, whole: Field, pattern: str, coverage: float, way: Field) -> Run:
    """Scan and restore a frame at each place (y, x) in pixels of the specimen's way, (frames, 2); judge the last."""
    side = whole.shape[0] - 2 * MARGIN
    errors, held, off = [], [], []
    y, x = np.mgrid[:side, :side].astype(float)
    for number, moved in enumerate(way):
        path = expand(
            PathRecipe(
                pattern=PATTERNS[pattern](number, coverage), shape=(side, side), fov_nm=float(side), dwell_us=1.0
            )
        )
        geometry = FrameGeometry.from_path(path)
        at = (geometry.places.numpy() - moved + MARGIN).T
        values = torch.from_numpy(map_coordinates(whole, at, order=1).astype(np.float32))
        recalled = stream.recall(number, values, geometry)
        found = restorer.restore(recalled.values, recalled.geometry, None, recalled.before)
        stream.keep(recalled, found)
        found = recalled.told(found)
        if number >= len(way) - _LAST:
            truth = map_coordinates(whole, [y - moved[0] + MARGIN, x - moved[1] + MARGIN], order=1)
            low, high = np.percentile(truth, (0.1, 99.9))
            miss = found.estimate.numpy() - truth
            errors.append(100 * float(np.sqrt(np.mean(np.square(miss)))) / (high - low))
            if found.interval is not None:
                held.append(100 * float(np.mean(np.abs(miss) <= found.interval.numpy())))
        if recalled.drift is not None:
            step = moved - way[number - 1]
            off.append(float(np.hypot(recalled.drift.y_px - step[0], recalled.drift.x_px - step[1])))
    return Run(float(np.mean(errors)), float(np.mean(held)) if held else float("nan"), tuple(off))


def _wholes(images: Path | None, side: int, count: int) -> list[Field]:
    across = side + 2 * MARGIN
    if images is None:
        found = read_specimens(_SPECIMENS[:count], (across, across), 1, None)
        return [subjects[0].pixels.astype(np.float64) for subjects in found.values()]
    large = [subject.pixels for subject in read_micrographs(images) if min(subject.pixels.shape) >= across]
    chosen = large[:: max(1, len(large) // count)][:count]
    return [image[:across, :across].astype(np.float64) for image in chosen]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of micrographs in place of specimens")
    parser.add_argument("--count", type=int, default=4, help="specimens or micrographs")
    parser.add_argument("--side", type=int, default=256, help="of the field, in pixels")
    parser.add_argument("--method", default="auto", help="what restores")
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 2, 4, 8], help="frames of a picture")
    parser.add_argument("--drift", type=float, nargs="+", default=[0.0, 1.5], help="px a frame")
    parser.add_argument("--motion", choices=_WAYS, default="constant", help="how it drifts")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.05, 0.01])
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    options = parser.parse_args(arguments)
    restorer = load_restorer(options.method, None, torch.device("cpu"))
    wholes = _wholes(options.images, options.side, options.count)
    print(
        "| pattern | coverage | drift px | frames | drift is | error % | interval holds % | drift off px, p50 / p95 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for pattern in options.patterns:
        for coverage in options.coverage:
            for drift in options.drift:
                for frames in options.frames:
                    _rows(restorer, wholes, pattern, coverage, drift, frames, options.motion)


def _rows(
    restorer: Restorer,
    wholes: Sequence[Field],
    pattern: str,
    coverage: float,
    drift: float,
    frames: int,
    motion: str = "constant",
) -> None:
    way = _WAYS[motion](frames + _LAST - 1) * drift
    way = way - (way.min(0) + way.max(0)) / 2
    memories: dict[str, Callable[[], Stream]] = {"found": lambda: Stream(frames)}
    if frames > 1:
        memories["true"] = lambda: _Given(frames, way)
        if drift:
            memories["ignored"] = lambda: _Given(frames, 0 * way)
    for name, memory in memories.items():
        with torch.inference_mode():
            runs = [follow(memory(), restorer, whole, pattern, coverage, way) for whole in wholes]
        off = [each for run in runs for each in run.off_px]
        told = f"{np.median(off):.2f} / {np.quantile(off, 0.95):.2f}" if off and name == "found" else ""
        error, held = np.mean([run.error_pct for run in runs]), np.mean([run.held_pct for run in runs])
        shown = name if frames > 1 else ""
        print(
            f"| {pattern} | 1/{1 / coverage:g} | {drift:g} | {frames} | {shown} | {error:.2f} | {held:.0f} | {told} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
