"""Nearest sample and Delaunay-linear interpolation, at the samples' sub-pixel positions.

Nearest is the published network input of the poster's author; linear is what a first attempt in SciPy gives.
Both are geometry alone and run on the processor, whatever the engine's device.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import Delaunay, QhullError, cKDTree
from torch import Tensor

__all__ = ["linear", "nearest"]


def _pixel_centres(shape: tuple[int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), -1).reshape(-1, 2)


def nearest(positions_px: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Each pixel takes the value of the sample nearest to its centre.

    Args:
        positions_px: (y, x) in pixels, pixel centres at whole numbers, shape ``(n, 2)``.
        values: shape ``(n,)``.

    Returns:
        Estimate of shape ``shape``.
    """
    tree = cKDTree(positions_px.cpu().numpy())
    _, index = tree.query(_pixel_centres(shape), workers=-1)
    return values[torch.from_numpy(index).to(values.device)].reshape(shape)


def linear(positions_px: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Linear on the Delaunay triangles of the samples; nearest beyond their convex hull.

    Arguments and result as :func:`nearest`. Samples at the same place, and samples in one straight line,
    which have no triangles, are taken by the nearest.
    """
    places, first = np.unique(positions_px.cpu().numpy().astype(np.float64), axis=0, return_index=True)
    measured = values.detach().cpu().numpy().astype(np.float64)[first]
    pixels = _pixel_centres(shape)
    try:
        mesh = Delaunay(places)
    except QhullError:
        return nearest(positions_px, values, shape)
    simplex = mesh.find_simplex(pixels)
    inside = simplex >= 0
    corners = mesh.transform[simplex[inside]]
    partial = np.einsum("nij,nj->ni", corners[:, :2], pixels[inside] - corners[:, 2])
    weights = np.c_[partial, 1 - partial.sum(1)]
    estimate = nearest(positions_px, values, shape).reshape(-1)
    filled = (measured[mesh.simplices[simplex[inside]]] * weights).sum(1)
    # Flat triangles of nearly collinear samples have no inverse; the nearest stays there.
    at = np.flatnonzero(inside)[np.isfinite(filled)]
    estimate[torch.from_numpy(at).to(estimate.device)] = torch.from_numpy(filled[np.isfinite(filled)]).to(estimate)
    return estimate.reshape(shape)
