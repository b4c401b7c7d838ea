"""Harmonic fill: a membrane held by springs to the measured pixels, ``Δu = 0`` between them.

The springs are as stiff as pixels that were left out say: stiff ones go through every sample, soft ones forgive its
noise. Without that choice the error never falls below the noise of a sample, however many there are.
Conjugate gradients preconditioned by one multigrid cycle; the number of iterations does not grow with the frame.

References: Tatebe, "The multigrid preconditioned conjugate gradient method", 6th Copper Mountain Conference 1993;
Braess, "Towards algebraic multigrid for elliptic problems of second order", Computing 55 (1995) 379.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.fills.push_pull import push_pull

__all__ = ["harmonic", "laplacian", "membrane"]

_JACOBI = 0.8  # damping of a smoothing sweep
_COARSEST = 4
_STIFFNESSES = (1e3, 4.0, 1.0, 0.25, 0.06)  # of a spring, relative to the membrane; 1e3 goes through the samples
_LEFT_OUT = 0.1
_AS_GOOD = 1.03  # of the least squared error
_ALL = (-3, -2, -1)


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
    """The membrane with the largest stiffness that about best predicts a tenth of the measured pixels from the others.

    Args:
        mean, weight: partial frames, shape ``(b, 1, h, w)``.
        tolerance, iterations: see :func:`membrane`.

    Returns:
        Estimate, shape ``(b, 1, h, w)``; zeros if nothing was measured.
    """
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(mean.shape[-2:], generator=generator).to(mean)
    held = ((chance < _LEFT_OUT) & (weight > 0)).to(mean.dtype)
    batch, tries = mean.shape[0], len(_STIFFNESSES)
    of_each = mean.new_tensor(_STIFFNESSES).repeat_interleave(batch).reshape(-1, 1, 1, 1)
    trial = membrane(
        mean.repeat(tries, 1, 1, 1), (weight * (1 - held)).repeat(tries, 1, 1, 1), of_each, 10 * tolerance, iterations
    )
    error = ((trial.reshape(tries, *mean.shape) - mean).square() * held).sum(_ALL)
    # The stiffest that is as good as the best: a tenth of the samples may prefer a soft one by chance.
    as_good = error <= _AS_GOOD * error.amin(0)
    stiffness = mean.new_tensor(_STIFFNESSES)[as_good.int().argmax(0)]
    return membrane(mean, weight, stiffness.reshape(-1, 1, 1, 1), tolerance, iterations)


def membrane(mean: Tensor, weight: Tensor, stiffness: Tensor, tolerance: float = 1e-3, iterations: int = 100) -> Tensor:
    """Solve ``Δu = stiffness · weight · (u − mean)``.

    Args:
        mean, weight: partial frames, shape ``(b, 1, h, w)``; weights relative to one nominal sample.
        stiffness: of the springs, shape ``(b, 1, 1, 1)``.
        tolerance: of the residual, relative to that of the push–pull estimate it starts from.
        iterations: at most so many.

    Returns:
        Estimate, shape ``(b, 1, h, w)``; zeros if nothing was measured.
    """
    springs = stiffness * weight
    estimate = push_pull(mean, weight)
    cycle = _Cycle(springs)
    left = springs * (mean - estimate) - laplacian(estimate)
    goal = tolerance**2 * left.square().sum(_ALL, keepdim=True)
    correction = torch.zeros_like(mean)
    step = cycle(left)
    direction = step
    product = (left * step).sum(_ALL, keepdim=True)
    for turn in range(iterations):
        unsolved = left.square().sum(_ALL, keepdim=True) > goal
        if turn % 2 == 0 and not bool(unsolved.any()):
            break
        image = laplacian(direction) + springs * direction
        length = torch.where(unsolved, product / (direction * image).sum(_ALL, keepdim=True).clamp(min=1e-30), 0.0)
        correction = correction + length * direction
        left = left - length * image
        step = cycle(left)
        before, product = product, (left * step).sum(_ALL, keepdim=True)
        direction = step + (product / before.clamp(min=1e-30)) * direction
    return estimate + correction
