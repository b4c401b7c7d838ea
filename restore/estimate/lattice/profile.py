"""The columns of a mean cell: where they are, how high and how wide."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.cell import TABLE, Cell

__all__ = ["Profile", "profile_of"]

_LEAST_HEIGHT = 0.2  # of the highest column's, for a maximum to count as one
_MOST_KINDS = 6
_COARSER = 2  # than the fine cell, to fit profiles to


@dataclass(frozen=True)
class Profile:
    """The columns of one cell as Gaussians.

    Attributes:
        places: lattice coordinates (c, 2) of the columns; heights: (c,), negative if columns are dark.
        sigma_px: their common deviation.
        vectors: direct lattice vectors (2, 2) in pixels, rows.
    """

    places: Tensor
    heights: Tensor
    sigma_px: float
    vectors: Tensor


def profile_of(cell: Cell, pair: Tensor) -> Profile | None:
    """The columns of a mean cell; None if it has no maxima that stand out."""
    table = cell.table()[0]
    sign = 1.0 if float((table**3).mean()) >= 0 else -1.0
    bright = sign * table
    around = torch.nn.functional.pad(bright[None], (2, 2, 2, 2), mode="circular")
    highest = torch.nn.functional.max_pool2d(around, 5, 1)[0]
    low, high = float(bright.min()), float(bright.max())
    peaks = (bright >= highest) & (bright > low + _LEAST_HEIGHT * (high - low))
    where = peaks.nonzero()
    where = where[bright[where[:, 0], where[:, 1]].argsort(descending=True)][:_MOST_KINDS]
    if not len(where):
        return None
    vectors = torch.linalg.inv(pair.T).float()
    places = where.float() / TABLE
    line = torch.arange(0, TABLE, _COARSER, device=table.device) / TABLE
    grid = torch.cartesian_prod(line, line)
    coarse = table[::_COARSER, ::_COARSER].flatten().double()
    shortest = float(vectors.norm(dim=1).min())
    best, heights, sigma_px = torch.inf, table.new_zeros(len(places)), shortest / 6
    squares = [_distance2(grid, place, vectors) for place in places]
    for share in torch.linspace(0.06, 0.34, 29).tolist():
        sigma = share * shortest
        shapes = [torch.exp(-0.5 * near / sigma**2).sum(0) for near in squares]
        design = torch.stack([*shapes, torch.ones_like(shapes[0])], 1).double()
        normal = design.T @ design
        normal.diagonal().mul_(1 + 1e-9)
        solved = torch.linalg.solve(normal, design.T @ coarse)
        misfit = float((design @ solved - coarse).square().mean())
        if misfit < best:
            best, heights, sigma_px = misfit, solved[:-1].float(), sigma
    return Profile(places, heights, sigma_px, vectors)


def _distance2(grid: Tensor, place: Tensor, vectors: Tensor) -> Tensor:
    """Squared distances in pixels from grid points to a column and its nearest copies, (9, g)."""
    off = grid - place
    off = off - off.round()
    line = torch.tensor([-1.0, 0.0, 1.0], device=grid.device)
    copies = torch.cartesian_prod(line, line)
    return ((off + copies[:, None]) @ vectors).square().sum(-1)
