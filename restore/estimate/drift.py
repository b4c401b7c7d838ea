"""How far the specimen has moved since the last estimate of it, from a new frame's samples along any path.

The new samples are compared with the last estimate, each counting by how well the estimate is known where it falls:
over whole pixels by Fourier transforms (weighted matching), then by Gauss–Newton steps that forgive outliers. What was
foretold is a prior; of several places that fit about as well, as a lattice has one in each period, the one nearest to
it is taken: the smallest step that explains the samples. Neighbouring samples share the estimate's errors, so the
uncertainty is that of blocks of the field, not of single samples (the "sandwich" of clustered errors).

References:
    Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33 (2008) 156 (sub-pixel registration by transform and refinement).
    Baker & Matthews, Int. J. Comput. Vis. 56 (2004) 221 (Gauss–Newton alignment with weights).
    Liang & Zeger, Biometrika 73 (1986) 13 (clustered errors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from restore.fills.variogram import fast_size

__all__ = ["LEAP_PX", "Drift", "Foretold", "Known", "measure_drift"]

LEAP_PX = 4.0
"""Standard deviation of a movement that nothing foretold."""

REACH_PX = 16.0  # farther from what was foretold nothing is looked for
_SAMPLES = 8192  # more say nothing new of two numbers
_STEPS = 8
_CONVERGED_PX = 0.005
_CONVERGED = 0.05  # of the standard deviation: a step that is less changes nothing that is known
_FEW = 4  # every so-manieth sample leads near the place that all of them tell
_MANY = 4096  # samples, from which on so few of them tell which candidates are worth all of them
_SPARSELY = 4  # pixels apart, where a median over the frame is taken
_FORGIVEN = 2.5  # deviations from which on a sample counts less (Cauchy)
_BINNING = 2  # of the search over whole pixels
_CANDIDATES = 3
_AS_GOOD = 5.0  # a fit whose log likelihood is within this of the best one is as good
_HOPELESS = 25.0  # by which one of few samples is worse that is not worth all of them
_SAME_PX = 0.25  # within which two fits are one
_FITS = 0.5  # misfit up to which what was foretold explains the samples, and nothing farther away is looked for
_LEAST = 0.5  # of the median deviation, which every deviation has at least
_SURPRISING = 9.0  # squared standard deviations from what was foretold, from which on it is not believed
_MISSED = 2.0  # mean square deviation over what it is when outliers count less
_LEAST_MISSED = 0.5
_BLOCKS = 8  # by so many blocks of the field, which are taken to err independently


@dataclass(frozen=True)
class Known:
    """What is known of the specimen before a frame.

    Attributes:
        estimate: (rows, cols), in sample units.
        deviation: standard deviation of a sample about it, noise included, (rows, cols), positive.
    """

    estimate: Tensor
    deviation: Tensor

    @cached_property
    def maps(self) -> Tensor:
        """What is looked up at each sample: the estimate, its slopes down and right, the deviation; (1, 4, h, w)."""
        down, right = torch.gradient(self.estimate)
        return torch.stack((self.estimate, down, right, self.deviation))[None]

    @cached_property
    def least_deviation(self) -> float:
        """What every deviation has at least, to compare by.

        Near its samples an estimate is known better than a movement of a fraction of a pixel lets it be compared.
        """
        return _LEAST * float(self.deviation[::_SPARSELY, ::_SPARSELY].median())

    def at(self, places: Tensor, which: slice = slice(None)) -> Tensor:
        """The maps at places (n, 2) in pixels, linear between them, and the edges' beyond: (4, n), or which of them."""
        rows, cols = self.estimate.shape
        y, x = places.unbind(1)
        grid = torch.stack((x * (2 / (cols - 1)) - 1, y * (2 / (rows - 1)) - 1), 1)
        found = F.grid_sample(self.maps[:, which], grid[None, None], padding_mode="border", align_corners=True)
        return found[0, :, 0]


