"""A frame that is too large for one pass, restored in overlapping tiles of one size: the memory is that of a tile.

Only the spectral start and the networks work in tiles. Samples are judged, normalised and withheld, and intervals are
calibrated, of the whole frame. Each tile learns its spectrum from its own samples, of which there are hundreds of
thousands. Across an overlap one tile fades into the next; what lies nearest to a cut is not used at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.generator.generator import Estimate

__all__ = ["Tiling", "cuts", "fading"]

_UNUSED = 0.25  # of an overlap, at each of its ends
_STEP_PX = 32  # between the beginnings of tiles: what the networks halve is the same pixels in each tile


def cuts(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """First pixel of each tile along an axis, and the one after its last: about equal, ``overlap`` in common.

    None is longer than ``side`` and a step more.
    """
    number = max(1, math.ceil((length - overlap) / (side - overlap)))
    each = min(length, math.ceil((length + (number - 1) * overlap) / number / _STEP_PX) * _STEP_PX)
    firsts = [(length - each) * n // max(1, number - 1) // _STEP_PX * _STEP_PX for n in range(number)]
    return [(first, length if first == firsts[-1] else first + each) for first in firsts]


def fading(places: list[tuple[int, int]], device: torch.device | str = "cpu") -> list[Tensor]:
    """Weight of each pixel of each tile along an axis, (pixels,) each: together 1 everywhere.

    Args:
        places: of :func:`cuts`.
    """
    found = [torch.ones(last - first, device=device) for first, last in places]
    for before, after, (_, last), (first, _) in zip(found, found[1:], places, places[1:], strict=False):
        shared = last - first
        at = (torch.arange(shared, device=device) + 0.5) / shared
        part = ((at - _UNUSED) / (1 - 2 * _UNUSED)).clamp(0, 1)
        rising = part.square() * (3 - 2 * part)
        after[:shared] *= rising
        before[-shared:] *= 1 - rising
    total = torch.zeros(places[-1][1], device=device)
    for (first, last), weight in zip(places, found, strict=True):
        total[first:last] += weight
    for (first, last), weight in zip(places, found, strict=True):
        weight /= total[first:last]  # where three have pixels in common
    return found


@dataclass(frozen=True)
class Tiling:
    """Which frames are restored in tiles, and in which.

    Attributes:
        side: the longest side of a frame that is restored in one pass, and of a tile, in pixels.
        overlap: that neighbouring tiles have in common, in pixels; less than half of ``side``.
    """

    side: int = 4096
    overlap: int = 256

    def is_for(self, shape: tuple[int, ...]) -> bool:
        """Whether frames of a size (rows, cols) are restored in tiles."""
        return max(shape) > self.side

    def first(self, *planes: Tensor) -> tuple[Tensor, ...]:
        """The first tile of planes (1, 1, rows, cols), or all of them where there are no tiles."""
        bottom, right = (cuts(length, self.side, self.overlap)[0][1] for length in planes[0].shape[-2:])
        return tuple(plane[..., :bottom, :right].contiguous() for plane in planes)

    def restored(
        self, network: Callable[..., Estimate], mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor
    ) -> Estimate:
        """As ``network`` of one frame, (1, 1, rows, cols) each and noise (1,); nothing is carried to the next frame."""
        rows, cols = (cuts(length, self.side, self.overlap) for length in mean.shape[-2:])
        frame, scale = torch.zeros_like(mean), torch.zeros_like(mean)
        for (top, bottom), down in zip(rows, fading(rows, mean.device), strict=True):
            for (left, right), along in zip(cols, fading(cols, mean.device), strict=True):
                parts = (plane[..., top:bottom, left:right].contiguous() for plane in (mean, weight, distance))
                said = network(*parts, noise)
                share = down[:, None] * along
                frame[..., top:bottom, left:right].addcmul_(said.frame, share)
                # The error of a mean of two estimates is at most the mean of their errors.
                scale[..., top:bottom, left:right].addcmul_(said.log_scale.exp(), share)
        return Estimate(frame, scale.log_(), None)
