"""``python -m restore.experiments --images MANIFEST --out DIR``: the poster's experiments, their table and figures.

Every run is a process of its own and goes on where it was left; one that fails says so, and the others go on. The
table and the figures are drawn again after each run, and without any by ``--only none``. With more processors give
``--jobs``; at full size ``--width 1 --size 512 --steps 500000 --device cuda``, and ``--only``/``--seeds`` share the
experiments out over the tasks of a Slurm array.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from restore.experiments.figures import draw_curves
from restore.experiments.plans import EXPERIMENTS, Experiment, Scale
from restore.experiments.results import gather, verdicts_table
from restore.experiments.runs import run_one
from restore.training.images import ImageSet
from restore.training.simulated import simulated_images
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.files import write_text
from scancontrol.processes.progress import progress, say_beside

__all__ = ["main"]

_UNFINISHED = 3  # exit code of a run that had to stop


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(experiment.name for experiment in EXPERIMENTS)
    parser = argparse.ArgumentParser(
        prog="python -m restore.experiments",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, the table and the figures")
    parser.add_argument("--images", type=Path, help="manifest or folder; simulated specimens if not given")
    parser.add_argument(
        "--holdout", default="", help="specimen groups to measure on, comma-separated; some if not given"
    )
    parser.add_argument("--only", nargs="+", help=f"of {names}; or none; all if not given")
    parser.add_argument("--seeds", type=int, default=3, help="of each experiment; paired between them")
    parser.add_argument("--minutes", type=float, help="end after so many; no end if not given")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--device", default="cpu", help="of each run")
    for name, of in (("width", float), ("size", int), ("steps", int)):
        parser.add_argument(f"--{name}", type=of, default=getattr(Scale(), name), help="see Scale")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    return parser


def _images(options: argparse.Namespace) -> tuple[ImageSet, tuple[str, ...]]:
    if options.images is None:
        images = simulated_images(35, 0)
        return images, tuple(options.holdout.split(",")) if options.holdout else ("simulated gold",)
    images = ImageSet.read(options.images, "train" if options.images.is_file() else None)
    if options.holdout:
        return images, tuple(options.holdout.split(","))
    groups = sorted(set(images.groups))
    return images, tuple(groups[:: max(2, len(groups) // 8)])


def _one(options: argparse.Namespace) -> int:
    """This process's run."""
    torch.set_num_threads(options.threads)
    (experiment,) = [e for e in EXPERIMENTS if e.name == options.run[0]]
    images, holdout = _images(options)
    ends = time.monotonic() + 60 * options.minutes if options.minutes is not None else float("inf")
    scale = Scale(options.width, options.size, options.steps)
    done = run_one(
        experiment,
        int(options.run[1]),
        scale,
        images,
        holdout,
        options.out,
        options.device,
        lambda: time.monotonic() > ends,
    )
    return 0 if done else _UNFINISHED


def _chosen(only: Sequence[str] | None) -> list[Experiment]:
    if only is None:
        return list(EXPERIMENTS)
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    unknown = [name for name in only if name not in known and name != "none"]
    if unknown:
        raise InvalidInput("only", unknown[0], "is no experiment", f"choose from {', '.join(known)}, or none")
    return [known[name] for name in only if name != "none"]


def _report(out: Path) -> None:
    """Table, figures and claims from what there is."""
    points = gather(out)
    draw_curves(out, points)
    write_text(out / "claims.md", verdicts_table(points))


def _all(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Every run, a few at a time."""
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(options.only)
    # All experiments of one seed before the next: whatever time is left, what there is can be compared.
    waiting = [
        (e, seed) for later in (False, True) for seed in range(options.seeds) for e in chosen if bool(e.after) == later
    ]
    began, total, failed = time.monotonic(), len(waiting), 0
    running: list[tuple[subprocess.Popen[bytes], str]] = []
    left = list(waiting)
    bar = progress(total, "runs")
    try:
        while left or running:
            spent_min = (time.monotonic() - began) / 60
            while left and len(running) < options.jobs and (options.minutes is None or spent_min < options.minutes):
                experiment, seed = left.pop(0)
                limit = [] if options.minutes is None else ["--minutes", str(options.minutes - spent_min)]
                run = ["--run", experiment.name, str(seed)]
                command = [sys.executable, "-m", "restore.experiments", *arguments, *run, *limit]
                with (options.out / f"{experiment.name}-{seed}.log").open("ab") as file:
                    process = subprocess.Popen(command, stdout=file, stderr=file)
                running.append((process, f"{experiment.name} seed {seed}"))
            if not running:
                break
            for process, name in [(process, name) for process, name in running if process.poll() is not None]:
                running.remove((process, name))
                failed += process.returncode not in (0, _UNFINISHED)
                word = {0: "done", _UNFINISHED: "has to go on later"}.get(process.returncode, "failed, see its log")
                say_beside(bar, f"{name} {word}")
                bar.update()
                _report(options.out)
            time.sleep(0.2)
    finally:
        bar.close()
        for process, _ in running:
            process.terminate()
            process.wait()
    _report(options.out)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _one(options) if options.run else _all(options, given)
    except (ScanControlError, OSError) as error:
        sys.stderr.write(f"restore.experiments: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
