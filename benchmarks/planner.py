"""How fast paths are planned: points per second of every pattern, the 4096² spiral, 10⁸ points in little memory, tours.

Bars: a 4096² spiral at 1/20, coverage solved and all positions expanded, in under 100 ms; 10⁸ points in bounded memory.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time

import numpy as np

from scancontrol.paths import (
    Archimedean,
    CoverageGoal,
    EdeGrid,
    EdeSpiral,
    Fermat,
    Hilbert,
    Interlaced,
    JitteredGrid,
    LineHop,
    Lissajous,
    MomentumWalk,
    PathRecipe,
    Points,
    Raster,
    Serpentine,
    Settle,
    UniformRandom,
    expand,
    solve,
    solving,
)
from scancontrol.paths import path as path_module
from scancontrol.paths.patterns import walks
from scancontrol.paths.patterns.tours import BHH, shortened, tour_length

__all__ = ["run"]

SPIRAL_BAR_MS = 100.0


def _recipe(pattern, side: int) -> PathRecipe:
    return PathRecipe(
        pattern=pattern,
        shape=(side, side),
        fov_nm=50,
        dwell_us=1,
        settle=Settle(time_constant_us=1),
        dac_bits=16,
        clock_mhz=100,
    )


def _cold() -> None:
    """Forget what earlier plans computed."""
    for cached in (solving._solve, path_module._laid, path_module._touched_pixels, walks._walked):  # noqa: SLF001
        cached.cache_clear()


def _times(function, repeats: int) -> tuple[list[float], list[float]]:
    """Wall and processor times in s, each from cold caches; they differ where others use the machine."""
    wall, processor = [], []
    for _ in range(repeats):
        _cold()
        start, used = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return wall, processor


def _patterns() -> dict[str, object]:
    goal = CoverageGoal(value=0.05)
    return {
        "raster (full)": Raster(),
        "serpentine (full)": Serpentine(),
        "interlaced (full)": Interlaced(),
        "archimedean, linear": Archimedean(coverage=goal),
        "archimedean, angular": Archimedean(coverage=goal, speed="angular"),
        "fermat": Fermat(coverage=goal),
        "jittered grid": JitteredGrid(coverage=goal),
        "momentum walk": MomentumWalk(coverage=goal),
        "line hop": LineHop(coverage=goal),
        "uniform random, curve": UniformRandom(coverage=goal, order="curve"),
        "uniform random, tour": UniformRandom(coverage=goal),
        "hilbert": Hilbert(coverage=goal),
        "lissajous": Lissajous(coverage=goal),
        "ede spiral 1/20": EdeSpiral(one_in=20),
        "ede grid 1/20": EdeGrid(),
        "points (file)": Points.from_array(np.random.default_rng(0).random((50_000, 2))),
    }


def _rates(side: int) -> list[dict]:
    rows = []
    for name, pattern in _patterns().items():
        recipe = _recipe(pattern, side)
        repeats = 1 if name == "uniform random, tour" else 3
        solve_s = min(_times(lambda recipe=recipe: solve(recipe), repeats)[1])
        solved = solve(recipe)
        expand_s = min(_times(lambda solved=solved: expand(solved).positions, repeats)[1])
        count = expand(solved).count
        rows.append(
            {
                "pattern": name,
                "points": count,
                "solve_ms": solve_s * 1e3,
                "expand_ms": expand_s * 1e3,
                "points_per_s": count / expand_s,
            }
        )
    return rows


def _spiral(repeats: int = 9) -> dict:
    recipe = _recipe(Archimedean(coverage=CoverageGoal(value=0.05)), 4096)
    wall, processor = _times(lambda: expand(recipe).positions, repeats)
    path = expand(recipe)
    return {
        "points": path.count,
        "best_ms": min(wall) * 1e3,
        "median_ms": statistics.median(wall) * 1e3,
        "processor_ms": min(processor) * 1e3,
        "bar_ms": SPIRAL_BAR_MS,
        "coverage_touched": path.coverage.touched,
    }


_LONG = """
import json, re, sys, time
from pathlib import Path
from benchmarks.planner import _long_pattern, _recipe
from scancontrol.paths import expand
name, side, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start, used = time.perf_counter(), time.process_time()
path = expand(_recipe(_long_pattern(name, count), side))
seen = sum(len(chunk) for chunk in path.chunks())
print(json.dumps({"pattern": name, "points": seen, "seconds": time.perf_counter() - start,
    "processor_s": time.process_time() - used,
    "peak_mib": int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024}))
