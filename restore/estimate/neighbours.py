"""Which samples lie beside which, found once for each path: what a reading is judged by."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.gridding import FrameGeometry

__all__ = ["NEAREST", "across", "in_field", "nearest", "places_px", "spacing_px"]

NEAREST = 8
_LOOKED_AT = 64  # of the nearest samples, for those that were taken at another time
_TOLD_FROM = 4096  # samples, of a distance that all of them share
_LATER = 24  # samples along the path from which on a neighbour was taken at another time

_inside = WeakIdKeyDictionary()  # geometry → (n,) bool
_nearest = WeakIdKeyDictionary()  # geometry → (n, 8) indices
_across = WeakIdKeyDictionary()  # geometry → (n, 8) indices


def in_field(geometry: FrameGeometry) -> Tensor:
    """Which samples lie inside the field, bool (n,), on the processor."""
    if geometry not in _inside:
        _inside[geometry] = (geometry.dwell > 0).cpu()
    found: Tensor = _inside[geometry]
    return found


def nearest(geometry: FrameGeometry) -> Tensor:
    """The eight samples nearest to each, nearest first, int64 (n, 8), on the processor."""
    if geometry not in _nearest:
        _nearest[geometry] = torch.from_numpy(_query(geometry, NEAREST, np.arange(geometry.count)))
    found: Tensor = _nearest[geometry]
    return found


def across(geometry: FrameGeometry) -> Tensor:
    """Up to eight samples near each that were taken at another time: the next turns, the lines above and below.

    Returns:
        int64 (n, 8), on the processor; a sample's own index stands where there are fewer.
    """
    if geometry not in _across:
        _across[geometry] = torch.from_numpy(_across_of(geometry, np.arange(geometry.count)))
    found: Tensor = _across[geometry]
    return found


def spacing_px(geometry: FrameGeometry) -> float:
    """Median distance from a sample to the nearest of another time, told from some of them; 0 where there are none."""
    some = np.arange(0, geometry.count, -(-geometry.count // _TOLD_FROM))
    near, places = _across_of(geometry, some)[:, 0], places_px(geometry).numpy()
    apart = np.hypot(*(places[near] - places[some])[near != some].T)
    return float(np.median(apart)) if len(apart) else 0.0


def _across_of(geometry: FrameGeometry, samples: np.ndarray) -> np.ndarray:
    """Up to eight samples near each of ``samples`` (m,) that were taken at another time, (m, 8)."""
    near = _query(geometry, min(_LOOKED_AT, geometry.count - 1), samples)
    own = samples[:, None]
    later = np.abs(near - own) >= min(_LATER, geometry.count // 8)
    first = np.argsort(~later, 1, kind="stable")[:, :NEAREST]
    return np.where(np.take_along_axis(later, first, 1), np.take_along_axis(near, first, 1), own)


def places_px(geometry: FrameGeometry) -> Tensor:
    """Where each sample was taken, (y, x) in pixels, float64 (n, 2), on the processor."""
    cols = geometry.shape[1]
    index = geometry.index.cpu()
    pixel = torch.stack((index // cols, index % cols), 1)
    return (pixel + geometry.offset.cpu()).double()


def _query(geometry: FrameGeometry, count: int, samples: np.ndarray) -> np.ndarray:
    """The nearest others of ``samples`` (m,), (m, count); samples outside the field are nobody's neighbours."""
    places = places_px(geometry).numpy()
    inside = in_field(geometry).numpy().nonzero()[0]
    count = min(count, len(inside) - 1)
    _, found = cKDTree(places[inside]).query(places[samples], k=count + 1)
    near = inside[found]
    own = near == samples[:, None]
    # Of samples on one place the sample itself need not come first, and of those outside it never comes.
    own[~own.any(1), -1] = True
    own &= np.cumsum(own, 1) == 1
    return near[~own].reshape(len(samples), count)
