"""Total variation: of all images close to the samples, the one with the least sum of gradient lengths.

References: Rudin, Osher, Fatemi, Physica D 60 (1992) 259; solved by Chambolle, Pock, "A first-order primal-dual
algorithm for convex problems with applications to imaging", J. Math. Imaging Vis. 40 (2011) 120, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.fills.push_pull import push_pull

__all__ = ["total_variation", "total_variation_of"]

_GRADIENT_NORM_SQUARED = 8.0  # of forward differences in two dimensions


def _gradient(image: Tensor) -> Tensor:
    """Forward differences along y and x, zero at the far border, shape ``(b, 2, h, w)``."""
    result = image.new_zeros(image.shape[0], 2, *image.shape[-2:])
    result[:, 0, :-1] = image[:, 0, 1:] - image[:, 0, :-1]
    result[:, 1, :, :-1] = image[:, 0, :, 1:] - image[:, 0, :, :-1]
    return result


def _divergence(field: Tensor) -> Tensor:
    """Minus the adjoint of :func:`_gradient`, shape ``(b, 1, h, w)``."""
    y, x = field[:, 0], field[:, 1]
    result = torch.zeros_like(y)
    result[:, :-1] += y[:, :-1]
    result[:, 1:] -= y[:, :-1]
    result[:, :, :-1] += x[:, :, :-1]
    result[:, :, 1:] -= x[:, :, :-1]
    return result[:, None]


def total_variation_of(image: Tensor) -> Tensor:
    """Σ |∇u| of each image ``(b, 1, h, w)``, shape ``(b,)``."""
    return _gradient(image).norm(dim=1).flatten(1).sum(1)


def total_variation(mean: Tensor, weight: Tensor, fidelity: float = 40.0, iterations: int = 200) -> Tensor:
    """Minimise ``Σ |∇u| + fidelity/2 · Σ weight · (u − mean)²``.

    Args:
        mean: samples of about unit spread where ``weight`` is above zero, shape ``(b, 1, h, w)``.
        weight: confidence of each pixel, shape ``(b, 1, h, w)``.
        fidelity: per unit spread; larger follows noisy samples more closely.

    Returns:
        Estimate, shape ``(b, 1, h, w)``.
    """
    estimate = push_pull(mean, weight)
    ahead = estimate
    dual = torch.zeros_like(_gradient(estimate))
    step = 0.99 * _GRADIENT_NORM_SQUARED**-0.5
    # A long primal and a short dual step: push–pull is near the solution in the values, the dual is not.
    primal_step, dual_step = 2 * step, step / 2
    pull = primal_step * fidelity * weight
    target = pull * mean
    for _ in range(iterations):
        dual = dual + dual_step * _gradient(ahead)
        dual = dual / dual.norm(dim=1, keepdim=True).clamp(min=1)
        before = estimate
        estimate = (estimate + primal_step * _divergence(dual) + target) / (1 + pull)
        ahead = 2 * estimate - before
    return estimate
