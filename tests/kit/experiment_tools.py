"""What several tests of the poster's experiments share: points and looks made up, and a few pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from training_tools import specimens

from restore.experiments.looks import Look
from restore.experiments.results import Point


def made_up_point(experiment: str, seed: int, step: int, error: float, done_pct: float = 100.0) -> Point:
    """A measurement of a run that never was."""
    return Point(experiment, seed, step, done_pct, error, error, error + 1, 0.1 * step, 1000, 64)


def few_pictures(folder: Path) -> Path:
    """Four small pictures in two groups."""
    drawn = specimens(4)
    for number, (image, group) in enumerate(zip(drawn.images, drawn.groups, strict=True)):
        (folder / group).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(folder / group / f"{number}.png")
    return folder


def made_up_look(*, growth: float = 2.0, noise: float = 0.0, fine: float = 1.0) -> Look:
    """Squared errors are ``growth`` times as large off the path as on it, fine power ``fine`` × truth's."""
    distance = np.tile([0.0, 1.0], (32, 16)).astype(np.float32)
    grain = noise * np.random.default_rng(0).random(distance.shape)
    square = (np.where(distance > 0, growth, 1.0) + grain).astype(np.float32)
    frequency, truth = np.linspace(0.02, 0.48, 16), np.linspace(2.0, 0.1, 16)
    power = np.where(frequency > 0.25, fine * truth, truth)
    pictures = np.zeros((1, 32, 32), np.float32)
    return Look(square, square, distance, frequency, power, truth, pictures, pictures, pictures)
