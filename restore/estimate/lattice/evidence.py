"""Whether lattices are there, said by readings that were withheld from them.

Five folds in stretches of the path: for each, lattice and process are fitted to the other four and foretell the fifth,
with the lattice and without. The share of the lattice that foretells best is used, and none of it unless the
improvement is beyond chance, stretch by stretch.

References: Wolpert 1992, Neural Networks 5, 241 (stacking: the share by least squares on withheld predictions).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.interpolation import doubled
from restore.estimate.lattice.defects import heights_in
from restore.estimate.lattice.doubt import shares
from restore.estimate.lattice.fit import refit
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.profile import Profile, profile_of
from restore.estimate.lattice.region import of_region
from restore.estimate.lattice.together import Grain, at_samples
from restore.estimate.process import spectral_start
from restore.gridding import scatter_mean

__all__ = ["Evidence", "stretches", "weigh"]

log = logging.getLogger(__name__)

_FOLDS = 5
_STRETCH = 20
_STANDARD_ERRORS = 3.0
_WHOLE = 1.0  # standard errors by which a share must be better than all of it
_LEAST_GAIN = 0.03  # of the mean squared error: networks take as much off what the process leaves


@dataclass(frozen=True)
class Evidence:
    """What withheld readings say of a lattice.

    Attributes:
        share: of the lattice that foretells them best, 0 if not beyond chance.
        rest: share of what is restored of all that the lattice leaves that foretells them best: none of mere noise.
        ratio: root mean square error with the lattice over that without.
        standard_errors: of the improvement, by stretches.
    """

    share: float
    rest: float
    ratio: float
    standard_errors: float


def stretches(count: int, device: torch.device) -> Tensor:
    """Which stretch of the path each of ``count`` samples belongs to, (count,)."""
    length = max(1, min(_STRETCH, count // (8 * _FOLDS)))
    return torch.arange(count, device=device) // length


def weigh(readings: Readings, fits: Sequence[LatticeFit], drawn: bool) -> Evidence:
    """Ask withheld readings about the lattices of a frame; those of a drawn path are withheld in stretches."""
    stretch = stretches(len(readings.values), readings.values.device)
    # On a drawn path neighbours share what they see, and are withheld together.
    fold = (stretch if drawn else torch.arange(len(stretch), device=stretch.device)) % _FOLDS
    kept = torch.stack([(fold != n).float() * readings.weights for n in range(_FOLDS)])
    profiles = [profile_of(fit.cell, fit.pair) for fit in fits]
    lattice = torch.stack([_foretelling(replace(readings, weights=weights), fits, profiles) for weights in kept])
    level = torch.stack([(readings.values * w).sum() / w.sum() for w in kept])[:, None]
    plain = level + foretold(readings, readings.values - level, kept)
    helped = lattice + foretold(readings, readings.values - lattice, kept)
    withheld = fold.expand(_FOLDS, -1) == torch.arange(_FOLDS, device=fold.device)[:, None]
    withheld = withheld & (readings.weights > 0)
    without, crystal, rest = (torch.where(withheld, p, 0.0).sum(0) for p in (plain, lattice, helped - lattice))
    counts = withheld.any(0)
    places = stretch[counts]
    error, change, rest = (readings.values - without)[counts], (crystal - without)[counts], rest[counts]
    limit = 4 * error.abs().median() * 1.4826  # one wild reading must not decide
    error = error.clamp(-limit, limit)
    # All of the lattice, and what helps of the rest; or a share of the lattice, and all of the rest.
    whole_rest = _coefficient(error - change, rest)
    whole = error - change - whole_rest * rest
    share = _coefficient(error, change + rest)
    left = error - share * (change + rest)
    better = _standard_errors(whole.square() - left.square(), places)
    if better < _WHOLE:
        share, rest_share, left = 1.0, whole_rest, whole
    else:
        rest_share = 1.0
    gain = error.square() - left.square()
    enough = _standard_errors(gain, places)
    proven = enough > _STANDARD_ERRORS and float(gain.sum() / error.square().sum().clamp_min(1e-20)) > _LEAST_GAIN
    ratio = float((left.square().sum() / error.square().sum().clamp_min(1e-20)).sqrt())
    log.debug("a share of %.2f is better than all by %.1f standard errors", share, better)
    return Evidence(share if proven else 0.0, rest_share, ratio, enough)


def _coefficient(error: Tensor, prediction: Tensor) -> float:
    """The share, 0 to 1, of a prediction (n,) that leaves least of an error (n,)."""
    return min(max(float((error * prediction).sum() / prediction.square().sum().clamp_min(1e-20)), 0.0), 1.0)


def _standard_errors(gain: Tensor, stretch: Tensor) -> float:
    """The sum of gains (n,) over its standard error, taken by stretches: neighbours on a path are alike."""
    sums = torch.zeros(int(stretch.max()) + 1, device=gain.device).index_add_(0, stretch, gain)
    return float(sums.sum() / (sums.std() * len(sums) ** 0.5).clamp_min(1e-20))


def _foretelling(readings: Readings, fits: Sequence[LatticeFit], profiles: Sequence[Profile | None]) -> Tensor:
    """The lattices with their defects, each refitted to its own part of the samples that have weight, at every one."""
    grains = []
    for fit, profile, region in zip(fits, profiles, shares(readings, fits)[:-1], strict=True):
        own = of_region(readings, region)
        refitted = refit(own, fit)
        grains.append(Grain(refitted, heights_in(own, refitted, profile), region))
    return at_samples(readings, grains)


def foretold(readings: Readings, values: Tensor, weights: Tensor) -> Tensor:
    """What the spectral process makes of values (b, n) with weights (b, n), at every sample: (b, n)."""
    rows, cols = readings.shape
    pixel = (readings.positions + 0.5).floor().long()
    index = pixel[:, 0].clamp(0, rows - 1) * cols + pixel[:, 1].clamp(0, cols - 1)
    mean, weight = scatter_mean(index.expand(len(values), -1), weights, values, rows * cols)
    spread = ((values.square() * weights).sum(1) / weights.sum(1)).sqrt().clamp_min(1e-12)[:, None]
    padding = (0, cols % 2, 0, rows % 2)
    mean, weight = (F.pad(x.reshape(-1, 1, rows, cols), padding) for x in (mean / spread, weight))
    start = spectral_start(mean, weight, area=float(rows * cols))
    full = doubled(start.estimate)[:, 0, :rows, :cols].flatten(1)
    return full[:, index] * spread
