"""Several lattices in one field: grains, the far side of a boundary, particles on a film.

Each is sought where the strongest wave is strongest in what the others leave of the field, and grown from there into
what agrees with it; then all of them share the field out anew.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from restore.estimate.lattice.doubt import shares
from restore.estimate.lattice.fit import fit_lattice
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.peaks import find_waves, without_trend
from restore.estimate.lattice.region import at_readings, of_region, own_regions
from restore.estimate.lattice.vectors import reciprocal_pairs

__all__ = ["grains_in"]

_MOST = 3
_SMALLEST = 0.03  # of the field, for a lattice to be one
_UNTOLD = 0.08  # of the field, below which no more are sought
_FEWEST = 400  # samples in what is left, and about the place where a lattice is sought
_RADIUS = 0.1  # of the frame's smaller side, about that place, at least
_SIDES = 3.5  # of a field that tells frequencies apart as a Gaussian window of a deviation does
_WIDER = (1.0, 1.6)  # the second where too little stands out
_PLACES = 9
_LEFT = 0.5  # of the variance in its own region, above which a lattice explains nothing


def grains_in(readings: Readings) -> tuple[list[LatticeFit], Tensor]:
    """Up to three lattices, the largest first, and how far each pixel belongs to each, (lattices, rows, cols)."""
    fits: list[LatticeFit] = []
    rest = readings
    while len(fits) < _MOST and int((rest.weights > 0).sum()) >= _FEWEST:
        fit = _another(rest)
        if fit is None:
            break
        field = shares(readings, [*fits, fit])
        if float(field[-2].mean()) < _SMALLEST or _left(of_region(rest, field[-2]), fit) > _LEFT:
            break
        fits.append(fit)
        rest = of_region(readings, field[-1])
        if float(field[-1].mean()) < _UNTOLD:
            break
    if not fits:
        return [], readings.values.new_zeros(0, *readings.shape)
    fits, regions = own_regions(readings, fits)
    order = regions.mean((1, 2)).argsort(descending=True)
    return [fits[n] for n in order.tolist()], regions[order]


def _another(rest: Readings) -> LatticeFit | None:
    """The lattice of the strongest wave in the readings, if it has one."""
    values = without_trend(rest)
    strongest = find_waves(values, rest.positions, rest.shape, rest.weights, 1).frequency
    if not len(strongest):
        return None
    count = float((rest.weights > 0).sum())
    radius_px = max(_RADIUS, (_FEWEST / (2 * math.pi * count)) ** 0.5) * min(rest.shape)
    for wider in _WIDER:
        around = _where(values * rest.weights, rest, strongest[0], wider * radius_px)
        waves = find_waves(values, rest.positions, rest.shape, rest.weights * around)
        pairs = reciprocal_pairs(waves, _SIDES * wider * radius_px, 1)
        if pairs:
            return fit_lattice(rest, pairs[0], own=_own)
    return None


def _own(readings: Readings, fit: LatticeFit) -> Tensor:
    # A cell of slow harmonics leaves more at bright columns for another reason than that electrons are counted.
    found = shares(readings, [replace(fit, counting=(1.0, 0.0))], rounds=1)
    return at_readings(readings, found[-1]) < 0.5


def _where(values: Tensor, readings: Readings, frequency: Tensor, radius_px: float) -> Tensor:
    """A Gaussian window (n,) about the place where a wave (2,) has most power in values (n,)."""
    phase = 2 * math.pi * (readings.positions @ frequency)
    turned = torch.stack([values * phase.cos(), values * phase.sin()], 1)
    lines = [torch.linspace(0.15, 0.85, _PLACES, device=values.device) * n for n in readings.shape]
    places = torch.cartesian_prod(*lines)
    seen = torch.exp(-0.5 * torch.cdist(places, readings.positions).square() / radius_px**2)
    power = (seen @ turned).square().sum(1) / (seen.square() * readings.weights).sum(1).clamp_min(1e-6)
    return seen[power.argmax()]


def _left(own: Readings, fit: LatticeFit) -> float:
    """How much of the readings' variance about their level a lattice leaves; all of it, where none are its own."""
    if not len(own.values):
        return 1.0
    after = own.values - fit.at(own.positions)
    before = own.values - fit.level_at(own.positions)
    return float((own.weights * after.square()).sum() / (own.weights * before.square()).sum().clamp_min(1e-12))