@dataclass(frozen=True)
class Foretold:
    """A movement before it is measured: (y, x) in pixels, and its covariance (yy, yx, xx)."""

    y_px: float = 0.0
    x_px: float = 0.0
    covariance: tuple[float, float, float] = (6.25, 0.0, 6.25)

    @classmethod
    def about(cls, y_px: float, x_px: float, sd_px: float) -> Foretold:
        """With one standard deviation in every direction."""
        return cls(y_px, x_px, (sd_px**2, 0.0, sd_px**2))

    def matrix(self) -> NDArray[np.float64]:
        """The covariance, (2, 2)."""
        return _matrix(self.covariance)


@dataclass(frozen=True)
class Drift:
    """A measured movement, by what was foretold and what samples say.

    Attributes:
        y_px, x_px: how far the specimen has moved.
        sd_px: one standard deviation, of the worse direction.
        misfit: mean square of the samples' deviations in units of what was expected; about 1 where nothing changed.
        covariance: (yy, yx, xx) in pixels squared; None: ``sd_px`` in every direction.
        leaps: nothing foretold it, so that it is by the samples alone.
    """

    y_px: float
    x_px: float
    sd_px: float
    misfit: float
    covariance: tuple[float, float, float] | None = None
    leaps: bool = False

    def matrix(self) -> NDArray[np.float64]:
        """The covariance, (2, 2)."""
        return _matrix(self.covariance if self.covariance is not None else (self.sd_px**2, 0.0, self.sd_px**2))

    def moved(self, like: Tensor) -> Tensor:
        """(y, x) in pixels, (2,), of a tensor's kind."""
        return like.new_tensor((self.y_px, self.x_px))


def _matrix(covariance: tuple[float, float, float]) -> NDArray[np.float64]:
    yy, yx, xx = covariance
    return np.array(((yy, yx), (yx, xx)))


_UNFORETOLD = Foretold()


def measure_drift(
    values: Tensor, places: Tensor, known: Known, foretold: Foretold = _UNFORETOLD, shared: float = 12.0
) -> Drift:
    """The movement d that lets samples fit the last estimate moved by d.

    Args:
        values: new samples (n,). places: their (y, x) in pixels, (n, 2).
        known: the last estimate.
        foretold: what is known of it before.
        shared: how many samples share an error of the estimate, at least.
    """
    if len(values) > _SAMPLES:
        chosen = torch.linspace(0, len(values) - 1, _SAMPLES, device=values.device).round().long()
        values, places = values[chosen], places[chosen]
    prior = values.new_tensor((foretold.y_px, foretold.x_px))
    pull = values.new_tensor(np.linalg.inv(foretold.matrix()))
    (nearest,) = _descend(values, places, known, [prior], prior, pull, shared)
    surprising = nearest.surprise > _SURPRISING
    if nearest.drift.misfit <= _FITS and not surprising:  # the smallest step that explains the samples
        return nearest.drift
    free = pull.new_tensor(np.linalg.inv(foretold.matrix() + LEAP_PX**2 * np.eye(2)))
    fits = [nearest]
    starts = [nearest.drift.moved(prior)] if surprising else []
    if nearest.drift.misfit > _FITS:
        candidates = _candidates(values, places, known, prior)
        if len(values) >= _MANY and candidates:
            few = slice(None, None, _FEW)
            led = _descend(values[few], places[few], known, candidates, prior, free, shared, leaps=True)
            candidates = [fit.drift.moved(prior) for fit in led if _is_worth(fit, nearest)]
        starts += candidates
    if starts:
        fits += _descend(values, places, known, starts, prior, free, shared, leaps=True)
    fits = [fit for fit in fits if math.isfinite(fit.unexplained + fit.drift.sd_px + fit.count + fit.away)]
    if not fits:  # of what was known before nothing can be compared
        return Drift(foretold.y_px, foretold.x_px, math.inf, math.inf)
    count = min(fits, key=lambda fit: fit.unexplained).count
    costs = [0.5 * count * fit.unexplained + fit.away for fit in fits]
    as_good = [fit.drift for fit, cost in zip(fits, costs, strict=True) if cost <= min(costs) + _AS_GOOD]
    return min(as_good, key=lambda drift: math.hypot(drift.y_px - foretold.y_px, drift.x_px - foretold.x_px))


