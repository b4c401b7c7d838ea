"""The scan coils' time constant and the delay of the signal, from ordinary scans of one place. numpy and scipy only.

Nothing need be known of the specimen: every scan must see the same one. For a trial time constant the positions of
all scans are computed, each scan is predicted from the image that the others make, and the sum of squared
differences is minimised. Scans in both directions show the sum of lag and delay; what parts them is that lag also
shrinks fast curves and rounds off jumps, so a set should hold turns or jumps about as fast as the coils. Well below
the dwell nothing parts them: then the sum is given as the time constant, with a delay of 0, which puts the samples of
any continuous path into the same places.

The uncertainty is a sandwich estimate over blocks of samples (Liang and Zeger, Biometrika 73, 1986), which holds
without assuming independent residuals inside a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths.coils import seen

__all__ = ["CalibrationScan", "CoilEstimate", "estimate"]

Array = NDArray[np.float64]

_COARSE_PX, _FINE_PX = 2.0, 0.8  # widths of all that lies between a sample and what others predict for it
_SPLINES_PX2 = 0.5  # of their squares: a quadratic spline to spread, another one to look up, wherever between nodes
_SOFT_PX = 1.2  # once more: by as much as the result then differs, it is not known
_SOFTER_PX = 0.8
_STEPS, _SMALL = 12, 3e-3  # of a refinement; of the time constant, a step after which it ends
_EDGE = 2  # nodes around the field
_SWEEP_CELLS = 2.0
_CANDIDATES = 25
_BLOCKS = 32
_SUPPORTED = 2.0  # standard deviations by which scans must agree better with what is found
_BIAS, _BIAS_OF_ALL = 0.08, 0.03  # of all that is late: what scans between pixels bias each of the three, and their sum
_PARTED = 0.2  # of all three: the largest standard deviation at which lag, delay and afterglow count as told apart


@dataclass(frozen=True, eq=False)
class CalibrationScan:
    """One scan: nominal ``positions`` (n, 2) as (y, x) fractions, ``dwell_us``, ``move_us`` and ``values`` (n,).

    Raises:
        InvalidInput: it cannot be a scan.
    """

    positions: Array
    dwell_us: Array
    move_us: Array
    values: Array

    def __post_init__(self) -> None:
        n = len(self.positions)
        if n < 100 or not (len(self.dwell_us) == len(self.move_us) == len(self.values) == n):
            raise InvalidInput("samples of a calibration scan", n, "are too few, or unequal in length", "scan more")
        if not np.all(np.isfinite(self.values)):
            raise InvalidInput("samples of a calibration scan", "NaN", "are not numbers", "check the detector")


@dataclass(frozen=True)
class CoilEstimate:
    """What scans of one place say of coils and detector. ``*_rms``: how well scans predict one another, in counts.

    Attributes:
        coil: time constant, delay and, of order 2, damping, with their standard deviations.
        damping_sd: of order 2, else None.
        decay_us, decay_sd_us: of the detector's afterglow; None where it is not told from lag and delay.
        late_us, late_sd_us: lag, delay and afterglow together, which scans show far more sharply than either.
        parted: whether they tell them apart. If not, the time constant is all of it, though any part of it may be
            the delay or the afterglow, which its standard deviation says.
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
        InvalidInput: too few scans or samples, or no time constant makes them agree noticeably better.
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
    model = _Model(scans, shape, order)
    if start is None:
        # at low frequencies a critically damped second order with half the time constant lags as much
        searched = _Model(scans, shape, 1)
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
    return _result(model, sharp, soft, shortest_us)


