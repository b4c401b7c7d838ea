"""What the realistic face adds to the faithful frame: noise where and as strong as it belongs.

Nobody can know the noise of a pixel that was not measured, but how strong it is, and in which frequencies, a network
can say. So it predicts strengths on a coarse grid, and the noise itself is drawn: white noise in three bands, each of
unit variance, as in Karras, Laine, Aila 2019, https://arxiv.org/abs/1812.04948, section 3.2. A convolution that had to
make noise out of smooth features would repeat itself in the grid of its pixels.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.generator.low_pass import low_pass

__all__ = ["TextureStrengths", "noise_bands", "textured"]

_KERNELS = ((3, 1.0), (5, 2.5), (9, 3.0))  # size and σ in px of the Gaussians between which the bands lie


class TextureStrengths(nn.Module):
    """Strengths (batch, 3, 4·rows, 4·cols) of each noise band, from features (batch, width, rows, cols).

    Begins as half of the frame's own noise in each band.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(width, len(_KERNELS), 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.tensor([0.5] * len(_KERNELS)))

    def forward(self, features: Tensor) -> Tensor:
        return F.interpolate(self.head(features), scale_factor=4, mode="bilinear", align_corners=False)


@lru_cache(maxsize=4)
def noise_bands(rows: int, cols: int, device: torch.device) -> Tensor:
    """White noise of unit variance in bands from fine to coarse, (1, 3, rows, cols).

    The same for every frame of a size and on every device, so that a frame is always restored alike.
    """
    with torch.inference_mode(False), torch.no_grad():  # kept, and a later call may be training
        white = torch.randn(1, 1, rows, cols, generator=torch.Generator().manual_seed(0))
        levels = [white, *(low_pass(white, size, sigma) for size, sigma in _KERNELS)]
        bands = torch.cat([fine - coarse for fine, coarse in pairwise(levels)], 1)
        return (bands / bands.std((2, 3), keepdim=True)).to(device)


def textured(strengths: Tensor, noise: Tensor) -> Tensor:
    """What is added to the faithful frame, (batch, 1, rows, cols).

    Args:
        strengths: of each band, (batch, 3, rows, cols).
        noise: standard deviation of one sample in each frame, (batch,): the unit of the bands' strengths.
    """
    bands = noise_bands(*strengths.shape[-2:], strengths.device)
    return (strengths * bands).sum(1, keepdim=True) * noise[:, None, None, None]
