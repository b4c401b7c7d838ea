"""Random crops of micrographs: zoomed, turned, stretched, mirrored, with other contrast."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CropConfig", "crop"]


class CropConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How crops vary. Shares are probabilities."""

    zoom_share: float = 0.5
    zoom: tuple[float, float] = (0.7, 1.5)
    turn_share: float = 0.0  # turned by any angle and stretched, as far as the micrograph reaches
    stretch: float = 1.2  # longest side of the stretched crop over its shortest
    gamma_share: float = 0.25
    invert_share: float = 0.1


def crop(image: Tensor, size: int, config: CropConfig, rng: np.random.Generator, device: torch.device) -> Tensor:
    """A random augmented (size, size) crop of a uint8 image, float32 in [0, 1]."""
    zoom = math.exp(rng.uniform(*np.log(config.zoom))) if rng.random() < config.zoom_share else 1.0
    if config.turn_share > 0 and rng.random() < config.turn_share:
        patch = _turned(image, size, zoom, config.stretch, rng, device)
    else:
        patch = _upright(image, size, zoom, rng, device)
    if rng.random() < 0.5:
        patch = patch.flip(1)
    if rng.random() < config.gamma_share:
        patch = patch ** math.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < config.invert_share:
        patch = 1 - patch
    return patch.contiguous()


def _upright(image: Tensor, size: int, zoom: float, rng: np.random.Generator, device: torch.device) -> Tensor:
    side = min(image.shape)
    source = min(max(32, round(size / zoom)), side)
    top, left = (int(rng.integers(0, n - source + 1)) for n in image.shape)
    patch = image[top : top + source, left : left + source].to(device).float() / 255.0
    if source != size:
        patch = F.interpolate(
            patch[None, None], size=(size, size), mode="bicubic", align_corners=False, antialias=source > size
        )[0, 0].clamp(0, 1)
    return torch.rot90(patch, int(rng.integers(4)))


def _turned(
    image: Tensor, size: int, zoom: float, stretch: float, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """A parallelogram of the image, read bicubically; enlarged as far as it must be to lie inside."""

    def turn(angle: float) -> np.ndarray:
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    ratio = math.exp(rng.uniform(0, math.log(stretch)) / 2)
    axes = turn(rng.uniform(0, 2 * math.pi)) @ np.diag([ratio, 1 / ratio]) @ turn(rng.uniform(0, math.pi))
    extent = size * np.abs(axes).sum(1)  # of its bounding box, rows and cols, unzoomed
    sides = np.array(image.shape, dtype=float)
    axes = axes / max(zoom, 1.0, float((extent / (sides - 1)).max()))  # never coarser: nothing would be averaged
    reach = size * np.abs(axes).sum(1) / 2
    centre = rng.uniform(reach, sides - reach)
    # grid_sample takes (x, y) from −1 to 1 over the image, and the output's pixels likewise.
    theta = np.concatenate([(axes * size / sides[:, None])[::-1, ::-1], (2 * centre / sides - 1)[::-1, None]], 1)
    grid = F.affine_grid(
        torch.from_numpy(theta.astype(np.float32)).to(device)[None], [1, 1, size, size], align_corners=False
    )
    whole = image.to(device).float()[None, None] / 255.0
    return F.grid_sample(whole, grid, "bicubic", "reflection", align_corners=False)[0, 0].clamp(0, 1)
