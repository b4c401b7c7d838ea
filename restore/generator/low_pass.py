"""The Gaussian through which the poster's code looks at every micrograph: 5×5, σ 2.5 px, reflected edges.

Ede & Beanland compare with the truth seen through it; figures that stand beside theirs do too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["low_pass"]


def _gaussian(size: int, sigma: float) -> list[float]:
    line = [math.exp(-((n - (size - 1) / 2) ** 2) / (2 * sigma * sigma)) for n in range(size)]
    return [value / sum(line) for value in line]


def low_pass(images: Tensor, size: int = 5, sigma: float = 2.5) -> Tensor:
    """Separable Gaussian with reflected edges of images (batch, 1, rows, cols): the author's B(·)."""
    # Slices and scaled additions: with one channel, convolution kernels are thirty times slower on a CPU.
    kernel = _gaussian(size, sigma)
    padded = F.pad(images, (size // 2,) * 4, mode="reflect")
    return _filtered(_filtered(padded, kernel, -2), kernel, -1)


def _filtered(x: Tensor, kernel: list[float], axis: int) -> Tensor:
    """Correlation with a symmetric kernel of odd size along one axis, where it fits wholly inside."""
    centre, length = len(kernel) // 2, x.shape[axis] - len(kernel) + 1
    out = kernel[centre] * x.narrow(axis, centre, length)
    for tap in range(centre):
        pair = x.narrow(axis, tap, length) + x.narrow(axis, len(kernel) - 1 - tap, length)
        out = torch.add(out, pair, alpha=kernel[tap])
    return out
