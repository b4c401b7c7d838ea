"""A quick look at the error on held-out specimens while training goes on. Reported figures come from evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from restore.estimate.process import spectral_start
from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.training.drawing import DrawConfig, collate, draw_item
from restore.training.images import ImageSet
from restore.training.losses import reconstruction_error

__all__ = ["validate"]

_SETTINGS = (("jittered", 0.05), ("jittered", 0.01), ("archimedean", 0.05), ("archimedean", 0.01))
_MOST_IMAGES = 8
_SPECIMENS = 8
_SPECIMEN_SIDE = 256


@torch.no_grad()
def validate(network: Generator | Ede2020, images: ImageSet, device: torch.device) -> dict[str, float]:
    """Mean root mean square error in per cent, per path and coverage: of micrographs, and of noise-free specimens.

    Micrographs (``jittered_1/20_pct``) are scanned without further noise, specimens (``specimens_jittered_1/20_pct``)
    with 60 electrons a sample at full scale; both with fixed seeds. ``…_pct`` is the network's error, ``…_start``
    that of the spectral start which it corrects (of the author's networks, which have none: of half-size push–pull).
    """
    found: dict[str, float] = {}
    own = network.config if isinstance(network, Generator) else None
    for kind, coverage in _SETTINGS:
        name = f"{kind}_1/{round(1 / coverage)}"
        for prefix, items in (("", _micrographs), ("specimens_", _specimens)):
            errors: list[float] = []
            starts: list[float] = []
            for image, size, draw, seed in items(images, kind, coverage):
                batch = collate([draw_item(image, size, draw, np.random.default_rng(seed), device)])
                frame = network(batch.mean, batch.weight, batch.distance, batch.noise).frame
                iterations = (own.spectral_iterations, own.full_iterations) if own else ((0, 0), ())
                start = spectral_start(batch.mean, batch.weight, None, *iterations)
                for estimate, into in ((frame, errors), (start.full, starts)):
                    error = batch.normalisation.invert(estimate) - batch.truth
                    into.append(float(reconstruction_error(error, "rms")))
            found[f"{prefix}{name}_pct"] = float(np.mean(errors))
            found[f"{prefix}{name}_start"] = float(np.mean(starts))
    return found


_Drawn = Iterator[tuple[torch.Tensor, int, DrawConfig, tuple[int, int]]]


def _micrographs(images: ImageSet, kind: str, coverage: float) -> _Drawn:
    """(image, size, what is drawn of it, seed) of some held-out images: crops as they are."""
    draw = DrawConfig(
        patterns={kind: 1.0},
        coverage=(coverage, coverage),
        subpixel_share=0,
        poisson_share=0,
        lag_share=0,
        zoom_share=0,
        stated_share=0,
        gamma_share=0,
        invert_share=0,
    )
    for index in np.linspace(0, len(images) - 1, min(_MOST_IMAGES, len(images))).round().astype(int):
        image = images.images[index]
        yield image, min(image.shape) // 32 * 32, draw, (7, int(index))


def _specimens(_: ImageSet, kind: str, coverage: float) -> _Drawn:
    draw = DrawConfig(
        patterns={kind: 1.0},
        coverage=(coverage, coverage),
        subpixel_share=0,
        lag_share=0,
        invert_share=0,
        specimen_share=1,
        stated_share=1,
        specimen_poisson_share=1,
        specimen_electrons=(60, 60),
    )
    nothing = torch.zeros(_SPECIMEN_SIDE, _SPECIMEN_SIDE, dtype=torch.uint8)
    for seed in range(_SPECIMENS):
        yield nothing, _SPECIMEN_SIDE, draw, (8, seed)
