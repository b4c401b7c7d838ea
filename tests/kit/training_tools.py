"""Small specimens and runs for the training tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from restore.generator.presets import GeneratorConfig
from restore.training.config import Crop, OptimiserConfig, ScheduleConfig, TrainConfig
from restore.training.drawing import DrawConfig
from restore.training.images import ImageSet
from restore.training.loop import Training
from restore.training.losses import LossConfig

TINY = GeneratorConfig(widths=(8, 8), inner_blocks=(0, 1), outer_blocks=1, spectral_iterations=(2, 2))


def specimens(count: int = 6, size: int = 96) -> ImageSet:
    """Lattices of different periods in three groups, with particles."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]

    def one(n: int) -> np.ndarray:
        turn = 2 * np.pi / (7 + n)
        image = np.cos(turn * x) + np.cos(turn * y + n)
        for cy, cx, radius in rng.uniform(10, size - 10, (4, 3)):
            image += 2.0 * ((y - cy) ** 2 + (x - cx) ** 2 < (radius / 6) ** 2)
        return image

    return ImageSet.of((one(n), f"group{n % 3}", f"image{n}") for n in range(count))


def tiny(**changes: object) -> TrainConfig:
    """A run of a few seconds."""
    settings: dict[str, object] = {
        "generator": TINY,
        "crops": (Crop(size=64, batch=2),),
        "schedule": ScheduleConfig(kind="constant", steps=20, warmup_steps=5),
        "optimiser": OptimiserConfig(learning_rate=2e-3),
        "draw": DrawConfig(coverage=(0.05, 0.2)),
        "seed": 3,
    }
    return TrainConfig(**(settings | changes))  # type: ignore[arg-type]


def run_of(config: TrainConfig, out: Path, **world: int) -> Training:
    """A fresh training on the specimens."""
    torch.set_num_threads(1)
    return Training(config, specimens(), out, **world)


__all__ = ["TINY", "LossConfig", "run_of", "specimens", "tiny"]
