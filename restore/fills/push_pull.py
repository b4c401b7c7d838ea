"""Push–pull: fill the gaps from a pyramid, each level from the next coarser one. Linear time, nearly free.

Pull: every level sums confidence and confidence-weighted value over a small kernel, and confidence
saturates at one, so that a crowded place counts no more than a place that is merely known. Push: from the
coarsest level down, a pixel keeps its own value by its confidence and takes the rest from the level below,
interpolated.

References: Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH 1996, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["push_pull"]


def push_pull(mean: Tensor, weight: Tensor) -> Tensor:
    """Full images from sparse ones.

    Args:
        mean: values where ``weight`` is above zero, anything finite elsewhere, shape ``(b, 1, h, w)``.
        weight: confidence of each pixel in units of one nominal sample, at least 0, shape ``(b, 1, h, w)``;
            at 1 or more the pixel is kept as it is.

    Returns:
        Estimate of shape ``(b, 1, h, w)`` in the units of ``mean``; zeros if nothing was measured.
        Equivariant to gain and offset of ``mean``; any size, odd ones included.
    """
    both = mean.new_empty(len(mean), 2, *mean.shape[-2:])
    torch.clamp(weight, 0, 1, out=both[:, 1:])
    torch.mul(mean, both[:, 1:], out=both[:, :1])
    levels = [both]
    while max(both.shape[-2:]) > 1:
        # Averages are made sums again; the padding beyond an odd edge is known by nobody.
        both = F.avg_pool2d(both, 2, ceil_mode=True, count_include_pad=True, divisor_override=1)
        both = both.div_(both[:, 1:].clamp(min=1))
        levels.append(both)
    value, confidence = levels.pop().split(1, 1)
    estimate = value / confidence.clamp(min=torch.finfo(value.dtype).tiny)
    for both in reversed(levels):
        value, confidence = both.split(1, 1)
        coarse = _twice(estimate, value.shape[-2:])
        estimate = torch.addcmul(value, 1 - confidence, coarse)
    return estimate


def _twice(coarse: Tensor, size: torch.Size) -> Tensor:
    """Bilinear interpolation onto the finer level, whose pixel centres lie at quarter pixels of this one."""
    doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : size[0], : size[1]]
