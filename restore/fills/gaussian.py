"""Gaussian normalised convolution: blur values and certainties alike, divide one by the other.

References: Knutsson, Westin, "Normalized and differential convolution", CVPR 1993. The bandwidth is chosen by
leaving one out, which for a linear smoother needs no second pass: Stone, JRSS B 36 (1974) 111.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.fills.variogram import fast_size

__all__ = ["gaussian", "normalised_convolution"]

_COARSEST = 4.0  # widest Gaussian, in sample spacings
_STEP = math.sqrt(2)
_FINEST_PX = 0.6
_PRIOR = 0.05  # what the wider estimate weighs, relative to the mean density of samples


def _blur(images: Tensor, sigma_px: float) -> tuple[Tensor, float]:
    """Each image convolved with a Gaussian that sums to 1, zero outside the frame; and the kernel's centre."""
    rows, cols = images.shape[-2:]
    margin = math.ceil(4 * sigma_px) + 1
    size = (fast_size(rows + margin), fast_size(cols + margin))
    # The kernel is sampled in space: a Gaussian cut off at the highest frequency would ring, below zero too.
    vertical = _kernel(size[0], sigma_px, images.device)
    horizontal = _kernel(size[1], sigma_px, images.device)
    response = torch.fft.fft(vertical).real[:, None] * torch.fft.rfft(horizontal).real
    blurred = torch.fft.irfft2(torch.fft.rfft2(images, s=size) * response, s=size)
    return blurred[..., :rows, :cols], float(vertical[0] * horizontal[0])


def _kernel(size: int, sigma_px: float, device: torch.device) -> Tensor:
    distance = torch.fft.fftfreq(size, device=device) * size
    kernel = torch.exp(-0.5 * (distance / sigma_px).square())
    return kernel / kernel.sum()


def _centred(mean: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Level of each frame, deviations from it times weight, and the mean weight of a pixel."""
    total = weight.sum((-2, -1), keepdim=True).clamp(min=1e-20)
    level = (mean * weight).sum((-2, -1), keepdim=True) / total
    # Of deviations, because single precision resolves the small quotients only relative to what is blurred.
    return level, (mean - level) * weight, total / (mean.shape[-2] * mean.shape[-1])


def normalised_convolution(mean: Tensor, weight: Tensor, sigma_px: float) -> Tensor:
    """``(g ∗ (weight · mean)) / (g ∗ weight)`` with a Gaussian ``g`` of ``sigma_px``.

    Args:
        mean, weight: partial frames, shape ``(b, 1, h, w)``.

    Returns:
        Estimate, shape ``(b, 1, h, w)``. Where the blurred weight is below what single precision resolves
        (gaps of many sigma), the frame's own weighted mean takes over.
    """
    level, weighted, density = _centred(mean, weight)
    blurred, _ = _blur(torch.cat((weighted, weight), 1), sigma_px)
    return level + blurred[:, :1] / (blurred[:, 1:].clamp(min=0) + 1e-5 * density)


def gaussian(mean: Tensor, weight: Tensor) -> Tensor:
    """Normalised convolution from wide to narrow, each width correcting the wider one where samples allow it.

    The narrowest Gaussian is the one that predicts each measured pixel best from the others. Shapes and units
    as :func:`normalised_convolution`; every frame of a batch has its own narrowest width.
    """
    mask = (weight > 0).to(mean.dtype)
    level, weighted, density = _centred(mean, mask)
    values = mean - level
    count = mask.sum((-2, -1), keepdim=True).clamp(min=1)
    spacing = float(density.mean()) ** -0.5
    estimate = without = torch.zeros_like(mean)
    best, best_error = estimate, torch.full_like(count, math.inf)
    prior = _PRIOR * density
    sigma_px = _COARSEST * spacing
    while sigma_px >= _FINEST_PX:
        blurred, centre = _blur(torch.cat((weighted, mask), 1), sigma_px)
        numerator, certainty = blurred[:, :1], blurred[:, 1:].clamp(min=0)
        # Of no use off the samples; at each of them, what all the others would have said there.
        others = (certainty - centre * mask).clamp(min=0)
        without = (numerator - centre * values * mask + prior * without) / (others + prior)
        error = ((without - values).square() * mask).sum((-2, -1), keepdim=True) / count
        estimate = (numerator + prior * estimate) / (certainty + prior)
        better = error < best_error
        best, best_error = torch.where(better, estimate, best), torch.where(better, error, best_error)
        sigma_px /= _STEP
    return level + best
