"""A quick look at the error on held-out specimens while training goes on. Reported figures come from evaluation."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from restore.estimate.process import spectral_start
from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.generator.low_pass import low_pass
from restore.training.drawing import DrawConfig, collate, draw_item
from restore.training.images import ImageSet
from restore.training.losses import reconstruction_error

__all__ = ["validate"]

_SETTINGS = (("jittered", 0.05), ("jittered", 0.01), ("archimedean", 0.05), ("archimedean", 0.01))
_MOST_IMAGES = 8


@torch.no_grad()
def validate(network: Generator | Ede2020, images: ImageSet, device: torch.device) -> dict[str, float]:
    """Mean ``rmse_lowpass`` in per cent on noiseless scans of fixed seeds, per path and coverage.

    ``…_pct`` is the network's, ``…_start`` that of the low-passed spectral start which it corrects (of the author's
    networks, which have none: of its first guess, the fill).
    """
    chosen = np.linspace(0, len(images) - 1, min(_MOST_IMAGES, len(images))).round().astype(int)
    found: dict[str, float] = {}
    own = network.config.spectral_iterations if isinstance(network, Generator) else (0, 0)
    for kind, coverage in _SETTINGS:
        draw = DrawConfig(
            patterns={kind: 1.0},
            coverage=(coverage, coverage),
            subpixel_share=0,
            poisson_share=0,
            lag_share=0,
            zoom_share=0,
            gamma_share=0,
            invert_share=0,
        )
        errors: list[float] = []
        starts: list[float] = []
        for index in chosen:
            image = images.images[index]
            size = min(image.shape) // 32 * 32
            batch = collate([draw_item(image, size, draw, np.random.default_rng((7, int(index))), device)])
            estimate = network(batch.mean, batch.weight, batch.distance).frame
            start = spectral_start(batch.mean, batch.weight, iterations=own)
            plain = low_pass(F.interpolate(start.estimate, scale_factor=2, mode="bicubic", align_corners=False))
            for frame, into in ((estimate, errors), (plain, starts)):
                error = batch.normalisation.invert(frame) - low_pass(batch.truth)
                into.append(float(reconstruction_error(error, "rms")))
        name = f"{kind}_1/{round(1 / coverage)}"
        found[name + "_pct"], found[name + "_start"] = float(np.mean(errors)), float(np.mean(starts))
    return found
