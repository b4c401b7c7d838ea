"""Which lattice the readings around each pixel are of, if any: none at boundaries and where nothing is crystalline.

A single reading that no ordinary column can have given is a defect or chance. Where most of a neighbourhood are such,
it is the lattice that is wrong there, and what it says of every place between them is a guess, on columns and off.
So each neighbourhood is asked what explains its readings best: one of the lattices, a few of whose columns are defects,
or values that are spread as the frame's are and know of no lattice. How much of the frame is whose is learnt from it.

References: Kass & Raftery 1995, J. Am. Stat. Assoc. 90, 773 (Bayes factors); Dempster, Laird, Rubin 1977, J. R. Stat.
Soc. B 39, 1 (the share of each kind, by expectation maximisation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.lattice.columns import Heights
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of

__all__ = ["doubt", "guessed", "shares", "spread_around"]

_UNUSUAL = 0.05  # of a lattice's readings: those of defects and chance
_WRONG = 0.6  # of the readings where the lattice is the wrong one: between columns many a lattice agrees with it
_PERIODS = 1.25  # deviation of the neighbourhood, at least
_SAMPLES = 12.0  # in it, at least
_PLACES = 2  # along each period: readings within one such place tell as much as one of them
_LIKE_ALL = 1.0  # readings spread as the frame's are taken to be there beside those that were made
_FITTED = 1.5  # for a mean and a spread of their own, in units of the logarithm of the likelihood
_LEAST = 0.002  # share of the frame that any lattice, or none, may have
_FIRST = 0.05  # share of no lattice, to begin with
_ROUNDS = 5
_GUESSED = 1.0  # half-width of the interval where most is doubted, relative to the highest column
_MOST = 0.67
_FARTHEST = 2.5  # deviations of what is around: half of a lattice's readings are between its columns
_CUT = 9.0  # variances, to which squares are cut: what few columns lack is no noise


def doubt(readings: Readings, fit: LatticeFit) -> Tensor:
    """How likely it is that the readings around each pixel are not of the lattice, 0 to 1, (rows, cols)."""
    return shares(readings, [fit])[-1]


def shares(readings: Readings, fits: Sequence[LatticeFit], rounds: int = _ROUNDS) -> Tensor:
    """How likely the readings around each pixel are of each lattice, and of none, (lattices + 1, rows, cols).

    The noise about each lattice is that of the readings which are likely to be its own.
    """
    places, told = _neighbourhoods(readings, fits)
    each = [_Explained(readings, fit) for fit in fits]
    prior = torch.tensor([(1 - _FIRST) / len(fits)] * len(fits) + [_FIRST / 2, _FIRST / 2], device=told.device)
    own = [(readings.weights > 0).to(told.dtype)] * len(fits)
    count, variance = _spread(places, told, readings)
    uneven = (-0.5 * count * (variance.log() + 1) - _FITTED)[None]
    found = told.new_zeros(0)
    for _ in range(rounds):
        evidence = torch.stack([explained.evidence(weights) for explained, weights in zip(each, own, strict=True)])
        lattices, wrong = places.sums((evidence * told).flatten(0, 1)).unflatten(0, (len(fits), 2)).unbind(1)
        wrong = wrong.logsumexp(0, keepdim=True) - math.log(len(fits))
        found = torch.softmax(torch.cat([lattices, wrong, uneven]) + prior.log()[:, None, None], 0)
        prior = found.mean((1, 2)).clamp_min(_LEAST)
        own = [weights * (readings.weights > 0) for weights in places.at_readings(found[:-2])]
    found = torch.cat([found[:-2], found[-2:].sum(0, keepdim=True)])
    return F.interpolate(found[None], readings.shape, mode="bilinear", align_corners=False)[0]


class _Explained:
    """How well a lattice explains each reading."""

    def __init__(self, readings: Readings, fit: LatticeFit) -> None:
        used = readings.weights > 0
        picture = fit.at(readings.positions)
        self._squares = (readings.values - picture).square()
        self._relative = fit.relative_variance(picture) / readings.weights.clamp_min(1e-9)
        self._spread = readings.values[used].var()  # of what has no lattice
        self._noise = fit.noise

    def evidence(self, own: Tensor) -> Tensor:
        """Logarithm of how likely each reading is with the lattice, and with a wrong one, (2, n).

        Args:
            own: how likely each reading is the lattice's, from which the noise is measured, (n,).
        """
        sure = own > 0.5
        if bool(sure.any()) and not bool(sure.all()):
            squares = (self._squares / self._relative)[sure].clamp_max(_CUT * self._noise)
            self._noise = min(self._noise, float(squares.mean()))
        ordinary = self._noise * self._relative
        usual = -0.5 * (self._squares / ordinary + ordinary.log())
        unusual = -0.5 * (self._squares / self._spread + self._spread.log())
        both = [torch.logaddexp(usual + math.log(1 - u), unusual + math.log(u)) for u in (_UNUSUAL, _WRONG)]
        return torch.stack(both)


def spread_around(readings: Readings, fits: Sequence[LatticeFit]) -> Tensor:
    """Deviation of the readings around each pixel about their mean, (rows, cols)."""
    variance = _spread(*_neighbourhoods(readings, fits), readings)[1]
    return F.interpolate(variance.sqrt()[None, None], readings.shape, mode="bilinear", align_corners=False)[0, 0]


def _neighbourhoods(readings: Readings, fits: Sequence[LatticeFit]) -> tuple[_Places, Tensor]:
    """Places with neighbourhoods that tell lattices apart, and how much each reading tells, (n,)."""
    period_px = min(1 / float(fit.pair.norm(dim=1).max()) for fit in fits)
    told = _told(readings, period_px / _PLACES)
    area = _SAMPLES * math.prod(readings.shape) / (4 * math.pi * float(told.sum()))
    return _Places(readings, max(_PERIODS * period_px, area**0.5)), told


def _spread(places: _Places, told: Tensor, readings: Readings) -> tuple[Tensor, Tensor]:
    """How many readings tell of each place, and their variance about their mean, (y, x) each."""
    values = readings.values
    count, mean, squares = places.sums(torch.stack([told, told * values, told * values.square()]))
    spread = squares - mean.square() / count.clamp_min(1e-6)
    overall = values[readings.weights > 0].var()
    return count, (spread + _LIKE_ALL * overall) / (count + _LIKE_ALL)


def _told(readings: Readings, side_px: float) -> Tensor:
    """How much each reading tells (n,): those within one square of a side together as much as one."""
    place = (readings.positions / side_px).floor().long()
    place = place - place.amin(0)
    number = place[:, 0] * (int(place[:, 1].max()) + 1) + place[:, 1]
    used = (readings.weights > 0).to(readings.values.dtype)
    counts = used.new_zeros(int(number.max()) + 1).index_add_(0, number, used)
    return used / counts[number].clamp_min(1)


def guessed(fit: LatticeFit, heights: Heights | None, doubted: Tensor, spread: Tensor) -> Tensor:
    """Half-width (rows, cols) of a 90 % interval of what is doubted so far, on the scale of the fit.

    Args:
        spread: deviation of the readings around each pixel, (rows, cols): of what is even nothing is far off.
    """
    table = fit.cell.table()[0]
    highest = float(table.max() - table.min()) if heights is None else float(heights.profile.heights.abs().max())
    amplitude = splines_of(fit.shape, fit.amplitude).image(fit.amplitude)
    return (doubted / _MOST).clamp_max(1) * torch.minimum(_GUESSED * highest * amplitude.abs(), _FARTHEST * spread)


class _Places:
    """A coarse grid of places over a frame, two to the deviation of a Gaussian neighbourhood."""

    def __init__(self, readings: Readings, spread_px: float) -> None:
        self._size = [max(2, round(2 * n / spread_px)) for n in readings.shape]
        sides = zip(self._size, readings.shape, strict=True)
        scale = readings.positions.new_tensor([n / side for n, side in sides])
        cell = ((readings.positions + 0.5) * scale).long()
        last = [n - 1 for n in self._size]
        self._index = cell[:, 0].clamp(0, last[0]) * self._size[1] + cell[:, 1].clamp(0, last[1])

    def sums(self, values: Tensor) -> Tensor:
        """Sums of values (c, n) of readings under a Gaussian about each place, (c, y, x)."""
        grid = values.new_zeros(len(values), self._size[0] * self._size[1]).index_add_(1, self._index, values)
        line = torch.exp(-0.5 * (torch.arange(-5, 6, device=values.device) / 2.0) ** 2).to(values.dtype)
        down = F.conv2d(grid.unflatten(1, self._size)[:, None], line[None, None, :, None], padding=(5, 0))
        return F.conv2d(down, line[None, None, None, :], padding=(0, 5))[:, 0]

    def at_readings(self, places: Tensor) -> Tensor:
        """Values of places (c, y, x) at the readings, (c, n)."""
        return places.flatten(1)[:, self._index]
