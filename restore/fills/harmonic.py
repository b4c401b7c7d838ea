"""Harmonic fill: the smoothest membrane through the measured pixels, ``Δu = 0`` between them.

Conjugate gradients preconditioned by one multigrid cycle; the number of iterations does not grow with the frame.

References: Tatebe, "The multigrid preconditioned conjugate gradient method", 6th Copper Mountain Conference 1993;
Braess, "Towards algebraic multigrid for elliptic problems of second order", Computing 55 (1995) 379.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.fills.push_pull import push_pull

__all__ = ["harmonic", "laplacian"]

_JACOBI = 0.8  # damping of a smoothing sweep
_COARSEST = 4


def laplacian(image: Tensor) -> Tensor:
    """Sum of differences to the four neighbours, none across the border (Neumann), shape ``(b, 1, h, w)``."""
    down, right = image[..., 1:, :] - image[..., :-1, :], image[..., :, 1:] - image[..., :, :-1]
    result = torch.zeros_like(image)
    result[..., 1:, :] += down
    result[..., :-1, :] -= down
    result[..., :, 1:] += right
    result[..., :, :-1] -= right
    return result


class _Cycle:
    """A symmetric V-cycle for ``laplacian + penalty``, by aggregates of 2 × 2 pixels."""

    def __init__(self, penalty: Tensor) -> None:
        self._penalties = [penalty]
        while min(self._penalties[-1].shape[-2:]) > _COARSEST:
            self._penalties.append(_gather(self._penalties[-1]))
        self._inverse = [_JACOBI / (laplacian_diagonal(p) + p) for p in self._penalties]

    def __call__(self, target: Tensor, level: int = 0) -> Tensor:
        penalty, inverse = self._penalties[level], self._inverse[level]
        sweeps = 2 if level < len(self._penalties) - 1 else 30
        solution = inverse * target
        for _ in range(sweeps - 1):
            solution = solution + inverse * (target - laplacian(solution) - penalty * solution)
        if level == len(self._penalties) - 1:
            return solution
        left = target - laplacian(solution) - penalty * solution
        coarse = self(_gather(left), level + 1)
        solution = solution + _spread(coarse, target.shape[-2:])
        for _ in range(sweeps):
            solution = solution + inverse * (target - laplacian(solution) - penalty * solution)
        return solution


def laplacian_diagonal(image: Tensor) -> Tensor:
    """Number of neighbours of each pixel: 4, 3 on an edge, 2 in a corner."""
    count = torch.full_like(image, 4)
    for edge in (count[..., :1, :], count[..., -1:, :], count[..., :, :1], count[..., :, -1:]):
        edge -= 1
    return count


def _gather(fine: Tensor) -> Tensor:
    return F.avg_pool2d(fine, 2, ceil_mode=True, divisor_override=1)


def _spread(coarse: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(coarse, scale_factor=2, mode="nearest")[..., : size[0], : size[1]]


def harmonic(mean: Tensor, weight: Tensor, tolerance: float = 1e-3, iterations: int = 100) -> Tensor:
    """Solve ``Δu = 0`` where nothing was measured, ``u = mean`` where something was.

    Arguments:
        mean, weight: partial frames, shape ``(b, 1, h, w)``.
        tolerance: of the residual, relative to that of the push–pull estimate it starts from.

    Returns:
        Estimate, shape ``(b, 1, h, w)``; zeros if nothing was measured.
    """
    known = weight > 0
    free = (~known).to(mean.dtype)
    estimate = torch.where(known, mean, push_pull(mean, weight))
    left = -laplacian(estimate) * free
    goal = tolerance**2 * left.square().sum((-3, -2, -1), keepdim=True)
    cycle = _Cycle(1e3 * (1 - free))
    correction = torch.zeros_like(mean)
    step = cycle(left) * free
    direction = step
    product = (left * step).sum((-3, -2, -1), keepdim=True)
    for turn in range(iterations):
        if turn % 2 == 0 and bool((left.square().sum((-3, -2, -1), keepdim=True) <= goal).all()):
            break
        image = laplacian(direction) * free
        length = product / (direction * image).sum((-3, -2, -1), keepdim=True).clamp(min=1e-30)
        correction = correction + length * direction
        left = left - length * image
        step = cycle(left) * free
        before, product = product, (left * step).sum((-3, -2, -1), keepdim=True)
        direction = step + (product / before.clamp(min=1e-30)) * direction
    return estimate + correction
