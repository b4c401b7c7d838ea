"""One experiment with one seed: train, resume, and measure on held-out images as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from restore.experiments.looks import read_look, take_look, write_look
from restore.experiments.measuring import held_out_error
from restore.experiments.plans import LOOKED, WARM, Experiment, Scale, configuration
from restore.experiments.results import Point, append_point, finished, forget_after, points_of
from restore.training.checkpoint import CHECKPOINT
from restore.training.config import TrainConfig
from restore.training.images import ImageSet
from restore.training.loop import Training
from scancontrol.errors import InvalidInput

__all__ = ["is_done", "run_folder", "run_one"]

_POINTS = 8  # measurements of each run


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Where a run of an experiment keeps its stages and its measurements."""
    return out / name / f"seed-{seed}"


class _Stopwatch:
    """Processor seconds of training steps alone, measurements and start left out."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def read(self) -> float:
        return self.seconds

    def time(self, step: Callable[[], dict[str, float]]) -> dict[str, float]:
        began = time.process_time()
        row = step()
        self.seconds += time.process_time() - began
        return row


def run_one(
    experiment: Experiment,
    seed: int,
    scale: Scale,
    images: ImageSet,
    holdout_groups: tuple[str, ...],
    out: Path,
    device: str,
    stop: Callable[[], bool],
) -> bool:
    """Train to the end, or until ``stop``; returns whether it is done. Goes on from where it was left.

    Raises:
        InvalidInput: what it starts from is not there, or the disk is full.
    """
    folder = run_folder(out, experiment.name, seed)
    before = Point(experiment.name, seed, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, scale.size)
    for stage in range(len(experiment.stages)):
        config = configuration(experiment, scale, seed, holdout_groups, stage)
        if stage:
            config = msgspec.structs.replace(config, start_from=str(folder / f"stage-{stage - 1}"))
        elif experiment.after is not None:
            config = msgspec.structs.replace(
                config, start_from=str(run_folder(out, experiment.after, seed) / "stage-0")
            )
        if experiment.as_long_as is not None:
            config = _as_long_as(config, run_folder(out, experiment.as_long_as, seed))
        stopwatch = _Stopwatch()
        training = Training(config, images, folder / f"stage-{stage}", device, clock=stopwatch.read)
        if (training.out / CHECKPOINT).exists():
            training.resume()
        elif experiment.warm and scale.warm_steps and not stage:
            training.branch(run_folder(out, WARM.name, seed) / "stage-0")
        until = scale.warm_steps if experiment is WARM else _last_step(config)
        if training.steps_done < until:  # else later stages may have measured already
            forget_after(folder, before.step + training.steps_done)
        share = sum(part for _, part in experiment.stages[: stage + 1]) / sum(part for _, part in experiment.stages)
        if not _trained(training, stopwatch, until, before, share, scale.crops, stop):
            return False
        ended = before.step + training.steps_done
        before = next(point for point in points_of(folder) if point.step == ended)
    if experiment.name in LOOKED:
        write_look(folder, take_look(training, scale.look_crops))
    return True


def is_done(out: Path, experiment: Experiment, seed: int) -> bool:
    """Whether a run came to its end, and was looked at if that is meant."""
    folder = run_folder(out, experiment.name, seed)
    ended = finished(points_of(folder)) is not None
    return ended and (experiment.name not in LOOKED or read_look(folder) is not None)


def _as_long_as(config: TrainConfig, other: Path) -> TrainConfig:
    """The configuration, ended after as many processor minutes as the other run took from nothing."""
    point = finished(points_of(other))
    if point is None:
        raise InvalidInput("minutes", other, "has not come to its end", "run that experiment first")
    schedule = msgspec.structs.replace(config.schedule, minutes=point.processor_s / 60)
    return msgspec.structs.replace(config, schedule=schedule)


def _last_step(config: TrainConfig) -> int:
    last = config.schedule.last_step or config.schedule.steps
    return last - config.schedule.first_step


def _trained(
    training: Training,
    stopwatch: _Stopwatch,
    until: int,
    before: Point,
    share: float,
    crops: int,
    stop: Callable[[], bool],
) -> bool:
    """Train one stage, of whose end ``share`` of the run is done; measurements, on ``crops``, go a folder up."""
    minutes = training.config.schedule.minutes

    def done() -> float:
        return training.steps_done / until if minutes is None else training.minutes / minutes

    parameters = sum(p.numel() for p in training.network.parameters())
    measured = int(done() * _POINTS)
    while done() < 1:
        if stop():
            training.save()
            return False
        row = stopwatch.time(training.step)
        if training.curves is not None:
            training.curves.add(row, until, True)
        if done() < 1 and int(done() * _POINTS) == measured:
            continue
        measured = int(done() * _POINTS)
        if training.curves is not None:
            training.curves.flush()
        error = held_out_error(training, crops)
        start = before.done_pct
        point = Point(
            before.experiment,
            before.seed,
            before.step + training.steps_done,
            min(100.0, start + min(1.0, done()) * (100 * share - start)),
            error.lowpass_pct,
            error.both_lowpass_pct,
            error.rmse_pct,
            before.processor_s + 60 * training.minutes,
            parameters,
            before.size_px,
        )
        append_point(training.out.parent, point)
        training.save()
    return True
