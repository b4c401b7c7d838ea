"""Draw what a microscope would have measured: crops, paths, noise and lag, on the training device.

Each item of a batch gets its own crop, path and noise from its own random generator, which is seeded by (run seed,
step, item). So a resumed run, or one on more processes, sees exactly the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore.gridding import Normalisation, distance_to_path, scatter_mean
from restore.training.authors_paths import AUTHORS_KINDS, authors_path
from restore.training.crops import CropConfig, crop
from restore.training.faults import mildly_faulty
from restore.training.random_paths import KINDS, draw_path
from restore.training.simulated import Scene, specimen
from scancontrol.errors import InvalidInput

__all__ = ["Batch", "DrawConfig", "collate", "draw_item"]


_FIXED_PATH = 7  # seeds the path that is ever the same
_STATED_ERROR = 0.1  # standard deviation of the logarithm of a stated variance


class DrawConfig(CropConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the training data looks like. Shares are probabilities.

    Attributes:
        patterns: how often each kind of path is drawn.
        path: ``drawn`` for each item anew, or ``fixed``: ever the same one of its kind and coverage, as the poster's
            networks have; their weights by running errors mean nothing without.
        coverage_skew: 1 draws coverage log-uniformly; above 1, low coverage more often.
        subpixel_share: of scans whose values are interpolated at the exact position, not the pixel's own.
        poisson_share, electrons: of crops with counting noise, and how many a sample gets at full scale, log-uniform.
        lag_share, lag_samples: of continuous paths whose beam trails the nominal position; its longest time constant.
        fault_share: of items whose readings have a mild fault of a detector's (:mod:`restore.training.faults`).
        specimen_share: of items whose truth is a noise-free simulated specimen instead of a crop; ``specimen_…`` are
            their counting noise.
        remainder_share: of simulated crystals whose ordinary lattice is taken off truth and readings, as the
            restorer does with a lattice that it has found.
        stated_share: of items whose readings' noise is stated, as well as calibrations know it.
    """

    patterns: dict[str, float] = msgspec.field(
        default_factory=lambda: {
            "jittered": 0.32,
            "archimedean": 0.32,
            "random": 0.06,
            "grid": 0.05,
            "line_hop": 0.08,
            "fermat": 0.06,
            "angular": 0.05,
            "walk": 0.06,
        }
    )
    path: Literal["drawn", "fixed"] = "drawn"
    coverage: tuple[float, float] = (0.01, 0.2)
    coverage_skew: float = 1.0
    subpixel_share: float = 0.35
    poisson_share: float = 0.35
    electrons: tuple[float, float] = (10.0, 3000.0)
    lag_share: float = 0.2
    lag_samples: float = 2.0
    fault_share: float = 0.0
    specimen_share: float = 0.0
    specimen_poisson_share: float = 0.8
    specimen_electrons: tuple[float, float] = (0.3, 3000.0)
    remainder_share: float = 0.0
    stated_share: float = 0.6

    def __post_init__(self) -> None:
        known = (*KINDS, *AUTHORS_KINDS)
        unknown = set(self.patterns) - set(known)
        if unknown or not self.patterns or min(self.patterns.values()) < 0 or sum(self.patterns.values()) <= 0:
            raise InvalidInput(
                "patterns", self.patterns, "is no distribution over known patterns", f"use {', '.join(known)}"
            )
        low, high = self.coverage
        if not 0 < low <= high <= 1:
            raise InvalidInput("coverage", self.coverage, "is not 0 < low ≤ high ≤ 1", "give (lowest, highest)")


@dataclass(frozen=True)
class Batch:
    """One training batch on the device; images (batch, 1, rows, cols).

    ``truth`` is in units where the micrograph spans [0, 1]; ``mean`` is normalised by ``normalisation``. ``noise`` is
    what is stated of the readings' variance, normalised likewise, (batch,); NaN where nothing is.
    """

    truth: Tensor
    mean: Tensor
    weight: Tensor
    distance: Tensor
    normalisation: Normalisation
    noise: Tensor


@dataclass(frozen=True)
class _Item:
    truth: Tensor  # (size, size)
    index: Tensor
    values: Tensor
    weight: Tensor  # dwell of each sample, relative to a nominal one
    noise: float  # stated variance of a reading; NaN if none is


def _read_values(truth: Tensor, where: Tensor, exact: bool) -> Tensor:
    """The micrograph at positions (n, 2) in pixels: bilinear, or the pixel's own value."""
    size = truth.shape[0]
    if not exact:
        pixel = where.floor().long().clamp(0, size - 1)
        return truth[pixel[:, 0], pixel[:, 1]]
    at = (where / size * 2 - 1).flip(1).float()[None, None]
    return F.grid_sample(truth[None, None], at, "bilinear", "border", align_corners=False)[0, 0, 0]


