"""Which two reciprocal vectors explain the waves of a frame: the sparsest lattice that indexes most of their power."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.estimate.lattice.peaks import Waves

__all__ = ["index_waves", "reciprocal_pairs", "reduced"]

_TOLERANCE = 1.2  # of 1 / size of the frame
_STRAIN = 0.006  # of a wave's own frequency
_ORDERS = 6
_ANGLE = math.sin(math.radians(25))
_ENOUGH = 0.97  # of the best pair's score; among those the sparsest is taken
_CHANCE = 0.15  # share of the plane that may lie within the tolerance of a lattice's nodes


def reduced(pair: Tensor) -> Tensor:
    """The shortest basis (2, 2) of the lattice that the rows of a pair span (Lagrange's reduction)."""
    a, b = pair
    if a.norm() > b.norm():
        a, b = b, a
    while True:
        b = b - (torch.dot(a, b) / torch.dot(a, a)).round() * a
        if b.norm() >= a.norm() * (1 - 1e-6):
            break
        a, b = b, a
    if torch.dot(a, b) < 0:
        b = -b
    if a[0] * b[1] - a[1] * b[0] < 0:
        a, b = b, a
    return torch.stack([a, b])


def index_waves(pairs: Tensor, frequency: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Miller indices (..., k, 2) of waves (k, 2) on reciprocal lattices (..., 2, 2), and which of them they index."""
    exact = frequency @ torch.linalg.inv(pairs)
    orders = exact.round()
    off = (frequency - orders @ pairs).norm(dim=-1)
    tolerance = _TOLERANCE / size + _STRAIN * frequency.norm(dim=-1)
    indexed = (off < tolerance) & (orders.abs().amax(-1) <= _ORDERS) & (orders.abs().sum(-1) > 0)
    return orders, indexed


def reciprocal_pairs(waves: Waves, size: float, most: int = 3) -> list[Tensor]:
    """The likeliest reciprocal lattices, rows (2, 2) in cycles per pixel, best first; none without two directions.

    Args:
        size: of the frame in pixels, the smaller side: waves are known to about its inverse.
    """
    frequency, power = waves.frequency.double(), waves.power.double().sqrt()
    if len(frequency) < 2:
        return []
    candidates = _candidates(frequency, size)
    first, second = torch.triu_indices(len(candidates), len(candidates), 1)
    pairs = torch.stack([candidates[first], candidates[second]], 1)
    area = torch.linalg.det(pairs).abs()
    lengths = pairs.norm(dim=2)
    wide = area > _ANGLE * lengths.prod(1)
    room = math.pi * (_TOLERANCE / size + _STRAIN * lengths.mean(1)).square()
    usable = wide & (room < _CHANCE * area)
    pairs, area, room = pairs[usable], area[usable], room[usable]
    if not len(pairs):
        return []
    indexed = index_waves(pairs, frequency, size)[1]
    score = ((indexed.double() - room[:, None] / area[:, None]) * power).sum(1)
    # At least three waves, or two that chance cannot have laid so, and in two directions.
    enough = indexed.sum(1) >= 2
    score = torch.where(enough, score, 0.0)
    found: list[Tensor] = []
    while len(found) < most and float(score.max()) > 0:
        near = score >= _ENOUGH * score.max()
        best = int(torch.where(near, area, 0.0).argmax())
        found.append(reduced(_fitted(pairs[best], frequency, power, size)))
        # Another name for the same lattice is no other lattice.
        same = ((area / area[best]).log().abs() < 0.05) & near
        score = torch.where(same, 0.0, score)
    return found


def _candidates(frequency: Tensor, size: float) -> Tensor:
    strongest = frequency[:12]
    first, second = torch.triu_indices(len(strongest), len(strongest), 1)
    sums = torch.cat([strongest[first] - strongest[second], strongest[first] + strongest[second]])
    everything = torch.cat([frequency, sums])
    everything = everything[everything.norm(dim=1) > 4 / size]
    everything = torch.where(
        ((everything[:, 1] < 0) | ((everything[:, 1] == 0) & (everything[:, 0] < 0)))[:, None], -everything, everything
    )
    kept: list[int] = []
    for n in range(len(everything)):
        if not kept or float((everything[kept] - everything[n]).norm(dim=1).min()) > 0.7 / size:
            kept.append(n)
    return everything[kept]


def _fitted(pair: Tensor, frequency: Tensor, power: Tensor, size: float) -> Tensor:
    """The pair, by least squares on the waves that it indexes."""
    orders, indexed = index_waves(pair, frequency, size)
    weight = (power * indexed)[:, None]
    normal = (orders * weight).T @ orders
    if float(torch.linalg.det(normal)) < 1e-12:
        return pair
    return torch.linalg.solve(normal, (orders * weight).T @ frequency)
