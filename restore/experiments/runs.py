"""One experiment with one seed: train, resume, and measure on held-out images as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from restore.experiments.plans import Experiment, Scale, configuration
from restore.experiments.results import Point, append_point, points_of
from restore.generator.low_pass import low_pass
from restore.training.checkpoint import CHECKPOINT
from restore.training.drawing import collate, draw_item
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.losses import reconstruction_error

__all__ = ["held_out_error", "run_one"]

_POINTS = 12  # measurements of each run
_CROPS = 48  # held-out crops in each


@torch.no_grad()
def held_out_error(training: Training, crops: int = _CROPS) -> tuple[float, float]:
    """Mean RMSE of the present weights in per cent on fixed crops, against low-passed truth (his way) and truth."""
    network, config = training.network.train(), training.config  # his code never leaves training mode
    found: list[tuple[float, float]] = []
    for number in range(crops):
        image = training.holdout.images[number % len(training.holdout)]
        rng = np.random.default_rng((99, number))
        batch = collate([draw_item(image, config.crops[0].size, config.draw, rng, training.device)])
        frame = batch.normalisation.invert(network(batch.mean, batch.weight, batch.distance).frame)
        errors = (frame - low_pass(batch.truth), frame - batch.truth)
        found.append((float(reconstruction_error(errors[0], "rms")), float(reconstruction_error(errors[1], "rms"))))
    smooth, raw = np.mean(found, 0)
    return float(smooth), float(raw)


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
    folder = out / experiment.name / f"seed-{seed}"
    before = 0
    for stage in range(len(experiment.stages)):
        config = configuration(experiment, scale, seed, holdout_groups, stage)
        source = folder / f"stage-{stage - 1}" if stage else None
        if experiment.after is not None and not stage:
            source = out / experiment.after / f"seed-{seed}" / "stage-0"
        if source is not None:
            config = msgspec.structs.replace(config, start_from=str(source))
        training = Training(config, images, folder / f"stage-{stage}", device)
        if (training.out / CHECKPOINT).exists():
            training.resume()
        if not _trained(training, experiment.name, seed, folder, before, stop):
            return False
        before += training.steps_done
    return True


def _trained(training: Training, name: str, seed: int, folder: Path, before: int, stop: Callable[[], bool]) -> bool:
    last = training.config.schedule.last_step or training.config.schedule.steps
    every = max(1, last // _POINTS)
    parameters = sum(p.numel() for p in training.network.parameters())
    known = {point.step for point in points_of(folder)}
    seconds, steps_before = 0.0, training.steps_done
    while training.steps_done < last:
        if stop():
            training.save()
            return False
        began = time.process_time()
        row = training.step()
        seconds += time.process_time() - began
        if training.curves is not None:
            training.curves.add(row, last, False)
        if training.steps_done % every and training.steps_done != last:
            continue
        if training.curves is not None:
            training.curves.flush()
        step = before + training.steps_done
        if step not in known:
            smooth, raw = held_out_error(training)
            per_step = seconds / (training.steps_done - steps_before)
            point = Point(name, seed, step, smooth, raw, per_step, parameters, training.config.crops[0].size)
            append_point(folder, point)
        training.save()
    return True
