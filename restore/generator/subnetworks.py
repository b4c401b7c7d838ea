"""The generator's parts: the inner network, the trainer head and the outer network.

All work at a quarter of the frame's size and below with plain 3×3 convolutions: few, fat kernels. There is no batch
normalisation; the frame's statistics scale and shift the features instead (Perez et al. 2018,
https://arxiv.org/abs/1709.07871).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.estimate.fused import chain
from restore.estimate.process import STATISTICS, SpectralStart
from restore.generator.planes import FULL_CHANNELS, HALF_CHANNELS, network_planes
from restore.generator.presets import GeneratorConfig
from restore.generator.texture import TextureStrengths

__all__ = ["CONDITIONS", "FirstNetworks", "Inner", "Outer", "Trainer", "conditions_of"]


CONDITIONS = len(STATISTICS) + 2
"""Numbers by which features are scaled and shifted: the start's statistics, and what is stated of the noise."""

_LEAST_NOISE = 1e-4  # of the samples' variance; less is none


def conditions_of(statistics: Tensor, noise: Tensor | None) -> Tensor:
    """The start's statistics (batch, 8), whether a noise is stated, and its logarithm: (batch, ``CONDITIONS``).

    Args:
        noise: variance of a nominal sample about the specimen, in units of the normalised samples' variance, (batch,);
            NaN where nobody states it, as None does for the whole batch.
    """
    if noise is None:
        noise = torch.full_like(statistics[:, 0], torch.nan)
    stated = (noise < torch.inf).to(statistics.dtype)
    level = noise.clamp_min(_LEAST_NOISE).log_().nan_to_num_(0.0, 0.0, 0.0).to(statistics.dtype)
    return torch.cat([statistics, stated[:, None], level[:, None]], 1)


class Block(nn.Module):
    """x + conv(relu(conv(x))), 3×3; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu_(self.first(F.relu(x)))).add_(x)


@lru_cache(maxsize=8)
def _unscaled(widths: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """One for each scale and zero for each shift, which are told as differences from them."""
    with torch.inference_mode(False):  # kept, and a later call may be training
        return torch.cat([torch.full((w,), n, device=device, dtype=dtype) for w in widths for n in (1.0, 0.0)])


class Inner(nn.Module):
    """Large-scale features at 1/4 size, (batch, widths[0], rows/4, cols/4), from ``Planes.half``."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = config.widths
        self.extra_residuals = config.extra_residuals
        self.stem = nn.Conv2d(HALF_CHANNELS, widths[0], 3, padding=1)
        films = nn.Linear(64, 2 * sum(widths))
        nn.init.zeros_(films.weight)
        nn.init.zeros_(films.bias)
        self.condition = nn.Sequential(nn.Linear(CONDITIONS, 64), nn.ReLU(), films)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(blocks)))
            for width, blocks in zip(widths, config.inner_blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(blocks)))
            for width, blocks in zip(widths[:-1], config.inner_blocks, strict=False)
        )
        self.widths = widths

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        return self._features(planes, conditions, _unscaled(self.widths, planes.device, planes.dtype))

    @chain
    def _features(self, planes: Tensor, conditions: Tensor, unscaled: Tensor) -> Tensor:
        films = self.condition(conditions).to(planes.dtype) + unscaled
        films = films[:, :, None, None].split([2 * w for w in self.widths], 1)
        x = self.stem(planes)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.down[level - 1](F.relu(x))
            scale, shift = films[level].chunk(2, 1)
            x = blocks(torch.addcmul(shift, x, scale))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.up[level](x), scale_factor=2, mode="bilinear", align_corners=False)
            if self.extra_residuals:
                x = x.add_(skips[level])
            x = self.decode[level](x)
        return x


class Trainer(nn.Module):
    """Half-size correction from the inner features; only training needs it."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.head = nn.Conv2d(config.widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.head(F.relu(features)), 2)


class Outer(nn.Module):
    """Correction and log scale at full size from ``Planes.full`` and the inner features."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.stem = nn.Conv2d(FULL_CHANNELS, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(config.outer_blocks)))
        self.head = nn.Conv2d(width, 32, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]
        self.head.bias.data[16:] = -1.5  # type: ignore[union-attr]
        self.texture = TextureStrengths(width) if config.texture else None

    @chain
    def forward(self, planes: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Correction and log scale, (batch, 1, rows, cols) each, and strengths of the texture if there is one."""
        x = F.relu_(self.blocks(self.stem(planes).add_(features)))
        out = F.pixel_shuffle(self.head(x), 4)
        return out[:, :1], out[:, 1:], None if self.texture is None else self.texture(x).float()


class FirstNetworks(nn.Module):
    """Correct the start at half size; see ``GeneratorConfig.first``. No gradient passes the start, nor reaches them."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.inner, self.outer = Inner(config), Outer(config)
        self.path_information = config.path_information
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, weight: Tensor, distance: Tensor, start: SpectralStart, conditions: Tensor) -> Tensor:
        """The corrected half-size frame, (batch, 1, rows/2, cols/2)."""
        half, full = network_planes(weight, distance, start, self.path_information)
        precision = self.outer.stem.weight.dtype
        correction = self.outer(full.to(precision), self.inner(half.to(precision), conditions))[0]
        return start.estimate + F.avg_pool2d(correction.float(), 2)
