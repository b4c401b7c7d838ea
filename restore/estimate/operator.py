"""How samples read a field of cells, and the transpose of that: the linear operator of every estimate here.

``PixelReading`` reads a cell's own value. ``HalfReading`` reads the four full-size pixels inside each half-size cell by
cubic interpolation; on a processor by slices and scaled additions, elsewhere by one convolution.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from restore.estimate.interpolation import half_to_phases, phases_to_half

__all__ = ["HalfReading", "PixelReading", "Planes", "Reading"]

Planes = list[Tensor]
"""Readings as images, 0 where no sample fell: (batch, h, w) for each place in a cell, or one stack of all places."""


class Reading(Protocol):
    """A, in y = A u + noise, with what was read. Fields are (batch, h, w)."""

    def missed(self, field: Tensor) -> Planes:
        """A u − y."""

    def transposed(self, planes: Planes) -> Tensor:
        """Aᵀ of readings."""

    def normal(self, field: Tensor) -> Tensor:
        """AᵀA u. May overwrite the field."""

    @staticmethod
    def energy(planes: Planes) -> Tensor:
        """Sum of the squares of readings, (batch,)."""


class _Energy:
    @staticmethod
    def energy(planes: Planes) -> Tensor:
        """Sum of the squares of readings, (batch,)."""
        total = _squares(planes[0])
        for plane in planes[1:]:
            total = total + _squares(plane)
        return total


def _squares(plane: Tensor) -> Tensor:
    flat = plane.flatten(1)
    return torch.bmm(flat[:, None], flat[:, :, None]).flatten()


class PixelReading(_Energy):
    """Samples at their cells' centres: their number ``count`` and sum ``total`` in each cell, (batch, h, w)."""

    def __init__(self, count: Tensor, total: Tensor) -> None:
        self.count, self.total = count, total
        self._mean: Tensor | None = None

    def mean(self) -> Tensor:
        """Mean of each cell's samples, 0 where there are none."""
        if self._mean is None:
            self._mean = self.total / self.count.clamp_min(1.0)
        return self._mean

    def missed(self, field: Tensor) -> Planes:
        """See :class:`Reading`; exact where no cell has two samples."""
        return [torch.mul(field, self.count).sub_(self.total)]

    def transposed(self, planes: Planes) -> Tensor:
        """See :class:`Reading`."""
        return planes[0]

    def normal(self, field: Tensor) -> Tensor:
        """See :class:`Reading`."""
        return field.mul_(self.count)


class HalfReading(_Energy):
    """Samples at full-size pixels of a half-size field: masks and values (batch, 4, h, w) as in ``pixel_unshuffle``.

    On a processor four planes are read one after another, which its caches like; elsewhere one stack of them, for few
    kernels.
    """

    def __init__(self, masks: Tensor, values: Tensor) -> None:
        if masks.device.type == "cpu":
            self.masks, self.values = list(masks.unbind(1)), list(values.unbind(1))
        else:
            self.masks, self.values = [masks], [values]

    def missed(self, field: Tensor) -> Planes:
        """See :class:`Reading`."""
        planes = zip(half_to_phases(field), self.masks, self.values, strict=True)
        return [seen.mul_(mask).sub_(value) for seen, mask, value in planes]

    def transposed(self, planes: Planes) -> Tensor:
        """See :class:`Reading`."""
        return phases_to_half(planes)

    def normal(self, field: Tensor) -> Tensor:
        """See :class:`Reading`."""
        planes = half_to_phases(field)
        for plane, mask in zip(planes, self.masks, strict=True):
            plane.mul_(mask)
        return phases_to_half(planes)
