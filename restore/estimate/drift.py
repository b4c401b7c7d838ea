"""How far the specimen has moved since the last estimate of it, from a new frame's samples along any path.

The new samples are compared with the last estimate, each counting by how well the estimate is known where it falls:
about what was foretold (:mod:`restore.estimate.descent`), and if that does not explain them, over whole pixels by
Fourier transforms (weighted matching). What was foretold is a prior; of several places that fit about as well, as a
lattice has one in each period, the one nearest to it is taken: the smallest step that explains the samples.

References:
    Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33 (2008) 156 (sub-pixel registration by transform and refinement).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.descent import Fit, descend, fits_better
from restore.estimate.known import Known
from restore.fills.variogram import fast_size

__all__ = ["LEAP_PX", "Drift", "Foretold", "Known", "measure_drift"]

LEAP_PX = 4.0
"""Standard deviation of a movement that nothing foretold."""

REACH_PX = 16.0  # farther from what was foretold nothing is looked for
_SAMPLES = 4096  # more say nothing new of two numbers
_SEARCHING = 2048  # likewise of several places, of which one is taken
_SAME_PX = 3.0  # closer to what was found already no other place is looked for
_BINNING = 2  # of the search over whole pixels
_CANDIDATES = 3
_SURELY = 3.0  # deviations by which a leap fits better than what was foretold, as blocks of the field agree
_MUCH_BETTER = 0.6  # of the misfit where it was foretold: an estimate is known better at one place than at another
_LEAP_TOLD_PX = 2.0  # standard deviation, above which samples do not tell where something leapt to
_FITS = 0.5  # misfit up to which what was foretold explains the samples, and nothing farther away is looked for
_SURPRISING = 9.0  # squared standard deviations from what was foretold, from which on it is not believed


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


def measure_drift(values: Tensor, places: Tensor, known: Known, foretold: Foretold = _UNFORETOLD) -> Drift:
    """The movement d that lets samples fit the last estimate moved by d.

    Args:
        values: new samples (n,). places: their (y, x) in pixels, (n, 2).
        known: the last estimate.
        foretold: what is known of it before.
    """
    values, places = _some(values, places, _SAMPLES)
    prior, spread = np.array((foretold.y_px, foretold.x_px)), foretold.matrix()
    nearest = descend(values, places, known, prior, prior, spread)
    if not nearest.is_told:  # of what was known before nothing can be compared
        return Drift(foretold.y_px, foretold.x_px, math.inf, math.inf)
    surprising = nearest.surprise > _SURPRISING
    if nearest.misfit <= _FITS and not surprising:  # the smallest step that explains the samples
        return _drift(nearest)
    starts = [nearest.place] if surprising else []
    if nearest.misfit > _FITS:
        found = _candidates(values, places, known, prior)
        starts += [start for start in found if math.hypot(*(start - nearest.place)) > _SAME_PX]
    free = spread + LEAP_PX**2 * np.eye(2)
    for some in (_some(values, places, _SEARCHING), (values, places)):
        leaps = [descend(*some, known, start, prior, free) for start in starts]
        leaps = [fit for fit in leaps if fit.is_told and fit.sd_px < _LEAP_TOLD_PX]
        leaps = [fit for fit in leaps if fit.misfit < _MUCH_BETTER * nearest.misfit]
        leaps = [fit for fit in leaps if fits_better(*some, known, fit.place, nearest.place) > _SURELY]
        starts = [fit.place for fit in leaps]
    if not leaps:
        return _drift(nearest)
    best = min(leaps, key=lambda fit: fit.cost)
    as_good = [fit for fit in leaps if fits_better(values, places, known, best.place, fit.place) <= _SURELY]
    return _drift(min(as_good, key=lambda fit: math.hypot(*(fit.place - prior))), leaps=True)


def _some(values: Tensor, places: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """So many of the samples, evenly along the path."""
    if len(values) <= most:
        return values, places
    chosen = torch.linspace(0, len(values) - 1, most, device=values.device).round().long()
    return values[chosen], places[chosen]


def _drift(fit: Fit, leaps: bool = False) -> Drift:
    (yy, yx), (_, xx) = fit.covariance.tolist()
    return Drift(float(fit.place[0]), float(fit.place[1]), fit.sd_px, fit.misfit, (yy, yx, xx), leaps)


def _candidates(values: Tensor, places: Tensor, known: Known, prior: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Whole steps at which the samples match best, within ``REACH_PX`` of what was foretold."""
    reach = int(REACH_PX) // _BINNING
    image, deviation = (_binned(each) for each in (known.estimate, known.deviation))
    weight = (deviation.square() + known.least_deviation**2).reciprocal()
    centre = image.mean()
    rows, cols = image.shape
    size = [fast_size(side + 2 * reach) for side in (rows, cols)]
    at = ((places - places.new_tensor(prior) + 0.5) / _BINNING).floor().long() + reach
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
    best = order[minima[order].isfinite()].cpu().numpy()
    return [prior + _BINNING * (np.array(divmod(int(each), 2 * reach + 1)) - reach) for each in best]


def _binned(image: Tensor) -> Tensor:
    """Means of squares of ``_BINNING`` = 2 pixels: pooling of one channel takes ten times as long."""
    rows, cols = (side // _BINNING * _BINNING for side in image.shape)
    across = image[:rows:2] + image[1:rows:2]
    return (across[:, :cols:2] + across[:, 1:cols:2]).mul_(0.25)
