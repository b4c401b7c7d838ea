"""An adaptive frame beside one pass, and beside two uniform passes of as many samples.

python -m benchmarks.offline.adaptive --images VALIDATION --count 12

A share of the samples (half) on a jittered grid, restored; the others where the interval times the distance to the path
is largest, in a short tour, as many as fit into the time of one pass. Errors are root mean squares against the truth
as it is, in per cent of its range; times are those of the beam, as the planner counts them, with every blanked move
settled (coils of ``--tau`` µs).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from restore.evaluation.subjects import STANDARD_SPECIMENS, Subject, read_micrographs, read_specimens
from restore.gridding import FrameGeometry
from restore.loading import load_restorer
from restore.restorer import Restoration, Restorer
from scancontrol.paths import JitteredGrid, PathRecipe, Points, ScanPath, Settle, expand
from scancontrol.paths.adaptive import second_pass

_DWELL_US = 4.0


def _path(points: NDArray[np.float64] | JitteredGrid, side: int, tau_us: float) -> ScanPath:
    pattern = points if isinstance(points, JitteredGrid) else Points.from_array(points)
    settle = Settle(time_constant_us=tau_us)
    return expand(
        PathRecipe(pattern=pattern, shape=(side, side), fov_nm=float(side), dwell_us=_DWELL_US, settle=settle)
    )


def _restored(restorer: Restorer, subject: Subject, path: ScanPath) -> Restoration:
    geometry = FrameGeometry.from_path(path)
    index = np.minimum((path.positions * path.shape).astype(np.int64), np.array(path.shape) - 1)
    values = subject.read(index[:, 0] * path.shape[1] + index[:, 1])
    with torch.inference_mode():
        return restorer.restore(torch.from_numpy(values.astype(np.float32)), geometry, None, None)


def _error_pct(found: Restoration, truth: NDArray[np.float32]) -> float:
    low, high = np.percentile(truth, (0.1, 99.9))
    return 100 * float(np.sqrt(np.mean(np.square(found.estimate.numpy() - truth)))) / float(high - low)


def compare(
    restorer: Restorer, subject: Subject, coverage: float, tau_us: float, share: float, powers: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """Error in per cent and beam time in ms of each way to spend the same samples."""
    side = subject.pixels.shape[0]
    count = round(coverage * side * side)
    begun = round(share * count)
    first = _path(JitteredGrid(points=begun, seed=1), side, tau_us)
    other = _path(JitteredGrid(points=count - begun, seed=2), side, tau_us)
    whole = _path(JitteredGrid(points=count, seed=1), side, tau_us)
    survey = _restored(restorer, subject, first)
    found = {"one pass": (_error_pct(_restored(restorer, subject, whole), subject.pixels), whole.duration_us / 1e3)}

    def add(name: str, second: ScanPath) -> None:
        both = _path(np.concatenate([first.positions, second.positions]), side, tau_us)
        time_ms = (first.duration_us + second.duration_us) / 1e3
        found[name] = (_error_pct(_restored(restorer, subject, both), subject.pixels), time_ms)

    add("two uniform passes", other)
    if survey.interval is None:
        raise SystemExit("what restores gives no interval: nothing to adapt to")
    interval, room_us = survey.interval.numpy(), whole.duration_us - first.duration_us
    for power in powers:
        left, second = count - begun, other
        for _ in range(3):  # as many samples as fit into the time of one pass
            second = _path(second_pass(interval, first.positions, left, power=power, seed=3), side, tau_us)
            left = min(left, int(left * room_us / second.duration_us))
        add(f"adaptive, power {power:g}", second)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of micrographs in place of specimens")
    parser.add_argument("--count", type=int, default=4, help="specimens or micrographs")
    parser.add_argument("--side", type=int, default=256, help="of the field, in pixels")
    parser.add_argument("--coverage", type=float, nargs="+", default=[0.05])
    parser.add_argument("--tau", type=float, default=1.0, help="time constant of the coils, µs")
    parser.add_argument("--share", type=float, default=0.5, help="of the samples that are spent uniformly first")
    parser.add_argument("--powers", type=float, nargs="+", default=[1.0])
    parser.add_argument("--method", default="auto", help="what restores")
    options = parser.parse_args(arguments)
    restorer = load_restorer(options.method, None, torch.device("cpu"))
    side = options.side
    if options.images is None:
        kinds = read_specimens(STANDARD_SPECIMENS[: options.count], (side, side), 1, None)
        subjects = [found[0] for found in kinds.values()]
    else:
        cut = (each for each in read_micrographs(options.images, options.count) if min(each.pixels.shape) >= side)
        subjects = [Subject(each.name, each.modality, each.pixels[:side, :side].copy()) for each in cut]
    for coverage in options.coverage:
        rows = [
            compare(restorer, subject, coverage, options.tau, options.share, options.powers) for subject in subjects
        ]
        print(f"\ncoverage 1/{1 / coverage:g}, {side} x {side}, {len(subjects)} subjects")
        for subject, row in zip(subjects, rows, strict=True):
            print(f"{subject.name[:28]:28} " + "  ".join(f"{error:6.2f}" for error, _ in row.values()))
        print("| way | error % | ratio of means | median ratio | beam ms |\n|---|---|---|---|---|")
        for name in rows[0]:
            errors, base = np.array([[row[name][0], row["one pass"][0]] for row in rows]).T
            time_ms = np.mean([row[name][1] for row in rows])
            ratio, median = errors.mean() / base.mean(), np.median(errors / base)
            print(f"| {name} | {errors.mean():.2f} | {ratio:.3f} | {median:.3f} | {time_ms:.1f} |", flush=True)


if __name__ == "__main__":
    main()
