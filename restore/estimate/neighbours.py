"""Which samples lie beside which, found once for each path: what a reading is judged by.

The beginning of a path has its neighbours from the whole, but for those of its last samples.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.gridding import FrameGeometry

__all__ = [
    "NEAREST",
    "across",
    "close_pairs",
    "in_field",
    "nearest",
    "places_px",
    "some_across",
    "spacing_px",
    "tree_of",
]

NEAREST = 8
_LOOKED_AT = 64  # of the nearest samples, for those that were taken at another time
_LOOKED_AT_FIRST = 24  # which is enough nearly everywhere on a grid
_TOLD_FROM = 1024  # samples, of a distance that all of them share
_LATER = 24  # samples along the path from which on a neighbour was taken at another time
_SOME = 1 << 15  # samples, of which pairs are found that what is slow is told from; more say little more
_SHARED_OUT = 1 << 16  # samples from which on threads share the search

_inside = WeakIdKeyDictionary()  # geometry → (n,) bool
_nearest = WeakIdKeyDictionary()  # geometry → (n, 8) indices
_some_across = WeakIdKeyDictionary()  # geometry → indices (m,) and theirs (m, 8)
_trees = WeakIdKeyDictionary()  # geometry → tree, and the samples (k,) in it


def in_field(geometry: FrameGeometry) -> Tensor:
    """Which samples lie inside the field, bool (n,), on the processor."""
    if geometry not in _inside:
        _inside[geometry] = (geometry.dwell > 0).cpu()
    found: Tensor = _inside[geometry]
    return found


def nearest(geometry: FrameGeometry) -> Tensor:
    """The eight samples nearest to each, nearest first, int64 (n, 8), on the processor."""
    if geometry not in _nearest:
        whole = geometry.whole
        if whole is not None and whole in _nearest:
            _nearest[geometry] = _among_first(geometry, _nearest[whole])
        else:
            _nearest[geometry] = torch.from_numpy(_query(geometry, NEAREST, np.arange(geometry.count)))
    found: Tensor = _nearest[geometry]
    return found


def _among_first(geometry: FrameGeometry, of_whole: Tensor) -> Tensor:
    """The same of the beginning of a path, only those sought anew that have neighbours in its rest."""
    found = of_whole[: geometry.count].clone()
    later = (found >= geometry.count).any(1).nonzero()[:, 0]
    if len(later):
        found[later] = torch.from_numpy(_query(geometry, NEAREST, later.numpy()))
    return found


def across(geometry: FrameGeometry, samples: Tensor) -> Tensor:
    """Up to eight samples near each of ``samples`` (m,) that were taken at another time: the next turns, other lines.

    Returns:
        int64 (m, 8), on the processor; a sample's own index stands where there are fewer.
    """
    return torch.from_numpy(_across_of(geometry, samples.numpy()))


def some_across(geometry: FrameGeometry) -> tuple[Tensor, Tensor]:
    """Samples all along the path (m,), all of them where they are not very many, and :func:`across` of each (m, 8)."""
    if geometry not in _some_across:
        some = torch.arange(0, geometry.count, -(-geometry.count // _SOME))
        _some_across[geometry] = (some, across(geometry, some))
    found: tuple[Tensor, Tensor] = _some_across[geometry]
    return found


def spacing_px(geometry: FrameGeometry, within_px: float) -> float:
    """Median distance from a sample to the nearest of another time, told from some of them; ``within_px`` at most."""
    some = np.arange(0, geometry.count, -(-geometry.count // _TOLD_FROM))
    near, places = _across_of(geometry, some, within_px)[:, 0], places_px(geometry).numpy()
    apart = np.hypot(*(places[near] - places[some]).T)
    return float(np.median(np.where(near == some, within_px, apart)))


def close_pairs(geometry: FrameGeometry, within_px: float, most: int) -> tuple[Tensor, Tensor]:
    """Samples, and others that were taken at another time no farther from them than that, (p,) each.

    Of each sample, as of :func:`some_across`, the ``most`` nearest; on the processor. Found sooner than those of all.
    """
    tree, inside = tree_of(geometry)
    pairs = inside[tree.query_pairs(within_px, output_type="ndarray")]
    pairs = pairs[np.abs(pairs[:, 0] - pairs[:, 1]) >= _apart(geometry)]
    one, other = np.concatenate((pairs, pairs[:, ::-1])).T
    asked = one % -(-geometry.count // _SOME) == 0
    one, other = one[asked], other[asked]
    places = places_px(geometry).numpy()
    order = np.lexsort((np.square(places[one] - places[other]).sum(1), one))
    one, other = one[order], other[order]
    nearest_ones = np.arange(len(one)) - np.searchsorted(one, one) < most
    return torch.from_numpy(one[nearest_ones]), torch.from_numpy(other[nearest_ones])


def _apart(geometry: FrameGeometry) -> int:
    """How many samples along the path make another time."""
    return min(_LATER, geometry.count // 8)


def _across_of(geometry: FrameGeometry, samples: np.ndarray, within_px: float = np.inf) -> np.ndarray:
    """Up to eight samples near each of ``samples`` (m,) that were taken at another time, (m, 8)."""
    found = np.repeat(samples[:, None], NEAREST, 1)
    some = np.arange(len(samples))  # of which eight are not found yet
    for looked_at in (_LOOKED_AT,) if geometry.is_drawn else (_LOOKED_AT_FIRST, _LOOKED_AT):
        own = samples[some, None]
        near = _query(geometry, min(looked_at, geometry.count - 1), samples[some], within_px)
        later = np.abs(near - own) >= _apart(geometry)
        first = np.argsort(~later, 1, kind="stable")[:, :NEAREST]
        found[some] = np.where(np.take_along_axis(later, first, 1), np.take_along_axis(near, first, 1), own)
        some = some[later.sum(1) < NEAREST]
        if not len(some):
            break
    return found


def places_px(geometry: FrameGeometry) -> Tensor:
    """Where each sample was taken, (y, x) in pixels, float64 (n, 2), on the processor."""
    cols = geometry.shape[1]
    index = geometry.index.cpu()
    pixel = torch.stack((index // cols, index % cols), 1)
    return (pixel + geometry.offset.cpu()).double()


def _query(geometry: FrameGeometry, count: int, samples: np.ndarray, within_px: float = np.inf) -> np.ndarray:
    """The nearest others of ``samples`` (m,), (m, count); samples outside the field are nobody's neighbours.

    Where there are fewer ``within_px``, the sample itself stands in their place.
    """
    places = places_px(geometry).numpy()
    tree, inside = tree_of(geometry)
    count = min(count, len(inside) - 1)
    workers = torch.get_num_threads() if len(samples) >= _SHARED_OUT else 1
    _, found = tree.query(places[samples], k=count + 1, workers=workers, distance_upper_bound=within_px)
    near = np.where(found < len(inside), inside[np.minimum(found, len(inside) - 1)], samples[:, None])
    own = near == samples[:, None]
    # Of samples on one place the sample itself need not come first, and of those outside it never comes.
    own[~own.any(1), -1] = True
    own &= np.cumsum(own, 1) == 1
    return near[~own].reshape(len(samples), count)


def tree_of(geometry: FrameGeometry) -> tuple[cKDTree, np.ndarray]:
    """A tree of the places in pixels of all samples inside the field, and which samples those are, (k,)."""
    if geometry not in _trees:
        inside = in_field(geometry).numpy().nonzero()[0]
        _trees[geometry] = (cKDTree(places_px(geometry).numpy()[inside]), inside)
    found: tuple[cKDTree, np.ndarray] = _trees[geometry]
    return found
