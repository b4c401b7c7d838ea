"""What is known of a specimen before a frame: the last estimate of it, and how far samples deviate from that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Known"]

_SPARSELY = 4  # pixels apart, where a median over the frame is taken
_LEAST = 0.5  # of the median deviation, which every deviation has at least


@dataclass(frozen=True)
class Known:
    """What is known of the specimen before a frame.

    Attributes:
        estimate: (rows, cols), in sample units.
        deviation: standard deviation of a sample about it, noise included, (rows, cols), positive.
        distance: of each pixel to the nearest sample that it was made from, in pixels, (rows, cols); None: not known.
    """

    estimate: Tensor
    deviation: Tensor
    distance: Tensor | None = None

    @cached_property
    def maps(self) -> Tensor:
        """What is looked up at each sample: the estimate, its slopes down and right, the deviation; (1, 4, h, w)."""
        down, right = torch.gradient(self.estimate)
        return torch.stack((self.estimate, down, right, self.deviation))[None]

    @cached_property
    def least_deviation(self) -> float:
        """What every deviation has at least, to compare by.

        Near its samples an estimate is known better than a movement of a fraction of a pixel lets it be compared.
        """
        return _LEAST * float(self.deviation[::_SPARSELY, ::_SPARSELY].median())

    @cached_property
    def compared(self) -> Tensor:
        """The estimate to compare samples with, and their variance about it; (1, 2, h, w).

        Linear interpolation between pixels smooths, most of all half-way between them, and what is smoother fits
        better. So the estimate is smoothed before by as much (1 2 1 in each direction), and the place of the best fit
        does not depend on where pixels lie.
        """
        smooth = F.pad(self.estimate[None, None], (1, 1, 1, 1), mode="replicate")
        for _ in range(2):  # pooling takes ten times as long
            smooth = smooth[..., 1:, :] + smooth[..., :-1, :]
            smooth = (smooth[..., 1:] + smooth[..., :-1]).mul_(0.25)
        return torch.cat((smooth, (self.deviation.square() + self.least_deviation**2)[None, None]), 1)

    def at(self, places: Tensor, which: slice = slice(None)) -> Tensor:
        """The maps at places (n, 2) in pixels, linear between them, and the edges' beyond: (4, n), or which of them."""
        return self._looked_up(self.maps[:, which], places[None])[:, 0]

    def is_read_at(self, places: Tensor, reach_px: float) -> Tensor:
        """Whether a sample fell within a reach of places (n, 2) in pixels, bool (n,); everywhere if it is not known."""
        if self.distance is None:
            return torch.ones_like(places[:, 0], dtype=torch.bool)
        rows, cols = self.distance.shape
        y, x = (places + 0.5).floor().long().unbind(1)
        at = y.clamp(0, rows - 1) * cols + x.clamp(0, cols - 1)
        return self.distance.flatten().index_select(0, at) <= reach_px

    def compared_at(self, places: Tensor) -> Tensor:
        """Likewise what samples are compared with, at places (m, n, 2): (2, m, n)."""
        return self._looked_up(self.compared, places)

    def _looked_up(self, maps: Tensor, places: Tensor) -> Tensor:
        rows, cols = self.estimate.shape
        y, x = places.unbind(-1)
        grid = torch.stack((x * (2 / (cols - 1)) - 1, y * (2 / (rows - 1)) - 1), -1)
        return F.grid_sample(maps, grid[None], padding_mode="border", align_corners=True)[0]
