"""The coils' time constant, the signal's delay and the detector's afterglow, from ordinary scans of one place.

Nothing need be known of the specimen: every scan must see the same one. For trial constants the positions of all scans
are computed, each scan is predicted from the image that the others make, and the sum of squared differences is
minimised. Scans in both directions show the sum of lag, delay and afterglow; what parts them is that lag also shrinks
fast curves and rounds off jumps, and that an afterglow blurs, so a set should hold turns or jumps about as fast as the
coils. Well below the dwell nothing parts them: then the sum is given as the time constant, with a delay of 0, which
puts the samples of any continuous path into the same places. Where they are parted, what is not told from nothing is 0.

The uncertainty is a sandwich estimate over blocks of samples (Liang and Zeger, Biometrika 73, 1986), which holds
without assuming independent residuals inside a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.calibration.agreement import Agreement, CalibrationScan
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput

__all__ = ["CoilEstimate", "NothingLate", "estimate"]

Array = NDArray[np.float64]

_COARSE_PX, _FINE_PX = 2.0, 0.8  # widths of all that lies between a sample and what others predict for it
_SOFT_PX = 1.2  # once more: by as much as the result then differs, it is not known
_STEPS, _SMALL = 12, 3e-3  # of a refinement; of the time constant, a step after which it ends
_CANDIDATES = 25
_BLOCKS = 32
_SUPPORTED = 2.0  # standard deviations by which scans must agree better with what is found
# Of all that is late: what scans between pixels bias each of the three, and their sum. The more of the readings the
# other scans leave unexplained, the more: the first is with all explained, the second is added with nothing explained.
_BIAS, _BIAS_OF_ALL = (0.04, 0.22), (0.015, 0.1)
_PARTED = 0.2  # of all three: the largest standard deviation at which lag, delay and afterglow count as told apart
_ANY_SHARE = 3**-0.5  # of a sum: rms distance from it of a part that may be any share of it


class NothingLate(InvalidInput):
    """Scans that do not agree better with any lag, delay or afterglow.

    ``at_most_us`` is how late readings may still be.
    """

    def __init__(self, late_us: float, late_sd_us: float, at_most_us: float) -> None:
        super().__init__(
            "calibration scans",
            f"lag, delay and afterglow of {late_us:.3g} ± {late_sd_us:.2g} us in all",
            "do not show one: scans do not agree better with any",
            "scan faster, give more dose, or choose a place with more contrast",
        )
        self.at_most_us = at_most_us


@dataclass(frozen=True)
class CoilEstimate:
    """What scans of one place say of coils and detector. ``*_rms``: how well scans predict one another, in counts.

    Attributes:
        coil: time constant, delay and, of order 2, damping, with their standard deviations. 0 for what is parted from
            the rest and not told from nothing.
        damping_sd: of order 2, else None.
        decay_us, decay_sd_us: of the detector's afterglow, likewise; None where it is not told from lag and delay.
        late_us, late_sd_us: lag, delay and afterglow together, which scans show far more sharply than either.
        parted: whether they tell them apart. If not, the time constant is all of it, though any part of it may be
            the delay or the afterglow, which its standard deviation says.
        unexplained: share of the readings' own variation, noise included, that the other scans do not foretell.
        gain_sds: by how many standard deviations scans agree better with it, pieces of them taken as independent.
    """

    coil: CoilModel
    damping_sd: float | None
    decay_us: float | None
    decay_sd_us: float | None
    late_us: float
    late_sd_us: float
    nominal_rms: float
    calibrated_rms: float
    samples: int
    parted: bool
    unexplained: float
    gain_sds: float


def estimate(
    scans: Sequence[CalibrationScan],
    shape: tuple[int, int],
    *,
    order: int = 1,
    start: CoilModel | None = None,
    search_us: tuple[float, float] | None = None,
) -> CoilEstimate:
    """Time constant, delay and (``order`` 2) damping with which ``scans`` agree best.

    Args:
        scans: at least two of the same place, in different directions, orders or speeds.
        shape: (rows, cols) of the grid on which scans are compared; about one sample a cell.
        search_us: where the time constant is looked for; by default 0.02 to 60 times the shortest dwell.
        start: begin there instead of searching.

    Raises:
        InvalidInput: too few scans or samples. NothingLate: no time constant makes them agree noticeably better.
    """
    if len(scans) < 2:
        raise InvalidInput("calibration scans", len(scans), "cannot be compared", "give two or more of the same place")
    shortest_us = float(min(scan.dwell_us.min() for scan in scans))
    total_us = float(min((scan.dwell_us + scan.move_us).sum() for scan in scans))
    low, high = search_us or (0.02 * shortest_us, min(60 * shortest_us, total_us / 20))
    if not 0 < low < high <= total_us / 2:
        raise InvalidInput(
            "search_us",
            f"{low:g} to {high:g}",
            "is not inside the duration of a scan",
            f"search below {total_us / 2:g} us",
        )
    model = Agreement(scans, shape, order)
    if start is None:
        # at low frequencies a critically damped second order with half the time constant lags as much
        searched = Agreement(scans, shape, 1)
        trials = np.geomspace(low, high, _CANDIDATES)
        costs = [_cost(searched.residuals(searched.vector(tau, 0.0), _COARSE_PX)) for tau in trials]
        first = float(trials[int(np.argmin(costs))]) / order
    else:
        first = max(start.time_constant_us, low)
    theta = model.vector(first, 0.0)
    # the delay joins late, and the afterglow last: from afar either is a worse guess at the same displacement
    every, glow = list(range(len(theta) - 1)), len(theta) - 1
    for sigma in (_COARSE_PX, _FINE_PX):
        theta = _refine(model, theta, sigma, shortest_us, high, [k for k in every if k != 1])
    fading = theta.copy()  # lag and afterglow are alike from afar: begin with each
    fading[[0, -1]] = 0.3 * theta[0], 0.7 * _lag_of_tau(theta) * theta[0]
    lagging = _refine(model, theta, _FINE_PX, shortest_us, high, every)
    found = [_refine(model, begin, _FINE_PX, shortest_us, high, [*every, glow]) for begin in (lagging, fading)]
    sharp = min(found, key=lambda one: _cost(model.residuals(one, _FINE_PX)))
    soft = _refine(model, sharp, _SOFT_PX, shortest_us, high, [*every, glow])
    return _result(model, lagging, sharp, soft, shortest_us, high)


def _cost(residuals: Array) -> float:
    return float(residuals @ residuals)


def _directions(theta: Array, pivot: int = 0) -> Array:
    """Columns along which to differentiate: each of lag, delay and decay at the expense of the ``pivot`` among them.

    Scans show their sum far more sharply than either, so all but the pivot's own direction keep it.
    """
    late = _late_of(theta)
    directions = np.eye(len(theta))
    for k in {0, 1, len(theta) - 1} - {pivot}:
        directions[pivot, k] = -late[k] / late[pivot]
    return directions


def _late_of(theta: Array) -> Array:
    """How late a unit of each makes readings; none of damping."""
    late = np.ones(len(theta))
    late[0] = _lag_of_tau(theta)
    if len(theta) > 3:
        late[2] = 0.0
    return late


def _lag_of_tau(theta: Array) -> float:
    """How late coils of time constant 1 are."""
    return 1.0 if len(theta) == 3 else 2 * max(float(theta[2]), 0.1)


def _jacobian(
    model: Agreement, theta: Array, sigma: float, shortest_us: float, free: list[int], pivot: int = 0
) -> Array:
    """Central differences (samples, free)."""
    tau_step = max(0.03 * theta[pivot], 0.02 * shortest_us)
    steps = np.array([tau_step, 2 * tau_step, 0.05, 2 * tau_step])[[*range(len(theta) - 1), 3]]
    columns = []
    for k in free:
        step = steps[k] * _directions(theta, pivot)[:, k]
        back = min(1.0, float(theta[-1]) / steps[k]) if k == len(theta) - 1 else 1.0  # no decay is below 0
        ahead, behind = model.residuals(theta + step, sigma), model.residuals(theta - back * step, sigma)
        columns.append((ahead - behind) / ((1 + back) * steps[k]))
    return np.stack(columns, axis=1)


def _refine(
    model: Agreement, theta: Array, sigma: float, shortest_us: float, high: float, free: list[int], pivot: int = 0
) -> Array:
    """Levenberg–Marquardt along ``free``; no step exceeds a third of the ``pivot``, or a tenth of a dwell."""
    model.choose(theta)
    residuals = model.residuals(theta, sigma)
    damping = 1e-3
    for _ in range(_STEPS):
        jacobian = _jacobian(model, theta, sigma, shortest_us, free, pivot)
        normal, slope = jacobian.T @ jacobian, jacobian.T @ residuals
        for _ in range(6):
            move = _directions(theta, pivot)[:, free] @ np.linalg.solve(
                normal + damping * np.diag(np.diag(normal) + 1e-12), -slope
            )
            move /= max(1.0, float(np.max(np.abs(move[[0, 1, -1]]))) / max(abs(theta[pivot]) / 3, 0.1 * shortest_us))
            trial = theta + move
            trial[-1] = max(trial[-1], 0.0)
            if 0 in free:
                trial[0] = min(max(trial[0], 1e-3 * shortest_us), high)
            new = model.residuals(trial, sigma)
            if _cost(new) < _cost(residuals):
                damping /= 4
                break
            damping = max(damping, 1e-3) * 8
        else:
            return theta
        small = bool(np.all(np.abs(trial - theta) < _SMALL * max(abs(theta[pivot]), shortest_us)))
        theta, residuals = trial, new
        if small:
            break
    return theta


def _covariance(model: Agreement, theta: Array, shortest_us: float, free: list[int]) -> Array:
    """Of ``theta``, by the sandwich; 0 for what is not ``free``."""
    residuals = model.residuals(theta, _FINE_PX)
    jacobian = _jacobian(model, theta, _FINE_PX, shortest_us, free)
    inverse = np.linalg.pinv(jacobian.T @ jacobian)
    blocks = _BLOCKS * len(model.scans)
    pairs = zip(np.array_split(jacobian, blocks), np.array_split(residuals, blocks), strict=True)
    scores = np.stack([block_j.T @ block_r for block_j, block_r in pairs])
    directions = _directions(theta)[:, free]
    return np.asarray(directions @ inverse @ (scores.T @ scores) @ inverse @ directions.T)


def _gain_sds(before: Array, after: Array, blocks: int) -> float:
    """By how many standard deviations residuals ``after`` are smaller, blocks of them taken as independent."""
    gained = np.array([float(block.sum()) for block in np.array_split(before**2 - after**2, blocks)])
    return float(gained.sum() / (gained.std() * math.sqrt(len(gained)) + 1e-12))


def _told(
    model: Agreement, full: Array, residuals: Array, sd: Array, lagging: Array, shortest_us: float, high: float
) -> tuple[Array, Array]:
    """``full`` without what is not told from nothing, the others refined anew, and standard deviations of both.

    One after another goes what the scans agree best without, until what is left is beyond its deviations and makes
    them agree better than they do without it by more than chance.

    Args:
        residuals, lagging: of ``full``, and what was found without an afterglow.
    """
    theta, left, damping = full, [0, 1, len(full) - 1], list(range(2, len(full) - 1))
    blocks = _BLOCKS * len(model.scans)
    while len(left) > 1:
        without: dict[int, Array] = {}
        for k in left[1:] if damping else left:  # damping is of a lag
            others = [one for one in left if one != k]
            if k == len(full) - 1 and len(left) == 3:
                without[k] = lagging
                continue
            late, begin = _late_of(theta), theta.copy()
            begin[others[0]] += theta[k] * late[k] / late[others[0]]
            begin[k] = 0.0
            without[k] = _refine(
                model, begin, _FINE_PX, shortest_us, high, sorted({*others, *damping}), pivot=others[0]
            )
        left_over = {k: model.residuals(one, _FINE_PX) for k, one in without.items()}
        # Of nested models the gain over the blocks is half as sure as the value is.
        sure = {k: min(abs(theta[k]) / sd[k], 2 * _gain_sds(left_over[k], residuals, blocks)) for k in without}
        if min(sure.values()) >= _SUPPORTED:
            break
        least = min(left_over, key=lambda k: _cost(left_over[k]))
        left.remove(least)
        theta, residuals = without[least], left_over[least]
    return theta, np.hypot(sd, theta - full)


def _result(
    model: Agreement, lagging: Array, sharp: Array, soft: Array, shortest_us: float, high: float
) -> CoilEstimate:
    """The mean of what sharp and softened images say, and half of their difference beside the sandwich's deviations."""
    theta, apart = 0.5 * (sharp + soft), 0.5 * (sharp - soft)
    covariance = _covariance(model, sharp, shortest_us, list(range(len(theta)))) + np.outer(apart, apart)
    summed = _late_of(theta)
    late_us = float(summed @ theta)
    if len(theta) > 3:
        summed[2] = 2 * theta[0]
    values, predicted = model.compare(sharp, _FINE_PX)
    unexplained = _cost(values - predicted) / _cost(values)
    systematic = max(late_us, shortest_us) * (np.array([_BIAS, _BIAS_OF_ALL]) @ (1.0, unexplained))
    late_sd_us = math.hypot(math.sqrt(max(0.0, float(summed @ covariance @ summed))), systematic[1])
    sd = np.sqrt(np.maximum(np.diag(covariance), 0) + (systematic[0] / summed) ** 2)
    parted = bool(max(sd[0] * summed[0], sd[1], sd[-1]) <= _PARTED * late_us)
    blocks = _BLOCKS * len(model.scans)
    if parted:
        theta, sd = _told(model, theta, values - predicted, sd, lagging, shortest_us, high)
    else:  # all of it is the lag, or none
        theta = model.vector(late_us / _lag_of_tau(theta), 0.0)
        sd = np.array([math.hypot(late_sd_us, _ANY_SHARE * late_us) / summed[0], 0.0, *sd[2:]])
    values, predicted = model.compare(theta, _FINE_PX)
    nominal, left = model.residuals(None, _FINE_PX), values - predicted
    found = CoilEstimate(
        coil=msgspec.structs.replace(
            model.coil(theta), time_constant_sd_us=float(sd[0]), delay_sd_us=float(sd[1]) if parted else None
        ),
        damping_sd=float(sd[2]) if len(sd) > 3 else None,
        decay_us=float(theta[-1]) if parted else None,
        decay_sd_us=float(sd[-1]) if parted else None,
        late_us=late_us,
        late_sd_us=late_sd_us,
        nominal_rms=math.sqrt(_cost(nominal) / model.samples) * model.scale,
        calibrated_rms=math.sqrt(_cost(left) / model.samples) * model.scale,
        samples=model.samples,
        parted=parted,
        unexplained=unexplained,
        gain_sds=_gain_sds(nominal, left, blocks),
    )
    agree = _cost(left) < _cost(values)  # no better than the mean value says: there is nothing to align
    if not (np.all(np.isfinite(sd)) and agree and found.gain_sds > _SUPPORTED and 2 * late_sd_us < late_us):
        raise NothingLate(late_us, late_sd_us, max(0.0, late_us) + late_sd_us + unexplained * shortest_us)
    return found