"""


def _long_pattern(name: str, count: int):
    return {
        "raster": Raster(lines=count // 10_000, samples_per_line=10_000),
        "archimedean": Archimedean(turn_spacing_px=32768**2 / count),
        "jittered grid": JitteredGrid(points=count),
        "hilbert": Hilbert(nodes=(count // 10_000, 10_000), step_px=3.2768),
        "line hop": LineHop(points=count),
    }[name]


def _long(count: int = 100_000_000) -> list[dict]:
    """Each in a process of its own, so that the peak of its memory is its own."""
    rows = []
    for name in ("raster", "archimedean", "jittered grid", "hilbert", "line hop"):
        done = subprocess.run(
            [sys.executable, "-c", _LONG, name, "32768", str(count)], capture_output=True, text=True, check=True
        )
        rows.append(json.loads(done.stdout))
    return rows


def _longer_optimisation(points: np.ndarray, rounds: int, rng: np.random.Generator) -> float:
    """Iterated local search: cut the tour in four, join it otherwise, shorten again, keep what is better."""
    best = points[shortened(points)]
    length = tour_length(best)
    for _ in range(rounds):
        a, b, c = np.sort(rng.choice(np.arange(1, len(points) - 1), 3, replace=False))
        other = np.concatenate([best[:a], best[b:c], best[a:b], best[c:]])
        other = other[shortened(other)]
        if tour_length(other) < length:
            best, length = other, tour_length(other)
    return length


def _tours() -> list[dict]:
    rng = np.random.default_rng(0)
    rows = []
    for points, side in ((205, 64), (1024, 143), (13107, 512)):
        lengths = {}
        for order in ("curve", "tour"):
            path = expand(_recipe(UniformRandom(points=points, order=order), side))
            at = path.positions * side
            lengths[order] = tour_length(at)
        bound = BHH * math.sqrt(points * side * side)
        row = {"points": points, "curve_over_bhh": lengths["curve"] / bound, "tour_over_bhh": lengths["tour"] / bound}
        if points <= 205:
            row["tour_over_longer_search"] = lengths["tour"] / _longer_optimisation(at, 400, rng)
        rows.append(row)
    return rows


def run() -> dict:
    """Measure, print tables, return the figures."""
    spiral = _spiral()
    print(
        f"4096² spiral at 1/20, solved and expanded: {spiral['points']:,} points, best {spiral['best_ms']:.1f} ms, "
        f"median {spiral['median_ms']:.1f} ms, processor {spiral['processor_ms']:.1f} ms (bar {SPIRAL_BAR_MS:.0f} ms)\n"
    )
    rates = _rates(1024)
    print(f"{'pattern, 1024²':<24}{'points':>12}{'solve ms':>12}{'expand ms':>12}{'points/s':>14}   (processor time)")
    for row in rates:
        print(
            f"{row['pattern']:<24}{row['points']:>12,}{row['solve_ms']:>12.2f}{row['expand_ms']:>12.2f}"
            f"{row['points_per_s']:>14,.0f}"
        )
    long = _long()
    print(f"\n{'10⁸ points, chunk by chunk':<28}{'points':>14}{'s':>8}{'points/cpu s':>14}{'peak memory':>16}")
    for row in long:
        print(
            f"{row['pattern']:<28}{row['points']:>14,}{row['seconds']:>8.1f}"
            f"{row['points'] / row['processor_s']:>14,.0f}"
            f"{row['peak_mib']:>12.0f} MiB"
        )
    tours = _tours()
    print(f"\n{'random points':<16}{'curve / BHH':>14}{'tour / BHH':>14}{'tour / longer search':>24}")
    for row in tours:
        longer = row.get("tour_over_longer_search")
        print(
            f"{row['points']:<16,}{row['curve_over_bhh']:>14.3f}{row['tour_over_bhh']:>14.3f}"
            f"{f'{longer:.3f}' if longer else '-':>24}"
        )
    return {"spiral_4096": spiral, "rates": rates, "long": long, "tours": tours}


if __name__ == "__main__":
    run()