class _Model:
    """Residuals of every scan against the image of the others, for a vector (τ, delay[, damping], decay)."""

    def __init__(self, scans: Sequence[CalibrationScan], shape: tuple[int, int], order: int) -> None:
        self.scans, self.shape, self.order = scans, shape, order
        values = np.concatenate([scan.values for scan in scans])
        self._mean, spread = float(values.mean()), float(values.std())
        self.scale = spread or 1.0
        self.samples = len(values)
        self._used = [np.ones(len(scan.values)) for scan in scans]

    def vector(self, tau_us: float, delay_us: float) -> Array:
        return np.array([*[tau_us, delay_us, 1.0][: 1 + self.order], 0.0])

    def coil(self, theta: Array) -> CoilModel:
        damping = float(np.clip(theta[2], 0.1, 5)) if self.order == 2 else 1.0
        order: Literal[1, 2] = 2 if self.order == 2 else 1
        return CoilModel(
            order=order, time_constant_us=max(float(theta[0]), 0.0), damping=damping, delay_us=float(theta[1])
        )

    def _pixels(self, scan: CalibrationScan, theta: Array | None) -> Array:
        p = scan.positions
        if theta is not None:
            p = seen(p, scan.dwell_us, scan.move_us, self.coil(theta))
        return np.clip(p, 0, 1) * self.shape + (_EDGE - 0.5)

    def choose(self, theta: Array) -> None:
        """Leave out samples that swept over several cells: one value and one position do not describe them.

        Chosen once for each refinement, so that the choice cannot be what is minimised.
        """
        self._used = []
        for scan in self.scans:
            step = np.hypot(*np.diff(self._pixels(scan, theta), axis=0, prepend=np.nan).T)
            swept = step >= max(_SWEEP_CELLS, 2 * float(np.nanmedian(step)))
            self._used.append((~swept).astype(np.float64))

    def residuals(self, theta: Array | None, sigma_px: float) -> Array:
        """(samples,) weighted differences in units of the values' spread; None takes the nominal positions."""
        values, predicted = self.compare(theta, sigma_px)
        return values - predicted

    def compare(self, theta: Array | None, sigma_px: float) -> tuple[Array, Array]:
        """Weighted values and what the other scans predict for them, both (samples,)."""
        rows, cols = self.shape[0] + 2 * _EDGE, self.shape[1] + 2 * _EDGE
        width = math.sqrt(max(sigma_px**2 - _SPLINES_PX2, 0))
        at, parts = [], []
        decay_us = 0.0 if theta is None else float(theta[-1])
        glows = [Afterglow(decay_us, one.dwell_us, one.move_us) if decay_us > 0 else None for one in self.scans]
        for scan, used, glow in zip(self.scans, self._used, glows, strict=True):
            pixels = self._pixels(scan, theta)
            at.append(pixels)
            values = (scan.values - self._mean) / self.scale
            parts.append(_splat(pixels, values if glow is None else glow.undone(values), used, rows, cols))
        total = sum(parts[1:], parts[0])
        out = []
        for scan, pixels, part, used, glow in zip(self.scans, at, parts, self._used, glows, strict=True):
            signal, weight = (gaussian_filter(layer, width, mode="nearest", truncate=3) for layer in total - part)
            image = signal / np.maximum(weight, 1e-9)
            softer = gaussian_filter(image, _SOFTER_PX, mode="nearest", truncate=3)
            density, predicted, soft = (
                map_coordinates(layer, pixels.T, order=2, mode="nearest", prefilter=False)
                for layer in (weight, image, softer)
            )
            if glow is not None:  # readings are foretold as the detector would give them: their noise is as it was
                predicted, soft = glow.read(predicted), glow.read(soft)
            trust = used * np.sqrt(density / (density + 0.3))  # a prediction from few samples counts less
            values = trust * (scan.values - self._mean) / self.scale
            out.append(np.stack([values, _sharpened(trust * predicted, trust * (predicted - soft), values)]))
        values, predicted = np.concatenate(out, axis=1)
        return values, predicted


def _sharpened(predicted: Array, detail: Array, values: Array) -> Array:
    """Predictions (n,) with as much of their detail as makes them agree best: others' images are softer than a sample.

    Else an afterglow, whose undoing sharpens them too, would be found where there is none.
    """
    return predicted + detail * (detail @ (values - predicted)) / max(float(detail @ detail), 1e-12)


def _splat(pixels: Array, values: Array, used: Array, rows: int, cols: int) -> Array:
    """Sums of the used values and of their number, spread over 3 × 3 nodes by the quadratic spline: (2, rows, cols).

    Its width is the same wherever a sample lies. A bilinear one is sharpest on the nodes, where a raster's nominal
    positions are, and would so speak for having no lag at all.
    """
    nearest = np.rint(pixels)
    offset = pixels - nearest
    base = (nearest[:, 0] * cols + nearest[:, 1]).astype(np.int64)
    shares = (0.5 * (0.5 - offset) ** 2, 0.75 - offset**2, 0.5 * (0.5 + offset) ** 2)
    sums = np.zeros((2, rows * cols))
    for down, share_y in zip((-cols, 0, cols), shares, strict=True):
        for right, share_x in zip((-1, 0, 1), shares, strict=True):
            share = used * share_y[:, 0] * share_x[:, 1]
            sums[0] += np.bincount(base + (down + right), share * values, rows * cols)
            sums[1] += np.bincount(base + (down + right), share, rows * cols)
    return sums.reshape(2, rows, cols)


def _cost(residuals: Array) -> float:
    return float(residuals @ residuals)


def _directions(theta: Array) -> Array:
    """Columns along which to differentiate: τ; delay at the expense of τ; damping; decay at the expense of τ.

    Scans show the sum of lag, delay and decay far more sharply than either, so those directions keep the sum.
    """
    directions = np.eye(len(theta))
    directions[0, [1, -1]] = -1 / _lag_of_tau(theta)
    return directions


def _lag_of_tau(theta: Array) -> float:
    """How late coils of time constant 1 are."""
    return 1.0 if len(theta) == 3 else 2 * max(float(theta[2]), 0.1)


