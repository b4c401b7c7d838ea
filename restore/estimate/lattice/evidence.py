"""Whether a lattice is there, said by readings that were withheld from it.

Five folds in stretches of the path: for each, lattice and process are fitted to the other four and foretell the fifth,
with the lattice and without. The share of the lattice that foretells best is used, and none of it unless the
improvement is beyond chance, stretch by stretch.

References: Wolpert 1992, Neural Networks 5, 241 (stacking: the share by least squares on withheld predictions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.interpolation import doubled
from restore.estimate.lattice.defects import heights_in
from restore.estimate.lattice.fit import refit
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.profile import Profile, profile_of
from restore.estimate.process import spectral_start
from restore.gridding import scatter_mean

__all__ = ["Evidence", "stretches", "weigh"]

_FOLDS = 5
_STRETCH = 20
_STANDARD_ERRORS = 3.0
_WHOLE = 0.8
_LEAST_GAIN = 0.01  # of the mean squared error


@dataclass(frozen=True)
class Evidence:
    """What withheld readings say of a lattice.

    Attributes:
        share: of the lattice that foretells them best, 0 if not beyond chance.
        ratio: root mean square error with all of the lattice over that without.
        standard_errors: of the improvement, by stretches.
    """

    share: float
    ratio: float
    standard_errors: float


def stretches(count: int, device: torch.device) -> Tensor:
    """Which stretch of the path each of ``count`` samples belongs to, (count,)."""
    length = max(1, min(_STRETCH, count // (8 * _FOLDS)))
    return torch.arange(count, device=device) // length


def weigh(readings: Readings, fit: LatticeFit) -> Evidence:
    """Ask withheld readings about a fit."""
    stretch = stretches(len(readings.values), readings.values.device)
    fold = stretch % _FOLDS
    kept = torch.stack([(fold != n).float() * readings.weights for n in range(_FOLDS)])
    profile = profile_of(fit.cell, fit.pair)
    lattice = torch.stack([_foretelling(replace(readings, weights=weights), fit, profile) for weights in kept])
    level = torch.stack([(readings.values * w).sum() / w.sum() for w in kept])[:, None]
    plain = level + foretold(readings, readings.values - level, kept)
    helped = lattice + foretold(readings, readings.values - lattice, kept)
    withheld = fold.expand(_FOLDS, -1) == torch.arange(_FOLDS, device=fold.device)[:, None]
    withheld = withheld & (readings.weights > 0)
    without, with_it = (torch.where(withheld, p, 0.0).sum(0) for p in (plain, helped))
    counts = withheld.any(0)
    error, change = (readings.values - without)[counts], (with_it - without)[counts]
    limit = 4 * error.abs().median() * 1.4826  # one wild reading must not decide
    error = error.clamp(-limit, limit)
    share = float(((error * change).sum() / change.square().sum().clamp_min(1e-20)).clamp(0, 1))
    ratio = float(((error - change).square().sum() / error.square().sum().clamp_min(1e-20)).sqrt())
    places = stretch[counts]
    enough = _standard_errors(error.square() - (error - share * change).square(), places)
    # Folds know four fifths of the samples and no defects: what nearly all of it is best for is best with all.
    if share > _WHOLE:
        share = 1.0
    gain = 1 - (error - share * change).square().sum() / error.square().sum().clamp_min(1e-20)
    proven = enough > _STANDARD_ERRORS and float(gain) > _LEAST_GAIN
    return Evidence(share if proven else 0.0, ratio, enough)


def _foretelling(readings: Readings, fit: LatticeFit, profile: Profile | None) -> Tensor:
    """The lattice with its defects, refitted to the samples that have weight, at every sample."""
    fit = refit(readings, fit)
    heights = heights_in(readings, fit, profile)
    picture = fit.at(readings.positions)
    if heights is None:
        return picture
    return picture + heights.drawn(fit.coordinates(readings.positions), fit.amplitude_at(readings.positions))


def _standard_errors(gain: Tensor, stretch: Tensor) -> float:
    """The sum of gains (n,) over its standard error, taken by stretches: neighbours on a path are alike."""
    sums = torch.zeros(int(stretch.max()) + 1, device=gain.device).index_add_(0, stretch, gain)
    return float(sums.sum() / (sums.std() * len(sums) ** 0.5).clamp_min(1e-20))


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
