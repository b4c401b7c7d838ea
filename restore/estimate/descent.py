"""Where samples fit an estimate best, about a place: a parabola through what they say of seven places around it.

How well samples fit is asked at places as far apart as it is uncertain, not by the slopes at one place: an estimate
that was made from arcs far apart has its edges pixels away from where they are, and slopes there say nothing of it.
Neighbouring samples share the estimate's errors, so what a fit is worth follows from how far blocks of the field
disagree, not from single samples (the "sandwich" of clustered errors, each block held against a fit by the others).

References:
    Liang & Zeger, Biometrika 73 (1986) 13 (clustered errors).
    Vuong, Econometrica 57 (1989) 307 (which of two fits is better).
    Bell & McCaffrey, Surv. Methodol. 28 (2002) 169 (their bias where few blocks tell).
    Conn, Scheinberg & Vicente, Introduction to Derivative-Free Optimization (SIAM, 2009), ch. 10 (quadratic models).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore.estimate.known import Known

__all__ = ["Fit", "descend", "fits_better"]

Array = NDArray[np.float64]

_ROUNDS = 8
_BLOCKS = 8  # by so many blocks of the field, which are taken to err independently
_FORGIVEN = 2.5  # deviations from which on a sample counts less (Cauchy)
_FARTHEST_PX = 3.0  # to the places that are asked about, from the middle one
_NEAREST_PX = 0.5
_ROUGH_PX = 1.5  # while they show no best place: closer by, noise says more than the specimen
_AT_FIRST_PX = 2.0  # however surely a place was foretold
_REACHED = 4.0  # standard deviations likewise
_CONVERGED = 0.1  # standard deviations that a last step may be long
_CONVERGED_PX = 0.01
_FLATTEST = 1e-3  # curvature of the flatter direction, of that of the other one, at least
_ARCHED = 0.05  # from which curvature the other way on there is no best place nearby
_EXACT_PX = 0.02  # better no place is told
_SHARED = 1.5  # samples that share an error, at least, however well few blocks agree
_FEW = 8.0  # blocks, of which what they say of each other is worth half
_BY_OTHERS = 0.9  # of a block's own pull that is taken off when it is held against the others
_TURN = 0.26  # of the places from one round to the next, radians

_SIX = np.arange(6) * np.pi / 3


@dataclass(frozen=True)
class Fit:
    """Where a descent ended.

    Attributes:
        place: (y, x) in pixels, by the samples and what was foretold. covariance: of it, (2, 2).
        misfit: mean square of the samples' deviations in units of what was expected, outliers counting less.
        cost: log likelihood lost by a sample. count: of how many samples.
        surprise: squared distance from what was foretold to what samples alone say, in standard deviations of both.
    """

    place: Array
    covariance: Array
    misfit: float
    cost: float
    count: int
    surprise: float

    @property
    def sd_px(self) -> float:
        """One standard deviation, of the worse direction."""
        return _worst(self.covariance)

    @property
    def is_told(self) -> bool:
        """Whether anything could be compared."""
        return math.isfinite(self.misfit) and self.count > 0


@dataclass(frozen=True)
class _Parabola:
    """What samples say about a place.

    Attributes:
        step: from there to the best fit. covariance: of that. shared: samples that share an error.
        holds: the fit has one best place nearby.
        asked: places, from the first one, (7, 2). costs: log likelihood lost there, (7,).
    """

    step: Array
    covariance: Array
    shared: float
    holds: bool
    asked: Array
    costs: Array


def descend(values: Tensor, places: Tensor, known: Known, start: Array, prior: Array, spread: Array) -> Fit:
    """The movement d by which samples fit best, from ``start``; what was foretold holds it where samples say nothing.

    Args:
        values: samples (n,). places: their (y, x) in pixels, (n, 2).
        known: the estimate, which has moved by d.
        prior: what was foretold, (y, x) in pixels. spread: its covariance, (2, 2).
    """
    pull = np.linalg.inv(spread)
    block = _blocks(places, known)
    place = start
    radius = max(_radius(spread, _FARTHEST_PX), _AT_FIRST_PX)
    best, alone, covariance = prior, spread, spread
    for number in range(_ROUNDS):
        told = _ask(values, places, block, known, place, radius, number * _TURN)
        if told is None:
            return Fit(prior, spread, math.inf, 0.0, 0, 0.0)
        precision = np.linalg.inv(told.covariance)
        covariance = np.linalg.inv(precision + pull)
        step = covariance @ (precision @ told.step + pull @ (prior - place))
        length = math.hypot(*step)
        best, alone = place + told.step, told.covariance  # by the samples alone
        if told.holds and length <= 2 * radius:
            place = place + step * min(1.0, radius / max(length, 1e-9))
            closer = _radius(covariance, radius)
            if length < max(_CONVERGED * _worst(covariance), _CONVERGED_PX) and closer > 0.7 * radius:
                break
            radius = closer if length < radius else radius
        else:  # too far from any best fit for a parabola: to the best of the places that were asked about
            far = place + told.asked - prior
            chosen = int((told.costs / told.shared + 0.5 * np.einsum("ij,jk,ik->i", far, pull, far)).argmin())
            place = place + told.asked[chosen]
            radius = max(radius / 2, min(radius, _ROUGH_PX)) if chosen == 0 else radius
    off = best - prior
    surprise = float(off @ np.linalg.solve(alone + spread, off))
    return Fit(place, covariance, *_lost(values, places, known, place), surprise)


def _radius(covariance: Array, most: float) -> float:
    return min(most, max(_REACHED * _worst(covariance), _NEAREST_PX))


def _worst(covariance: Array) -> float:
    return math.sqrt(float(np.linalg.eigvalsh(covariance)[-1]))


def _ask(
    values: Tensor, places: Tensor, block: Tensor, known: Known, place: Array, radius: float, turn: float
) -> _Parabola | None:
    """What samples say of a place and six around it; None: nothing that is finite."""
    asked = radius * np.vstack((np.zeros((1, 2)), np.stack((np.sin(_SIX + turn), np.cos(_SIX + turn)), 1)))
    moved = values.new_tensor(place + asked)
    inside = _inside(places, moved, known)  # at all of them, to be comparable
    lost = _forgiving(_squares(values, places, known, place + asked)) * inside
    costs = lost.new_zeros(_BLOCKS**2, len(asked)).index_add_(0, block, lost.T.contiguous()).double().cpu().numpy()
    if not np.isfinite(costs).all():
        return None
    y, x = asked.T
    through = np.linalg.pinv(np.stack((np.ones_like(y), y, x, y * y / 2, y * x, x * x / 2), 1))
    terms = costs @ through.T
    pulls, bends = terms[:, 1:3], terms[:, [3, 4, 4, 5]].reshape(-1, 2, 2)
    curvatures, axes = np.linalg.eigh(bends.sum(0))
    steepest = float(np.abs(curvatures).max())
    bend = (axes * np.maximum(curvatures, max(_FLATTEST * steepest, 1e-9))) @ axes.T
    inverse = np.linalg.inv(bend)
    step = -inverse @ pulls.sum(0)
    reached = step * min(1.0, radius / max(math.hypot(*step), 1e-9))
    left = pulls + bends @ reached
    left -= left.mean(0)
    own = _BY_OTHERS * np.clip(bends @ inverse, -_BY_OTHERS, _BY_OTHERS)
    left = np.linalg.solve(np.eye(2) - own, left[:, :, None])[:, :, 0]
    scatter = left.T @ left
    scatter += (1e-4 * np.trace(scatter) + 1e-12) * np.eye(2)
    told = np.abs(np.einsum("bii->b", bends))
    few = 1 + _FEW * float(np.square(told).sum() / max(float(told.sum()) ** 2, 1e-12))
    covariance = few * inverse @ scatter @ inverse + _SHARED * inverse + _EXACT_PX**2 * np.eye(2)
    shared = max(float(np.trace(scatter) / max(np.abs(curvatures).sum(), 1e-9)), 1.0)
    holds = bool(curvatures[0] >= -_ARCHED * steepest)
    return _Parabola(step, covariance, shared, holds, asked, costs.sum(0))


def _inside(places: Tensor, moved: Tensor, known: Known) -> Tensor:
    """Which places (n, 2) the estimate reaches, wherever of ``moved`` (m, 2) it lies, bool (n,)."""
    inside = torch.ones_like(places[:, 0], dtype=torch.bool)
    for at, offsets, side in zip(places.unbind(1), moved.unbind(1), known.estimate.shape, strict=True):
        inside &= (at - offsets.max() >= 0) & (at - offsets.min() <= side - 1)  # pairs take ten times as long
    return inside


def _lost(values: Tensor, places: Tensor, known: Known, place: Array) -> tuple[float, float, int]:
    """The misfit there, the log likelihood lost by a sample, and of how many samples."""
    inside = _inside(places, values.new_tensor(place)[None], known).to(values.dtype)
    square = _squares(values, places, known, place[None])[0]
    weight = inside / (1 + square / _FORGIVEN**2)
    misfit = float((weight * square).sum() / weight.sum().clamp_min(1.0))
    count = int(inside.sum())
    return misfit, float((_forgiving(square) * inside).sum()) / max(count, 1), count


def fits_better(values: Tensor, places: Tensor, known: Known, place: Array, other: Array) -> float:
    """By how many standard deviations samples fit better at a place than at another, as blocks of the field agree.

    Vuong's test, of the samples that the estimate reaches wherever of both it lies: its edges are what is known least,
    and a place that leaves them out would seem to fit better.
    """
    asked = np.stack((place, other))
    inside = _inside(places, values.new_tensor(asked), known)
    here, there = _forgiving(_squares(values, places, known, asked))
    gained = values.new_zeros(_BLOCKS**2).index_add_(0, _blocks(places, known), (there - here) * inside).double()
    return float(gained.sum() / gained.square().sum().clamp_min(1e-12).sqrt())


def _squares(values: Tensor, places: Tensor, known: Known, asked: Array) -> Tensor:
    """Squared deviations of samples in units of what was expected, at each place that is asked about, (m, n)."""
    level, variance = known.compared_at(places - values.new_tensor(asked)[:, None])
    return (values - level).square_().div_(variance)


def _forgiving(squares: Tensor) -> Tensor:
    """Log likelihood that squared deviations lose, outliers counting less."""
    return torch.log1p(squares / _FORGIVEN**2).mul_(0.5 * _FORGIVEN**2)


def _blocks(places: Tensor, known: Known) -> Tensor:
    """Number of the block of the field in which each place lies, (n,)."""
    part = (places * (_BLOCKS / places.new_tensor(known.estimate.shape))).long().clamp(0, _BLOCKS - 1)
    return part[:, 0] * _BLOCKS + part[:, 1]