def _jacobian(model: _Model, theta: Array, sigma: float, shortest_us: float, free: list[int]) -> Array:
    """Central differences (samples, free)."""
    tau_step = max(0.03 * theta[0], 0.02 * shortest_us)
    steps = np.array([tau_step, 2 * tau_step, 0.05, 2 * tau_step])[[*range(len(theta) - 1), 3]]
    columns = []
    for k in free:
        step = steps[k] * _directions(theta)[:, k]
        back = min(1.0, float(theta[-1]) / steps[k]) if k == len(theta) - 1 else 1.0  # no decay is below 0
        ahead, behind = model.residuals(theta + step, sigma), model.residuals(theta - back * step, sigma)
        columns.append((ahead - behind) / ((1 + back) * steps[k]))
    return np.stack(columns, axis=1)


def _refine(model: _Model, theta: Array, sigma: float, shortest_us: float, high: float, free: list[int]) -> Array:
    """Levenberg–Marquardt along ``free``; a step never changes τ by more than a third, or a tenth of a dwell."""
    model.choose(theta)
    residuals = model.residuals(theta, sigma)
    damping = 1e-3
    for _ in range(_STEPS):
        jacobian = _jacobian(model, theta, sigma, shortest_us, free)
        normal, slope = jacobian.T @ jacobian, jacobian.T @ residuals
        for _ in range(6):
            move = _directions(theta)[:, free] @ np.linalg.solve(
                normal + damping * np.diag(np.diag(normal) + 1e-12), -slope
            )
            move /= max(1.0, float(np.max(np.abs(move[[0, 1, -1]]))) / max(theta[0] / 3, 0.1 * shortest_us))
            trial = theta + move
            trial[-1] = max(trial[-1], 0.0)
            trial[0] = min(max(trial[0], 1e-3 * shortest_us), high)
            new = model.residuals(trial, sigma)
            if _cost(new) < _cost(residuals):
                damping /= 4
                break
            damping = max(damping, 1e-3) * 8
        else:
            return theta
        small = bool(np.all(np.abs(trial - theta) < _SMALL * max(theta[0], shortest_us)))
        theta, residuals = trial, new
        if small:
            break
    return theta


def _covariance(model: _Model, theta: Array, shortest_us: float, free: list[int]) -> Array:
    """Of ``theta``, by the sandwich; 0 for what is not ``free``."""
    residuals = model.residuals(theta, _FINE_PX)
    jacobian = _jacobian(model, theta, _FINE_PX, shortest_us, free)
    inverse = np.linalg.pinv(jacobian.T @ jacobian)
    blocks = _BLOCKS * len(model.scans)
    pairs = zip(np.array_split(jacobian, blocks), np.array_split(residuals, blocks), strict=True)
    scores = np.stack([block_j.T @ block_r for block_j, block_r in pairs])
    directions = _directions(theta)[:, free]
    return np.asarray(directions @ inverse @ (scores.T @ scores) @ inverse @ directions.T)


def _result(model: _Model, sharp: Array, soft: Array, shortest_us: float) -> CoilEstimate:
    """The mean of what sharp and softened images say, and half of their difference beside the sandwich's deviations."""
    theta, apart = 0.5 * (sharp + soft), 0.5 * (sharp - soft)
    covariance = _covariance(model, sharp, shortest_us, list(range(len(theta)))) + np.outer(apart, apart)
    summed = np.ones(len(theta))
    summed[0] = _lag_of_tau(theta)
    if len(theta) > 3:
        summed[2] = 2 * theta[0]
    late_us = float(_lag_of_tau(theta) * theta[0] + theta[1] + theta[-1])
    systematic = max(late_us, shortest_us) * np.array([_BIAS, _BIAS_OF_ALL])
    late_sd_us = math.hypot(math.sqrt(max(0.0, float(summed @ covariance @ summed))), systematic[1])
    sd = np.sqrt(np.maximum(np.diag(covariance), 0) + (systematic[0] / summed) ** 2)
    parted = bool(max(sd[0] * summed[0], sd[1], sd[-1]) <= _PARTED * late_us)
    if not parted:  # all of it is the lag, or none
        theta = model.vector(late_us / _lag_of_tau(theta), 0.0)
        sd = np.array([math.hypot(late_sd_us, 0.5 * late_us) / summed[0], 0.0, *sd[2:]])
    values, predicted = model.compare(theta, _FINE_PX)
    nominal, left = model.residuals(None, _FINE_PX), values - predicted
    blocks = np.array_split(nominal**2 - left**2, _BLOCKS * len(model.scans))
    gained = np.array([float(block.sum()) for block in blocks])
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
        gain_sds=float(gained.sum() / (gained.std() * math.sqrt(len(gained)) + 1e-12)),
    )
    agree = _cost(left) < _cost(values)  # no better than the mean value says: there is nothing to align
    if not (np.all(np.isfinite(sd)) and agree and found.gain_sds > _SUPPORTED and 2 * late_sd_us < late_us):
        raise InvalidInput(
            "calibration scans",
            f"lag, delay and afterglow of {late_us:.3g} ± {late_sd_us:.2g} us in all",
            "do not show one: scans do not agree better with any",
            "scan faster, give more dose, or choose a place with more contrast",
        )
    return found
