"""A closer look at a trained network: where on the frame it errs, how fine its pictures are, and a few of them.

References: the poster's panels of errors over its test set, https://doi.org/10.1038/s41598-020-65261-0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from restore.evaluation import metrics
from restore.experiments.measuring import restorations
from restore.training.drawing import Batch
from restore.training.loop import Training
from restore.training.simulated import simulated_images
from scancontrol.files import writing

__all__ = ["Look", "read_look", "take_look", "write_look"]

_LOOK_FILE = "look.npz"
_SPECIMENS = 7  # simulated, of which pictures are kept: one of each kind


@dataclass(frozen=True)
class Look:
    """What a network makes of many held-out crops along one path; images (size, size), the truth's span is 1.

    ``square`` is the mean squared error of each pixel over the crops, estimate and truth low-passed; ``raw_square``
    that of both as they are. ``distance_px`` is each pixel's distance to the path. Powers are radial means over the
    crops at ``frequency`` cycles a pixel. The pictures (n, size, size) are of simulated specimens, which no network of
    the experiments is trained on; ``partial`` is NaN off the path.
    """

    square: NDArray[np.float32]
    raw_square: NDArray[np.float32]
    distance_px: NDArray[np.float32]
    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    power_truth: NDArray[np.float64]
    truth: NDArray[np.float32]
    partial: NDArray[np.float32]
    estimate: NDArray[np.float32]


def take_look(training: Training, crops: int) -> Look:
    """Restore fixed held-out crops, and as many simulated specimens up to seven, with the present weights."""
    size = training.config.crops[0].size
    squares = np.zeros((2, size, size))
    powers = np.zeros((2, size // 2))
    for batch, frame in restorations(training, training.holdout, crops):
        truth, estimate = (image[0, 0].double().cpu().numpy() for image in (batch.truth, frame))
        squares[0] += np.square(metrics.lowpass(estimate) - metrics.lowpass(truth))
        squares[1] += np.square(estimate - truth)
        for at, image in enumerate((estimate, truth)):
            frequency, power = metrics.radial_power(image, size // 2)
            powers[at] += power
        distance = batch.distance[0, 0].cpu().numpy()
    kinds = min(_SPECIMENS, crops)
    shown = [_picture(*found) for found in restorations(training, simulated_images(kinds, 0), kinds)]
    pictures = [np.stack(images) for images in zip(*shown, strict=True)]
    square, raw_square = (squares / crops).astype(np.float32)
    power, power_truth = powers / crops
    return Look(square, raw_square, distance, frequency, power, power_truth, *pictures)


def _picture(batch: Batch, frame: Tensor) -> tuple[NDArray[np.float32], ...]:
    """(truth, partial scan, restoration) of one crop, (size, size) each."""
    touched = batch.weight[0, 0].cpu().numpy() > 0
    partial = batch.normalisation.invert(batch.mean)
    truth, samples, estimate = (image[0, 0].float().cpu().numpy() for image in (batch.truth, partial, frame))
    return truth, np.where(touched, samples, np.nan), estimate


def write_look(folder: Path, look: Look) -> None:
    """Keep it beside the run's measurements.

    Raises:
        InvalidInput: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / _LOOK_FILE) as part, part.open("wb") as file:
        np.savez_compressed(file, **asdict(look))


def read_look(folder: Path) -> Look | None:
    """What was kept of a run; None if nothing was."""
    path = folder / _LOOK_FILE
    if not path.exists():
        return None
    with np.load(path) as kept:
        return Look(**{name: kept[name] for name in Look.__dataclass_fields__})
