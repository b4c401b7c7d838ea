"""Which covariance krige best: each candidate predicts samples from their neighbours, and the best one is taken.

A variogram fitted by least squares says how alike samples are at every distance, and on a lattice it oscillates, which
no model here does: the fit then follows the first trough and is far too short. How well each interpolates can be
measured.

Reference: Dubrule, "Cross validation of kriging in a unique neighborhood", Mathematical Geology 15 (1983) 687.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from restore.fills.variogram import Covariance, correlation

__all__ = ["covariance_by_leaving_out", "errors_by_leaving_out"]

_MODELS = (0, 1, 2)
_RANGES = (0.75, 1.25, 2.25, 4.0, 7.0, 13.0, 22.0, 36.0)  # in distances of a sample to its neighbour
_NUGGETS = (0.002, 0.01, 0.03, 0.1, 0.25, 0.5)  # as shares of the variance
_PREDICTED = 192  # samples


def covariance_by_leaving_out(positions_px: Tensor, values: Tensor, neighbours: int = 32, seed: int = 0) -> Covariance:
    """The covariance that predicts a few of the values (n,) at positions (n, 2) px best from those beside them."""
    places = positions_px.double().numpy()
    generator = np.random.default_rng(seed)
    left_out = generator.choice(len(places), min(_PREDICTED, len(places)), replace=False)
    distance, near = cKDTree(places).query(places[left_out], k=min(neighbours + 1, len(places)))
    groups = torch.from_numpy(near.reshape(len(left_out), -1))
    spacing = max(float(np.median(distance[:, 1])), 0.5) if distance.ndim > 1 and distance.shape[1] > 1 else 1.0
    variance = float(values.double().var(correction=0))
    centred = (values - values.mean()).double()[groups]
    candidates = list(itertools.product(_MODELS, [share * spacing for share in _RANGES], _NUGGETS))
    errors = [
        float(errors_by_leaving_out(positions_px.double()[groups], centred, *candidate).square().mean())
        for candidate in candidates
    ]
    model, range_px, nugget = candidates[int(np.argmin(errors))]
    variance = max(variance, 1e-12)
    return Covariance(
        sill=values.new_tensor([(1 - nugget) * variance]),
        range_px=values.new_tensor([range_px]),
        nugget=values.new_tensor([nugget * variance]),
        model=torch.tensor([model]),
    )


def errors_by_leaving_out(places: Tensor, values: Tensor, model: int, range_px: float, nugget: float) -> Tensor:
    """What ordinary kriging of the first sample of each group from the others of the group is wrong by.

    Args:
        places: ``(m, k, 2)``; values: ``(m, k)``; both float64.
        model, range_px: of the correlation; ``nugget`` is its share of the variance.

    Returns:
        Prediction minus sample, ``(m,)``. With ``Q`` the inverse of the bordered matrix ``[[C, 1], [1', 0]]`` that is
        ``−(Q z)₁ / Q₁₁`` (Dubrule's equation 6), so one factorisation of ``C`` serves.
    """
    between = (1 - nugget) * correlation(model, torch.cdist(places, places) / range_px)
    between.diagonal(dim1=-2, dim2=-1).add_(nugget)
    factor = torch.linalg.cholesky(between)
    first = torch.zeros_like(values)
    first[:, 0] = 1
    solved = torch.cholesky_solve(torch.stack((values, torch.ones_like(values), first), -1), factor)
    of_values, of_ones, of_first = solved.unbind(-1)
    total = of_ones.sum(1)
    level = of_values.sum(1) / total
    return -(of_values[:, 0] - level * of_ones[:, 0]) / (of_first[:, 0] - of_ones[:, 0].square() / total)
