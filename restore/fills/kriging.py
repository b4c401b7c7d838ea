"""Local ordinary kriging: the best unbiased linear combination of the nearest samples, by a covariance of this frame.

The covariance is chosen for each frame, as the one that predicts samples from their neighbours best. Pixels of one
small block share their neighbours, and so one factorisation; all blocks are solved in batches.

References: Cressie, "Statistics for Spatial Data", 1993, section 3.2 (the equations) and 3.4.4 (neighbourhoods).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from restore.fills.leaving_out import covariance_by_leaving_out
from restore.fills.variogram import Covariance

__all__ = ["kriging", "solve_kriging"]

_BATCH = 8192  # systems at once: 8192 · 32² · 4 bytes = 34 MB


def kriging(
    positions_px: Tensor,
    values: Tensor,
    shape: tuple[int, int],
    neighbours: int = 32,
    block_px: int = 2,
    covariance: Covariance | None = None,
) -> Tensor:
    """Ordinary kriging at every pixel centre.

    Args:
        positions_px: (y, x) of each sample in pixels, pixel centres at whole numbers, shape ``(n, 2)``.
        values: samples, shape ``(n,)``.
        neighbours: samples used for each block, the nearest to its centre.
        block_px: side of the blocks that share their neighbours; 1 gives every pixel its own.
        covariance: of the frame; chosen by leaving samples out if none is given.

    Returns:
        Estimate of the noise-free signal, ``shape``.
    """
    rows, cols = shape
    if covariance is None:
        covariance = covariance_by_leaving_out(positions_px.cpu(), values.cpu(), neighbours)
    places = positions_px.cpu().double()
    measured = values.cpu().double()
    level = measured.mean()
    corners = np.stack(
        np.meshgrid(np.arange(0, rows, block_px), np.arange(0, cols, block_px), indexing="ij"), -1
    ).reshape(-1, 2)
    tree = cKDTree(places.numpy())
    _, nearest = tree.query(corners + (block_px - 1) / 2, k=min(neighbours, len(places)), workers=-1)
    nearest = torch.from_numpy(nearest.reshape(len(corners), -1))
    inner = torch.cartesian_prod(torch.arange(block_px), torch.arange(block_px)).reshape(-1, 2)
    corner = torch.from_numpy(corners)
    estimate = torch.zeros(rows + block_px, cols + block_px, dtype=torch.float64)
    for first in range(0, len(corner), _BATCH):
        part = slice(first, first + _BATCH)
        targets = corner[part, None] + inner
        found = solve_kriging(
            places[nearest[part]].float(), (measured - level)[nearest[part]].float(), targets.float(), covariance
        )
        estimate[targets[..., 0], targets[..., 1]] = found.double()
    return (estimate[:rows, :cols] + level).to(values)


def solve_kriging(places: Tensor, values: Tensor, targets: Tensor, covariance: Covariance) -> Tensor:
    """Ordinary kriging of many neighbourhoods at once.

    Args:
        places: ``(m, k, 2)``; values: ``(m, k)``; targets: ``(m, t, 2)``, in the same units.
        covariance: of one frame.

    Returns:
        Estimates ``(m, t)``: with ``C`` the covariance of the samples, nugget included, and ``c`` that to the
        target, ``c'C⁻¹(z − μ) + μ`` where ``μ = 1'C⁻¹z / 1'C⁻¹1``.
    """
    between = covariance(torch.cdist(places, places)[None])[0]
    # Samples that coincide make C singular but for the nugget.
    between.diagonal(dim1=-2, dim2=-1).add_(covariance.nugget)
    factor = torch.linalg.cholesky(between)
    ones = torch.ones_like(values)
    solved = torch.cholesky_solve(torch.stack((values, ones), -1), factor)
    level = solved[..., 0].sum(-1) / solved[..., 1].sum(-1)
    weights = solved[..., 0] - level[:, None] * solved[..., 1]
    towards = covariance(torch.cdist(targets, places)[None])[0]
    return (towards * weights[:, None]).sum(-1) + level[:, None]
