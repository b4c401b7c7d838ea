"""``python -m restore.experiments --images MANIFEST --out DIR``: the poster's experiments, their table and figures.

Every run is a process of its own and goes on where it was left; one that fails says so, and the others go on. The
table is written again after each run, and with ``--only none`` the figures too, without any. With more processors give
``--jobs``; at full size ``--width 1 --size 512 --steps 500000 --device cuda``, and ``--only``/``--seeds`` share the
experiments out over the tasks of a Slurm array.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from restore.evaluation.subjects import Subject, read_micrographs, read_specimens
from restore.experiments.claims import verdicts_table
from restore.experiments.figures import draw_curves
from restore.experiments.pictures import draw_pictures
from restore.experiments.plans import EXPERIMENTS, WARM, Experiment, Scale
from restore.experiments.results import experiments_table, gather, seeds_of
from restore.experiments.runs import is_done, run_one
from restore.experiments.scans import draw_scans
from restore.training.images import ImageSet
from restore.training.simulated import simulated_images
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.files import write_text
from scancontrol.processes import logs
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
    parser.add_argument("--out", type=Path, default=Path("runs/poster"), help="of the runs, the table and the figures")
    parser.add_argument("--list", action="store_true", help="print the experiments, each with those that it needs")
    parser.add_argument("--images", type=Path, help="manifest or folder; simulated specimens if not given")
    parser.add_argument("--skip-unreadable", action="store_true", help="go on without images that cannot be used")
    parser.add_argument(
        "--holdout", default="", help="specimen groups to measure on, comma-separated; some if not given"
    )
    parser.add_argument("--only", nargs="+", help=f"of {names}; or none; all if not given")
    parser.add_argument("--seeds", type=int, default=3, help="of each experiment; paired between them")
    parser.add_argument("--minutes", type=float, help="end after so many; no end if not given")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--device", default="cpu", help="of each run")
    for name, of, what in (
        ("width", float, "of the author's channels"),
        ("size", int, "of the crops in pixels"),
        ("steps", int, "of each run"),
        ("warm-steps", int, "of them, shared by the experiments of a seed that may branch; 0 for none"),
        ("clip-decay", float, "of the moments of clipping; 0.999 is the author's"),
        ("look-crops", int, "held-out crops in a closer look at errors and pictures"),
        ("crops", int, "held-out crops in each measurement of the error"),
    ):
        parser.add_argument(f"--{name}", type=of, default=getattr(Scale(), name.replace("-", "_")), help=what)
    parser.add_argument(
        "--scans", nargs="+", metavar="SPECIMEN", help="also draw the example scans, of these or of a folder of images"
    )
    parser.add_argument("--run", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    return parser


def _images(options: argparse.Namespace) -> tuple[ImageSet, tuple[str, ...]]:
    if options.images is None:
        images = simulated_images(35, 0)
        return images, tuple(options.holdout.split(",")) if options.holdout else ("simulated gold",)
    split = "train" if options.images.is_file() else None
    images = ImageSet.read(options.images, split, skip_unreadable=options.skip_unreadable)
    if options.holdout:
        return images, tuple(options.holdout.split(","))
    groups = sorted(set(images.groups))
    return images, tuple(groups[:: max(2, len(groups) // 8)])


def _subjects(names: Sequence[str], *, skip_unreadable: bool) -> list[Subject]:
    """What the example scans are of: simulated specimens, 60 electrons counted at full signal, or micrographs."""
    if len(names) == 1 and Path(names[0]).is_dir():
        return read_micrographs(Path(names[0]), skip_unreadable=skip_unreadable)
    return [subject for found in read_specimens(names, (512, 512), 1, 60).values() for subject in found]


def _scale(options: argparse.Namespace) -> Scale:
    return Scale(
        options.width,
        options.size,
        options.steps,
        options.warm_steps,
        options.clip_decay,
        options.look_crops,
        options.crops,
    )


def _one(options: argparse.Namespace) -> int:
    """This process's run."""
    torch.set_num_threads(options.threads)
    (experiment,) = [e for e in (WARM, *EXPERIMENTS) if e.name == options.run[0]]
    images, holdout = _images(options)
    ends = time.monotonic() + 60 * options.minutes if options.minutes is not None else float("inf")
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    done = run_one(
        experiment,
        int(options.run[1]),
        _scale(options),
        images,
        holdout,
        options.out,
        options.device,
        lambda: asked.is_set() or time.monotonic() > ends,
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


def _report(out: Path, *, figures: bool) -> None:
    """Table and claims, and the figures if asked for, from what there is."""
    points = gather(out)
    write_text(out / "claims.md", verdicts_table(out, points) + "\n" + experiments_table(points, out))
    if figures:
        draw_curves(out, points)
        draw_pictures(out, seeds_of(points))


_Run = tuple[Experiment, int]


def _runs(chosen: Sequence[Experiment], seeds: int, scale: Scale) -> list[_Run]:
    """All experiments of one seed before the next: whatever time is left, what there is can be compared."""
    shared = [WARM] if any(WARM.name in experiment.needs(scale) for experiment in chosen) else []
    return [(experiment, seed) for seed in range(seeds) for experiment in (*shared, *chosen)]


def _all(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Every run, a few at a time, each after those that it needs."""
    options.out.mkdir(parents=True, exist_ok=True)
    scale = _scale(options)
    left = [run for run in _runs(_chosen(options.only), options.seeds, scale) if not is_done(options.out, *run)]
    began, failed = time.monotonic(), 0
    running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def ready(run: _Run) -> bool:
        unfinished = {(experiment.name, seed) for experiment, seed in left} | running.keys()
        return not {(name, run[1]) for name in run[0].needs(scale)} & unfinished

    bar = progress(len(left), "runs")
    try:
        while left or running:
            spent_min = (time.monotonic() - began) / 60
            in_time = options.minutes is None or spent_min < options.minutes
            if in_time and len(running) < options.jobs and (run := next(filter(ready, left), None)) is not None:
                left.remove(run)
                experiment, seed = run
                limit = [] if options.minutes is None else ["--minutes", str(options.minutes - spent_min)]
                one = ["--run", experiment.name, str(seed)]
                command = [sys.executable, "-m", "restore.experiments", *arguments, *one, *limit]
                with (options.out / f"{experiment.name}-{seed}.log").open("ab") as file:
                    running[experiment.name, seed] = subprocess.Popen(command, stdout=file, stderr=file)
                continue
            if not running:
                break
            for name, seed in [key for key, process in running.items() if process.poll() is not None]:
                code = running.pop((name, seed)).returncode
                failed += code not in (0, _UNFINISHED)
                word = {0: "done", _UNFINISHED: "has to go on later"}.get(code, "failed, see its log")
                say_beside(bar, f"{name} seed {seed} {word}")
                bar.update()
                _report(options.out, figures=False)
            time.sleep(0.2)
    finally:
        bar.close()
        for process in running.values():
            process.terminate()
            process.wait()
    _report(options.out, figures=True)
    if options.scans:
        draw_scans(options.out, _subjects(options.scans, skip_unreadable=options.skip_unreadable))
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        logs.configure("restore.experiments", verbose=True)
        if options.list:
            sys.stdout.write("".join(f"{e.name} {' '.join(sorted(e.needs(_scale(options))))}\n" for e in EXPERIMENTS))
            return 0
        return _one(options) if options.run else _all(options, given)
    except (ScanControlError, OSError) as error:
        sys.stderr.write(f"restore.experiments: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