def draw_item(image: Tensor, size: int, config: DrawConfig, rng: np.random.Generator, device: torch.device) -> _Item:
    """One crop, or a simulated specimen in its place, and the samples that a scan of it would have given."""
    simulated = config.specimen_share > 0 and rng.random() < config.specimen_share
    if simulated:
        scene = specimen(size, config.remainder_share, config.invert_share, rng, device)
    else:
        scene = Scene(crop(image, size, config, rng, device))
    share, electrons = config.poisson_share, config.electrons
    if simulated:
        share, electrons = config.specimen_poisson_share, config.specimen_electrons
    return _scanned(scene, config, share, electrons, rng)


def _scanned(
    scene: Scene, config: DrawConfig, poisson_share: float, electrons: tuple[float, float], rng: np.random.Generator
) -> _Item:
    truth, device, size = scene.truth, scene.truth.device, scene.truth.shape[0]
    names, shares = zip(*config.patterns.items(), strict=True)
    kind = str(rng.choice(names, p=np.array(shares) / sum(shares)))
    lowest, highest = np.log(config.coverage)
    coverage = math.exp(lowest + (highest - lowest) * rng.random() ** config.coverage_skew)
    path_rng = rng if config.path == "drawn" else np.random.default_rng(_FIXED_PATH)
    where, weight, continuous = _path(kind, size, coverage, path_rng, device)
    achieved = where
    if continuous and rng.random() < config.lag_share:
        decay = math.exp(-1 / rng.uniform(0.2, config.lag_samples))
        taps = decay ** torch.arange(12, device=device, dtype=torch.float64)
        padded = torch.cat([where[:1].expand(11, 2), where])
        achieved = F.conv1d(padded.T[:, None], (taps / taps.sum()).flip(0)[None, None])[:, 0].T
    exact = rng.random() < config.subpixel_share
    values = _read_values(truth, achieved, exact)
    noise = 0.0
    if rng.random() < poisson_share:
        per_sample = math.exp(rng.uniform(*np.log(electrons)))
        noise = (float(values.mean()) + 0.02) / per_sample
        counted = rng.poisson(values.cpu().numpy().astype(np.float64).clip(0) * per_sample + 0.02 * per_sample)
        values = (torch.from_numpy(counted).to(device) / per_sample - 0.02).float()
    if config.fault_share > 0 and rng.random() < config.fault_share:
        values = mildly_faulty(values, rng)
    if scene.lattice is not None:
        truth, values = truth - scene.lattice, values - _read_values(scene.lattice, achieved, exact)
    known = rng.random() < config.stated_share
    stated = noise * math.exp(rng.normal(0, _STATED_ERROR)) if known else math.nan
    pixel = where.floor().long().clamp(0, size - 1)
    return _Item(truth, pixel[:, 0] * size + pixel[:, 1], values, weight, stated)


def _path(
    kind: str, size: int, coverage: float, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor, bool]:
    """Positions in pixels, dwell of each sample, and whether neighbours in the path are adjacent."""
    if kind in AUTHORS_KINDS:
        where, weight = (part.to(device) for part in authors_path(kind, size, coverage))
        return where, weight, False
    where, continuous = draw_path(kind, size, coverage, rng, device)
    if len(where) < 32:
        where, continuous = draw_path("random", size, max(coverage, 0.01), rng, device)
    return where, torch.ones(len(where), device=device), continuous


def collate(items: list[_Item]) -> Batch:
    """Grid the items together: one scatter and one distance transform for the whole batch."""
    size, longest = items[0].truth.shape[0], max(len(item.index) for item in items)
    index = torch.stack([F.pad(item.index, (0, longest - len(item.index))) for item in items])
    values = torch.stack([F.pad(item.values, (0, longest - len(item.values))) for item in items])
    used = torch.stack([F.pad(item.weight, (0, longest - len(item.weight))) for item in items])
    normalisations = [Normalisation.of(item.values[None]) for item in items]
    normalisation = Normalisation(
        torch.cat([n.centre for n in normalisations]), torch.cat([n.scale for n in normalisations])
    )
    mean, weight = scatter_mean(index, used, normalisation.apply(values), size * size)
    shape = (len(items), 1, size, size)
    weight = weight.reshape(shape)
    truth = torch.stack([item.truth for item in items])[:, None]
    stated = torch.tensor([item.noise for item in items], dtype=torch.float64, device=truth.device)
    noise = (stated / normalisation.scale.square().clamp_min(1e-300)).float()
    return Batch(truth, mean.reshape(shape), weight, distance_to_path(weight > 0), normalisation, noise)
