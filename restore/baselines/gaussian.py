"""Gaussian normalised convolution: blur values and certainties alike, divide one by the other.

References: Knutsson, Westin, "Normalized and differential convolution", CVPR 1993.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.baselines.variogram import fast_size

__all__ = ["normalised_convolution"]


def normalised_convolution(mean: Tensor, weight: Tensor, sigma_px: float) -> Tensor:
    """``(g ∗ (weight · mean)) / (g ∗ weight)`` with a Gaussian ``g`` of ``sigma_px``.

    Arguments:
        mean, weight: partial frames, shape ``(b, 1, h, w)``.

    Returns:
        Estimate, shape ``(b, 1, h, w)``. Where the blurred weight is below what single precision resolves
        (gaps of many sigma), the frame's own weighted mean takes over.
    """
    rows, cols = mean.shape[-2:]
    margin = math.ceil(4 * sigma_px)
    size = (fast_size(rows + margin), fast_size(cols + margin))
    y = torch.fft.fftfreq(size[0], device=mean.device)
    x = torch.fft.rfftfreq(size[1], device=mean.device)
    factor = -2 * (math.pi * sigma_px) ** 2
    response = torch.exp(factor * y.square())[:, None] * torch.exp(factor * x.square())
    total = weight.sum((-2, -1), keepdim=True).clamp(min=1e-20)
    level = (mean * weight).sum((-2, -1), keepdim=True) / total
    # Deviations from the level, so that rounding of the small quotients is relative to them.
    both = torch.cat(((mean - level) * weight, weight), 1)
    blurred = torch.fft.irfft2(torch.fft.rfft2(both, s=size) * response, s=size)[..., :rows, :cols]
    floor = 1e-5 * total / (rows * cols)
    return level + blurred[:, :1] / (blurred[:, 1:].clamp(min=0) + floor)
