"""What a network makes of fixed crops of held-out images, and how far that is from the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.generator.low_pass import low_pass
from restore.training.drawing import Batch, collate, draw_item
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.losses import reconstruction_error

__all__ = ["HeldOutError", "held_out_error", "restorations"]


@dataclass(frozen=True)
class HeldOutError:
    """Mean RMSE of crops in per cent of the truth's span."""

    lowpass_pct: float  # against the low-passed truth, as the author measures
    both_lowpass_pct: float  # both low-passed
    rmse_pct: float  # against the truth as it is


def _network(training: Training) -> Generator | Ede2020:
    """His present weights in training mode, which his code never leaves; ours averaged, as they are used."""
    return training.network.train() if isinstance(training.network, Ede2020) else training.averaged()


@torch.no_grad()
def restorations(training: Training, images: ImageSet, crops: int) -> Iterator[tuple[Batch, Tensor]]:
    """(what was drawn, restoration (1, 1, size, size) where the truth spans [0, 1]) of fixed crops.

    The crops depend on their number alone, so those of all runs with the same images are the same.
    """
    network, config = _network(training), training.config
    for number in range(crops):
        image = images.images[number % len(images)]
        rng = np.random.default_rng((99, number))
        batch = collate([draw_item(image, config.crops[0].size, config.draw, rng, training.device)])
        estimate = network(batch.mean, batch.weight, batch.distance, batch.noise)
        yield batch, batch.normalisation.invert(estimate.frame)


def held_out_error(training: Training, crops: int) -> HeldOutError:
    """How far the present weights are from the truth on held-out crops."""
    found: list[list[float]] = []
    for batch, frame in restorations(training, training.holdout, crops):
        smooth = low_pass(batch.truth)
        errors = (frame - smooth, low_pass(frame) - smooth, frame - batch.truth)
        found.append([float(reconstruction_error(error, "rms")) for error in errors])
    return HeldOutError(*(float(mean) for mean in np.mean(found, 0)))
