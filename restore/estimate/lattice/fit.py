"""A lattice fitted to samples, from two reciprocal vectors that are about right.

A bent lattice is found from a straight one by letting go slowly: where it is strongest first, an affine map and slow
harmonics only; then the window grows, control points may bend, and faster harmonics join. At each step the lattice is
known to less than half a period a little beyond what was fitted, so that it does not slip by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from restore.estimate.lattice.cell import Cell, harmonics_of
from restore.estimate.lattice.model import Deviations, LatticeFit, Readings
from restore.estimate.lattice.rounds import CURVATURE, Rounds

__all__ = ["fit_lattice", "refit"]

_LEVEL_POINTS, _AMPLITUDE_POINTS, _DISPLACEMENT_POINTS = 12, 8, 7
_PERIODS = 3.0  # between control points, at least
_SAMPLES = 16.0  # to a control point, at least
_WINDOWS = (0.2, 0.3, 0.42, 0.6, 0.8, 1.1, 2.0)  # deviations of the growing window, of the frame's smaller side
_SMALL = (0.1, 0.14)  # with these it begins where it may be a small part of the frame
_FEWEST_SEEN = 400.0
_FEWEST_TO_REFIT = 50
_ENOUGH = 6000  # samples with which the window grows
_STRAIGHT = 1e-6  # curvature of none
_PLACES = 9

Own = Callable[[Readings, LatticeFit], Tensor]


def _points(readings: Readings, pair: Tensor, most: int) -> int:
    """Control points along a side: at least three periods and some samples apart, at most so many."""
    apart = _PERIODS / float(pair.norm(dim=1).min())
    by_samples = (float((readings.weights > 0).sum()) / _SAMPLES) ** 0.5
    return max(4, min(most, int(min(readings.shape) / apart) + 3, int(by_samples)))


def fit_lattice(
    readings: Readings, pair: Tensor, points: int = _DISPLACEMENT_POINTS, own: Own | None = None
) -> LatticeFit:
    """Fit a lattice near the reciprocal vectors ``pair`` (2, 2), cycles per pixel.

    Args:
        own: which readings (n,) are of a lattice so far known; all of them, if not given.
    """
    count = int((readings.weights > 0).sum())
    everything = harmonics_of(pair, count)
    grown = _grown(readings, pair, own)
    if own is not None:
        readings = replace(readings, weights=readings.weights * own(readings, grown))
        count = int((readings.weights > 0).sum())
        everything = harmonics_of(pair, count)
    rounds = Rounds(readings, grown)
    rounds.finer(_points(readings, pair, points))
    for n in range(4):
        rounds.learn_cell(everything, 2)
        rounds.learn_displacement()
        rounds.learn_level()
        if n:
            rounds.learn_amplitude()
        rounds.learn_noise()
    rounds.learn_cell(everything, 3)
    return rounds.fit


def _grown(readings: Readings, pair: Tensor, own: Own | None = None) -> LatticeFit:
    """The lattice's displacement and slow harmonics, from where it is strongest outwards."""
    if len(readings.values) > _ENOUGH:
        some = torch.linspace(0, len(readings.values) - 1, _ENOUGH, device=readings.values.device).long()
        readings = Readings(readings.values[some], readings.positions[some], readings.weights[some], readings.shape)
    device, values = readings.values.device, readings.values
    count, side = int((readings.weights > 0).sum()), min(readings.shape)
    slow = float(pair.norm(dim=1).max())
    few = harmonics_of(pair, count, fastest=1.5 * slow)
    nothing = torch.zeros(0, dtype=torch.float64, device=device)
    start = LatticeFit(
        shape=readings.shape,
        pair=pair.double(),
        cell=Cell(few[:0], nothing.to(torch.complex128), nothing, nothing.to(torch.complex128)[None, :0]),
        displacement=values.new_zeros(2, 16),
        amplitude=values.new_ones(_points(readings, pair, _AMPLITUDE_POINTS) ** 2),
        level=values.new_zeros(_points(readings, pair, _LEVEL_POINTS) ** 2),
        precision=torch.eye(32, dtype=torch.float64, device=device),
        noise=float(values.var()),
        deviations=Deviations(level=0.3, amplitude=0.15, curvature=CURVATURE),
    )
    rounds = Rounds(readings, start)
    rounds.learn_level()
    least = (_FEWEST_SEEN / (2 * math.pi * count)) ** 0.5
    radius = _WINDOWS[0] if own is None else max(_SMALL[0], least)
    centre = _strongest(rounds.residual() * readings.weights, readings, few, pair, radius * side)
    for n, window in enumerate(_WINDOWS if own is None else (*_SMALL, *_WINDOWS)):
        if n and own is not None:
            rounds.keep(own(readings, rounds.fit))
        rounds.look_at(centre, max(window, least) * side)
        for curvature in (_STRAIGHT, _STRAIGHT, CURVATURE) if n == 0 else (CURVATURE, CURVATURE):
            rounds.learn_cell(few, 2)
            rounds.learn_displacement(curvature, 1.2 * slow if n < 2 else None)
            rounds.learn_level()
            rounds.learn_noise()
    return rounds.fit


def _strongest(values: Tensor, readings: Readings, orders: Tensor, pair: Tensor, radius: float) -> Tensor:
    """The place (2,) in pixels about which slow harmonics have most power together."""
    phase = 2 * math.pi * (readings.positions @ (orders[:4].to(pair.dtype) @ pair).T.to(values.dtype))
    turned = torch.stack([values[:, None] * phase.cos(), values[:, None] * phase.sin()])
    lines = [torch.linspace(0.15, 0.85, _PLACES, device=values.device) * n for n in readings.shape]
    places = torch.cartesian_prod(*lines)
    seen = torch.exp(-0.5 * torch.cdist(places, readings.positions).square() / radius**2)
    power = (seen @ turned).square().sum((0, 2)) / seen.square().sum(1)
    return places[power.argmax()]


def refit(readings: Readings, fit: LatticeFit, rounds: int = 2) -> LatticeFit:
    """The fit to other samples of the same crystal, from what is known; as it is, if they are too few."""
    if int((readings.weights > 0).sum()) < _FEWEST_TO_REFIT:
        return fit
    going = Rounds(readings, fit)
    for _ in range(rounds):
        going.learn_level()
        going.learn_displacement()
        going.learn_cell(fit.cell.orders, 2)
        going.learn_noise()
    return going.fit