def _candidates(values: Tensor, places: Tensor, known: Known, prior: Tensor) -> list[Tensor]:
    """Whole steps at which the samples match best, within ``REACH_PX`` of what was foretold."""
    reach = int(REACH_PX) // _BINNING
    image, deviation = (_binned(each) for each in (known.estimate, known.deviation))
    weight = (deviation.square() + known.least_deviation**2).reciprocal()
    centre = image.mean()
    rows, cols = image.shape
    size = [fast_size(side + 2 * reach) for side in (rows, cols)]
    at = ((places - prior + 0.5) / _BINNING).floor().long() + reach
    inside = ((at >= 0) & (at < at.new_tensor(size))).all(1)
    flat = at[inside, 0] * size[1] + at[inside, 1]
    level = (values - centre)[inside]
    seen = values.new_zeros(3, size[0] * size[1])
    for row, each in enumerate((torch.ones_like(level), level, level.square())):
        seen[row].index_add_(0, flat, each)
    model = torch.stack((weight, weight * (image - centre), weight * (image - centre).square()))
    padded = F.pad(model, (reach, size[1] - cols - reach, reach, size[0] - rows - reach))
    ones, first, second = torch.fft.rfft2(seen.view(3, *size))
    flat_, linear, square = torch.fft.rfft2(padded).conj()
    sums = (second * flat_ - 2 * first * linear + ones * square, first * flat_, second * flat_, ones * flat_)
    missed, mean, power, total = torch.fft.irfft2(torch.stack(sums), s=tuple(size))
    steps = torch.arange(-reach, reach + 1, device=values.device)
    missed, mean, power, total = (each[steps][:, steps] for each in (missed, mean, power, total))
    spread = power - mean.square() / total.clamp_min(1e-30)  # of the same samples about their own mean
    share = torch.where(total > 0.5 * total.max(), missed / spread.clamp_min(1e-30), torch.inf)
    lowest = -F.max_pool2d(-share[None, None], 3, 1, 1)[0, 0]
    minima = torch.where(share == lowest, share, torch.inf).flatten()
    order = minima.argsort()[:_CANDIDATES]
    return [
        prior + _BINNING * torch.stack((steps[at // len(steps)], steps[at % len(steps)])).to(prior.dtype)
        for at in order[minima[order].isfinite()]
    ]


def _binned(image: Tensor) -> Tensor:
    """Means of squares of ``_BINNING`` = 2 pixels: pooling of one channel takes ten times as long."""
    rows, cols = (side // _BINNING * _BINNING for side in image.shape)
    across = image[:rows:2] + image[1:rows:2]
    return (across[:, :cols:2] + across[:, 1:cols:2]).mul_(0.25)


@dataclass(frozen=True)
class _Fit:
    """Where a descent ended.

    Attributes:
        drift: there.
        unexplained: log of the share of the samples' variance that is not explained.
        count: how many samples told it.
        away: what its distance from what was foretold costs, in log likelihood.
        surprise: squared distance from what was foretold to what samples alone say, in standard deviations of both.
    """

    drift: Drift
    unexplained: float
    count: float
    away: float
    surprise: float


def _is_worth(few: _Fit, best: _Fit) -> bool:
    """Whether what few samples led to is another place than the best fit's, and not far worse."""
    cost = 0.5 * best.count * (few.unexplained - best.unexplained) + few.away - best.away
    apart = math.hypot(few.drift.y_px - best.drift.y_px, few.drift.x_px - best.drift.x_px)
    return apart > _SAME_PX and cost <= _HOPELESS


def _descend(
    values: Tensor,
    places: Tensor,
    known: Known,
    starts: list[Tensor],
    prior: Tensor,
    pull: Tensor,
    least_shared: float,
    leaps: bool = False,
) -> list[_Fit]:
    """Gauss–Newton from each of ``starts``; outliers count less, and the prior holds it where samples say nothing.

    What was foretold is ``prior``, and ``pull`` (2, 2) its precision. All starts go together: of so few samples an
    operation takes as long for several.
    """
    number, count = len(starts), len(values)
    last = values.new_tensor(known.estimate.shape)[:, None] - 1
    moved, across = torch.stack(starts), places.T.contiguous()  # (starts, 2) and (2, samples)
    part = (across * (_BLOCKS / (last + 1))).long().clamp(0, _BLOCKS - 1)
    block = part[0] * _BLOCKS + part[1]
    for _ in range(_STEPS):
        at = across - moved[:, :, None]
        inside = ((at >= 0) & (at <= last)).to(values.dtype)
        looked_up = known.at(at.transpose(1, 2).reshape(-1, 2)).view(4, number, count)
        level, slopes = looked_up[0], looked_up[1:3].transpose(0, 1)
        deviation = looked_up[3].square().add_(known.least_deviation**2).sqrt_()
        scaled = (values - level) / deviation
        weight = inside[:, 0] * inside[:, 1] / (1 + (scaled / _FORGIVEN).square())
        slope = -slopes / deviation[:, None]  # of the prediction, by the movement, (starts, 2, samples)
        each, square = slope * (weight * scaled)[:, None], slope.square().sum(1)
        normal = (slope * weight[:, None]) @ slope.mT
        blocks = each.new_zeros(2 * number, _BLOCKS**2).index_add_(1, block, each.reshape(2 * number, count))
        total = blocks.sum(1).view(number, 2)
        apart = (blocks - blocks.mean(1, keepdim=True)).square().sum(1).view(number, 2).sum(1)
        told = (normal[:, 0, 0] + normal[:, 1, 1]).clamp_min(1e-30)
        missed = _MISSED * (square * weight * scaled.square()).sum(1) / told
        shared = torch.maximum(apart / told, least_shared * missed.clamp_min(_LEAST_MISSED))
        precision = normal / shared[:, None, None] + pull
        step = torch.linalg.solve(precision, total / shared[:, None] + (prior - moved) @ pull)
        size = step.norm(dim=1)
        moved = moved + step * (2.0 / size.clamp_min(2.0))[:, None]
        worst = torch.linalg.eigvalsh(precision)[:, 0].rsqrt()
        if bool((size < (_CONVERGED * worst).clamp_min(_CONVERGED_PX)).all()):
            break
    by = weight / deviation.square()
    sums = by.sum(1).clamp_min(1e-30)
    mean = (by @ values) / sums
    spread = (by * (values - mean[:, None]).square()).sum(1).clamp_min(1e-30)
    misfit = (weight * scaled.square()).sum(1) / weight.sum(1).clamp_min(1.0)
    unexplained = ((by * (values - level).square()).sum(1) / spread).clamp_min(1e-6).log()
    share = by / by.amax(1, keepdim=True).clamp_min(1e-30)
    told_by = share.sum(1).square() / share.square().sum(1).clamp_min(1e-30) / shared
    covariance = torch.linalg.inv(precision)
    pulled = (moved - prior) @ pull
    away = 0.5 * ((moved - prior) * pulled).sum(1)
    alone = torch.linalg.solve(normal / shared[:, None, None] + 1e-6 * pull, pulled)
    surprise = 2 * away + (pulled * alone).sum(1)
    columns = (moved, worst, misfit, covariance.flatten(1), unexplained, told_by, away, surprise)
    told_rows = torch.cat([one.view(number, -1) for one in columns], 1).tolist()
    return [
        _Fit(Drift(y, x, sd_px, off, (yy, yx, xx), leaps), left, by_many, cost, squared)
        for y, x, sd_px, off, yy, yx, _, xx, left, by_many, cost, squared in told_rows
    ]
