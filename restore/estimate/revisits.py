"""Places that a path passes more than once, and what differences between those visits can be explained by.

Two readings of one place differ by what the instrument did between them, and by what the specimen differs over the
little that parts them. An explanation is a sum of columns; it is kept only where it foretells readings that it was not
fitted to, by more than chance: each fold of pieces of the path is foretold from the others.

References: Arlot, Celisse, "A survey of cross-validation procedures", Statistics Surveys 4 (2010) 40, section 8.1
(blocks of dependent data); Holland, Welsch, Communications in Statistics A6 (1977) 813 (reweighted least squares with
Cauchy weights).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restore.estimate.neighbours import places_px, some_across, spacing_px, tree_of
from restore.gridding import FrameGeometry

__all__ = ["Explanation", "Visits", "beside", "chance", "crossings", "explained", "foretold"]

Array = NDArray[np.float64]

_CROSSING_PX = 2.0
_OF_SPACING = 0.5  # of how near a neighbouring line mostly is: closer than they ever come
_APART = 0.04  # of the frame's time between two visits that count as a crossing
_CLOSE_PX = 0.5  # nearer than this, the pixel and the probe part two readings, not their places
_MOST = 6144  # pairs, the closest
_BESIDE = 3  # neighbours of each sample
_PIECES = 24
_FOLDS = 8
_ROUNDS = 4
_AGREE = 1e-3  # of the readings' spread: nearer to each other than this, two readings are one
_TAIL = 2.0  # spreads from which on a difference counts less


@dataclass(frozen=True)
class Visits:
    """Pairs of samples (p,) of nearly one place at two times.

    Attributes:
        one, other: their indices.
        say: weight of each pair, the inverse of how much the specimen may differ.
        piece: of the path, 0 to 23, in which the later of them was taken.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    say: Array
    piece: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.one)

    def where(self, chosen: NDArray[np.bool_]) -> Visits:
        """Those pairs of them that are ``chosen`` (p,)."""
        if chosen.all():
            return self
        return Visits(self.one[chosen], self.other[chosen], self.say[chosen], self.piece[chosen])

    def difference(self, values: Array) -> Array:
        """Of values (n,) or (n, k) at the samples: those of the first visit less those of the other."""
        return np.asarray(values[self.one] - values[self.other])


def crossings(geometry: FrameGeometry, time_us: Array) -> Visits:
    """Pairs where the path crosses itself: much closer than its neighbouring lines, and long after.

    Args:
        time_us: of each sample, rising, (n,).
    """
    places, (tree, inside) = places_px(geometry).numpy(), tree_of(geometry)
    reach = _OF_SPACING * spacing_px(geometry, _CROSSING_PX / _OF_SPACING)
    pairs = inside[tree.query_pairs(reach, output_type="ndarray")]
    long = np.abs(time_us[pairs[:, 0]] - time_us[pairs[:, 1]]) >= _APART * (time_us[-1] - time_us[0])
    return _visits(pairs[long, 0], pairs[long, 1], places, time_us)


def beside(geometry: FrameGeometry, time_us: Array) -> Visits:
    """Pairs of a sample and one near it on another line or turn, the closest of them."""
    some, across = some_across(geometry)
    near = across.numpy()[:, :_BESIDE]
    own = np.broadcast_to(some.numpy()[:, None], near.shape)
    other = near != own
    return _visits(own[other], near[other], places_px(geometry).numpy(), time_us)


def _visits(one: NDArray[np.int64], other: NDArray[np.int64], places: Array, time_us: Array) -> Visits:
    distance_px = np.hypot(*(places[one] - places[other]).T)
    closest = np.argsort(distance_px, kind="stable")[:_MOST]
    one, other = one[closest], other[closest]
    later = np.maximum(time_us[one], time_us[other]) - time_us[0]
    piece = np.minimum((later * _PIECES / (time_us[-1] - time_us[0])).astype(np.int64), _PIECES - 1)
    return Visits(one, other, 1 / (distance_px[closest] + _CLOSE_PX) ** 2, piece)


@dataclass(frozen=True)
class Explanation:
    """Coefficients (k,) of columns and their covariance (k, k)."""

    coefficients: Array
    covariance: Array


def foretold(visits: Visits, differences: Array, columns: Array, prior: Array) -> Array:
    """What columns (p, k) leave of differences (p,), each fold explained from the others.

    Args:
        prior: standard deviation of each coefficient before anything is known, (k,).
    """
    fit = _fitted(differences, columns, visits.say, prior)
    left, folds = differences.copy(), visits.piece % _FOLDS
    for fold in range(_FOLDS):
        asked = folds == fold
        theirs = columns[asked] * fit.weight[asked, None]
        found = np.linalg.solve(fit.normal - theirs.T @ columns[asked], fit.right - theirs.T @ differences[asked])
        left[asked] -= columns[asked] @ found
    return left


def chance(visits: Visits, before: Array, after: Array) -> float:
    """By how many standard deviations differences (p,) left ``after`` are smaller than those ``before``.

    Both are of readings that were withheld, in their spreads; pieces of the path are independent of each other.
    """
    root = np.sqrt(visits.say)
    spread = max(min(_spread(before * root), _spread(after * root)), _AGREE * float(np.median(root)))
    cost = [np.log1p((left * root / (_TAIL * spread)) ** 2) for left in (before, after)]
    gained = np.bincount(visits.piece, cost[0] - cost[1], _PIECES)[np.bincount(visits.piece, minlength=_PIECES) > 0]
    return float(gained.sum() / (gained.std() * np.sqrt(len(gained)) + 1e-12))


def explained(visits: Visits, differences: Array, columns: Array, prior: Array) -> Explanation:
    """Coefficients of columns (p, k) that explain differences (p,), each as far as it is known at all."""
    fit = _fitted(differences, columns, visits.say, prior)
    inverse = np.linalg.inv(fit.normal)
    found = inverse @ fit.right
    of_piece = np.zeros((_PIECES, len(prior)))
    np.add.at(of_piece, visits.piece, columns * (fit.weight * (differences - columns @ found))[:, None])
    # Pieces tell how much neighbouring pairs repeat each other; where they are few, the fit's own covariance is added.
    covariance = inverse @ (of_piece.T @ of_piece) @ inverse + inverse
    variance, axes = np.linalg.eigh(covariance / np.outer(prior, prior))
    along = axes.T @ (found / prior)
    along *= np.clip(1 - variance / np.maximum(along**2, 1e-30), 0, 1)
    return Explanation(prior * (axes @ along), covariance)


@dataclass(frozen=True)
class _Fit:
    """Weighted least squares: the weight of each pair (p,), the normal matrix (k, k) and its right side (k,)."""

    weight: Array
    normal: Array
    right: Array


def _fitted(differences: Array, columns: Array, say: Array, prior: Array) -> _Fit:
    root, left, weight = np.sqrt(say), differences, say
    for _ in range(_ROUNDS):
        spread = _spread(left * root)
        weight = say / (1 + (left * root / (_TAIL * spread)) ** 2) / spread**2
        weighted = columns * weight[:, None]
        normal = weighted.T @ columns + np.diag(prior**-2.0)
        right = weighted.T @ differences
        left = differences - columns @ np.linalg.solve(normal, right)
    return _Fit(weight, normal, right)


def _spread(values: Array) -> float:
    return max(1.4826 * float(np.median(np.abs(values))), 1e-6)
