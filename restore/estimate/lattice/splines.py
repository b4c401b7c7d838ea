"""Smooth fields over a frame: uniform cubic B-splines on a few control points, as products of two axes.

References: de Boor, A Practical Guide to Splines, Springer 1978, chapter XI (uniform cubic splines).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Splines", "roughness"]


def _line(at: Tensor, length: int, count: int) -> Tensor:
    """The ``count`` cubic B-splines at places (n,) in pixels of an axis of ``length`` pixels, (n, count)."""
    intervals = count - 3
    along = ((at + 0.5) / length * intervals).clamp(0, intervals)
    first = along.floor().clamp_max(intervals - 1)
    t = along - first
    pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    found = at.new_zeros(len(at), count)
    found.scatter_(1, first.long()[:, None] + torch.arange(4, device=at.device), torch.stack(pieces, 1) / 6)
    return found


@dataclass(frozen=True)
class Splines:
    """``count`` × ``count`` control points over a frame of ``shape`` (rows, cols); at least 4 × 4."""

    shape: tuple[int, int]
    count: int

    def at(self, positions: Tensor) -> Tensor:
        """Every spline at positions (n, 2) in pixels: (n, count²). Each row sums to 1."""
        rows, cols = (_line(positions[:, axis], self.shape[axis], self.count) for axis in (0, 1))
        return (rows[:, :, None] * cols[:, None, :]).flatten(1)

    def image(self, control: Tensor) -> Tensor:
        """The fields of control values (..., count²) on every pixel: (..., rows, cols)."""
        grid = control.unflatten(-1, (self.count, self.count))
        rows, cols = (
            _line(torch.arange(n, device=control.device, dtype=control.dtype), n, self.count) for n in self.shape
        )
        return rows @ grid @ cols.mT

    def gradient(self, control: Tensor) -> Tensor:
        """The derivatives along y and x of control values (..., count²) per pixel: (..., 2, rows, cols)."""
        field = self.image(control)
        return torch.stack(torch.gradient(field, dim=(-2, -1)), -3)


def roughness(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Matrix R (count², count²) such that cᵀ R c is the sum of squared second differences of control values c.

    Along rows, along columns and, twice, across both: no affine field has any (thin-plate bending energy).
    """
    identity = torch.eye(count, dtype=dtype)
    first = identity[1:] - identity[:-1]
    second = first[1:, 1:] @ first
    along = second.mT @ second
    slope = first.mT @ first
    return torch.kron(along, identity) + torch.kron(identity, along) + 2 * torch.kron(slope, slope)
