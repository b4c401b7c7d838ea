"""An hour of frames that remember: whether error, grey levels, time or memory of the process change with time.

python -m benchmarks.offline.memory_hour --frames 14400

A specimen without noise is carried round a circle, so that it moves by the same way in each frame and never leaves the
field. One line is printed for each so many frames: mean error and mean deviation of the grey level, in per cent of the
truth's range; drift's error; milliseconds a frame; memory of the process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from benchmarks.offline.memory import PATTERNS
from restore.engine import Engine
from restore.evaluation.subjects import read_specimens
from restore.loading import load_restorer
from scancontrol.daemon.snapshot import rss_bytes
from scancontrol.paths import PathRecipe, expand

_MARGIN = 48
_RADIUS_PX = 40.0
_PATHS = 16  # that are taken in turn


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each stretch of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=14_400, help="an hour of four frames a second")
    parser.add_argument("--every", type=int, default=500, help="frames of a line")
    parser.add_argument("--side", type=int, default=128, help="of the field, in pixels")
    parser.add_argument("--memory", type=int, default=4, help="frames of a picture")
    parser.add_argument("--drift", type=float, default=0.5, help="px a frame")
    parser.add_argument("--coverage", type=float, default=0.05)
    parser.add_argument("--pattern", choices=PATTERNS, default="spiral")
    parser.add_argument("--specimen", default="particles")
    options = parser.parse_args(arguments)
    side, across = options.side, options.side + 2 * _MARGIN
    whole = read_specimens([options.specimen], (across, across), 1, None)[options.specimen][0].pixels.astype(float)
    low, high = np.percentile(whole, (0.1, 99.9))
    engine = Engine(load_restorer("auto", None, torch.device("cpu")), memory=options.memory)
    paths = [
        expand(
            PathRecipe(
                pattern=PATTERNS[options.pattern](number, options.coverage),
                shape=(side, side),
                fov_nm=float(side),
                dwell_us=1.0,
            )
        )
        for number in range(_PATHS)
    ]
    for path in paths:
        engine.register(path)
    y, x = np.mgrid[:side, :side].astype(float)
    print("| frames | error % | worst % | grey level off % | drift off px | began anew | ms a frame | process MB |")
    print("|---|---|---|---|---|---|---|---|")
    errors, levels, off, forgot, began = list[float](), list[float](), list[float](), 0, time.perf_counter()
    before = np.zeros(2)
    for frame in range(options.frames):
        turn = options.drift * frame / _RADIUS_PX
        moved = _RADIUS_PX * np.array([np.sin(turn), np.cos(turn)])
        path = paths[frame % _PATHS]
        at = (path.positions * side - 0.5 - moved + _MARGIN).T
        samples = map_coordinates(whole, at, order=1).astype(np.float32)
        found = engine.restore(samples, path.path_id, stream="hour", frame=frame)
        truth = map_coordinates(whole, [y - moved[0] + _MARGIN, x - moved[1] + _MARGIN], order=1)
        miss = (found.estimate.numpy() - truth) / (high - low) * 100
        errors.append(float(np.sqrt(np.mean(np.square(miss)))))
        levels.append(float(miss.mean()))
        if found.made_by.drift_px is not None:
            off.append(float(np.hypot(*(np.array(found.made_by.drift_px) - (moved - before)))))
        forgot += found.made_by.forgotten == 1
        before = moved
        if len(errors) == 10 == frame + 1 or (frame + 1) % options.every == 0:
            ms = 1e3 * (time.perf_counter() - began) / len(errors)
            print(
                f"| {frame + 1} | {np.mean(errors):.2f} | {max(errors):.2f} | {np.mean(levels):+.3f} | "
                f"{np.median(off):.2f} | {forgot} | {ms:.0f} | {(rss_bytes() or 0) / 1e6:.0f} |",
                flush=True,
            )
            errors, levels, off, forgot, began = [], [], [], 0, time.perf_counter()


if __name__ == "__main__":
    main()
