"""Wiener filtering of incomplete data: the posterior mean of a stationary process seen through a mask, with noise.

With ``√P`` the root of the power spectrum and ``N`` the noise, the estimate is ``√P z`` where
``(1 + √P Mᵀ N⁻¹ M √P) z = √P Mᵀ N⁻¹ y``. Conjugate gradients are preconditioned by what the bracket would be if the
samples lay dense everywhere, ``1 + density · P / N``: without that, the peaks of a lattice's spectrum, a million times
its noise, need more iterations the more samples there are.

References: Wandelt, Larson, Lakshminarayanan, Phys. Rev. D 70 (2004) 083511, section II; Eriksen et al.,
Astrophys. J. Suppl. 155 (2004) 227, section 3.2 (the preconditioner); Golub, Heath, Wahba, Technometrics 21 (1979)
215 (the noise from residuals and degrees of freedom); Girard, Numer. Math. 56 (1989) 1 (those by a random probe).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["noise_from_residuals", "posterior_mean", "random_signs"]

_ALL = (-3, -2, -1)


def posterior_mean(
    values: Tensor,
    inverse_noise: Tensor,
    power: Tensor,
    size: tuple[int, int],
    density: Tensor,
    iterations: int,
    tolerance: float,
) -> Tensor:
    """The expected field, given what was measured of it.

    Args:
        values: measured, any value elsewhere, shape ``(b, 1, h, w)``.
        inverse_noise: one over the noise's variance where something was measured, 0 elsewhere, same shape.
        power: spectrum of the field on a periodic grid of ``size``, half of it, shape ``(b, 1, H, W//2 + 1)``.
        size: of that grid, at least ``(h, w)`` and even.
        density: share of pixels that were measured, shape ``(b, 1, 1, 1)``.
        iterations: at most so many.
        tolerance: residual, relative to the right-hand side in the preconditioner's norm, at which it ends.

    Returns:
        Shape ``(b, 1, h, w)``.
    """
    rows, cols = values.shape[-2:]
    root = power.clamp(min=0).sqrt()
    measured = (inverse_noise > 0).sum(_ALL, keepdim=True).clamp(min=1)
    usual = inverse_noise.sum(_ALL, keepdim=True) / measured
    inverse = 1 / (1 + density * power * usual)
    twice = torch.full_like(power[:1, :, :1], 2.0)  # a half spectrum holds its inner columns twice
    twice[..., 0] = twice[..., -1] = 1.0

    def field(whitened: Tensor) -> Tensor:
        return torch.fft.irfft2(whitened * root, s=size)[..., :rows, :cols]

    def product(one: Tensor, other: Tensor) -> Tensor:
        return ((one.real * other.real + one.imag * other.imag) * twice).sum(_ALL, keepdim=True)

    left = torch.fft.rfft2(values * inverse_noise, s=size) * root
    solution = torch.zeros_like(left)
    step = inverse * left
    direction = step
    square = product(left, step)
    goal = tolerance**2 * square
    for turn in range(iterations):
        if turn % 4 == 0 and bool((square <= goal).all()):
            break
        image = direction + torch.fft.rfft2(field(direction) * inverse_noise, s=size) * root
        # A frame that is good enough stands still while others of its batch go on.
        length = torch.where(square > goal, square / product(direction, image).clamp(min=1e-30), 0.0)
        solution = solution + length * direction
        left = left - length * image
        step = inverse * left
        before, square = square, product(left, step)
        direction = step + (square / before.clamp(min=1e-30)) * direction
    return field(solution)


def random_signs(like: Tensor) -> Tensor:
    """1 or −1 at every pixel, the same for the same shape: a probe of how freely a filter follows its data."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, like.shape[-2:], generator=generator)
    return (2 * signs - 1).to(like).expand_as(like)


def noise_from_residuals(residual: Tensor, probe: Tensor, answer: Tensor, mask: Tensor) -> Tensor:
    """Variance of the noise: mean squared residual over the share of degrees of freedom that the filter left.

    Args:
        residual: values less estimate, shape ``(b, 1, h, w)``.
        probe: random signs on the mask.
        answer: the filter's estimate from the probe.
        mask: 1 where something was measured.

    Returns:
        Shape ``(b, 1, 1, 1)``.
    """
    count = mask.sum(_ALL, keepdim=True).clamp(min=1)
    taken = (probe * answer * mask).sum(_ALL, keepdim=True) / count
    return (residual.square() * mask).sum(_ALL, keepdim=True) / count / (1 - taken).clamp(min=0.05)
