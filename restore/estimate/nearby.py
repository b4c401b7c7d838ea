"""Sums and maxima over the neighbours of each pixel by slices: of one channel, pooling takes ten times as long.

Nothing lies beyond an image's edges: sums have no part of it, and maxima are of values that are not negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["highest_nearby", "highest_of_blocks", "sums_nearby"]


def sums_nearby(images: Tensor, reach: int) -> Tensor:
    """Sums over squares of 2 · ``reach`` + 1 pixels about each, (…, rows, cols)."""
    return _with_neighbours(images, reach, torch.add)


def highest_nearby(images: Tensor, reach: int) -> Tensor:
    """Highest in squares of 2 · ``reach`` + 1 pixels about each, (…, rows, cols); of a mask, whether any is true."""
    return _with_neighbours(images, reach, torch.maximum)


def _with_neighbours(images: Tensor, reach: int, joined: Callable[..., Any]) -> Tensor:
    for axis in (-2, -1):
        found, length = images.clone(), images.shape[axis]
        for apart in range(1, min(reach, length - 1) + 1):
            for own, other in ((0, apart), (apart, 0)):
                here = found.narrow(axis, own, length - apart)
                joined(here, images.narrow(axis, other, length - apart), out=here)
        images = found
    return images


def highest_of_blocks(image: Tensor, side: int) -> Tensor:
    """Highest in each block of ``side`` pixels a side, those at the end smaller, (rows, cols) to a part of it."""
    for axis in (-2, -1):
        beyond = -image.shape[axis] % side
        if beyond:
            image = F.pad(image, (0, 0, 0, beyond) if axis == -2 else (0, beyond))
        first, *others = (image[start::side] if axis == -2 else image[:, start::side] for start in range(side))
        image = first.clone()
        for other in others:
            torch.maximum(image, other, out=image)
    return image
