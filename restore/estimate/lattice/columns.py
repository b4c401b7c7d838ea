"""The columns of a crystal, and the height of each: which are ordinary, which are not, and which nobody looked at.

The mean cell shows every vacancy as a perfect atom. So each column has a height of its own, relative to its mates'. A
linear estimate would shrink a vacancy that was plainly hit as much as noise; but columns are ordinary or they are not.
With a prior of two kinds, *ordinary* (about as its mates) and *anything* (any height that columns may have), a reading
that an ordinary column cannot have given shows nearly all of what is missing, and noise next to nothing. Where no
sample fell the height may be anything, and the interval says so.

References: George & McCulloch 1993, J. Am. Stat. Assoc. 88, 881 (priors of two kinds, spike and slab).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.cell import TABLE, Cell

__all__ = ["Columns", "Heights", "Numbers", "Pairs", "Profile", "heights_of", "profile_of"]

_LEAST_HEIGHT = 0.2  # of the highest column's, for a maximum to count as one
_MOST_KINDS = 6
_REACH = 2.5  # deviations of a column's profile
_QUANTILE = 1.645  # two-sided 90 %
_UNUSUAL = (0.03, 0.15)  # share of columns that are not ordinary
_ORDINARY = (0.01, 0.08)  # deviation of ordinary heights, relative
_ANYTHING = (0.33, 0.6)  # deviation of all others, relative: vacancies of half a column are common
_PROFILE_ERROR = 0.12  # of a deviation: how well profile and position of a column are known
_FEWEST = 50  # columns that were hit, to learn of all others from
_ROUNDS = 5


@dataclass(frozen=True)
class Profile:
    """The columns of one cell as Gaussians.

    Attributes:
        places: lattice coordinates (c, 2) of the columns; heights: (c,), negative if columns are dark.
        sigma_px: their common deviation.
        vectors: direct lattice vectors (2, 2) in pixels, rows.
    """

    places: Tensor
    heights: Tensor
    sigma_px: float
    vectors: Tensor


@dataclass(frozen=True)
class Columns:
    """Every column in the frame.

    Attributes:
        positions: (m, 2) in pixels, (y, x).
        kind: which column of the cell, (m,); heights: in units of the samples, (m,).
        deviation: height relative to that of its kind, minus 1: what is shown, (m,).
        sd: posterior deviation of that, for a column that may be anything, (m,).
        half_width: of the 90 % interval about what is shown, relative to the kind's height, (m,).
        unusual: probability that a column is not ordinary, (m,).
        hit: whether a sample fell within one deviation of the column's profile, (m,).
    """

    positions: Tensor
    kind: Tensor
    heights: Tensor
    deviation: Tensor
    sd: Tensor
    half_width: Tensor
    unusual: Tensor
    hit: Tensor


def profile_of(cell: Cell, pair: Tensor) -> Profile | None:
    """The columns of a mean cell; None if it has no maxima that stand out."""
    table = cell.table()[0]
    sign = 1.0 if float((table**3).mean()) >= 0 else -1.0
    bright = sign * table
    around = torch.nn.functional.pad(bright[None], (2, 2, 2, 2), mode="circular")
    highest = torch.nn.functional.max_pool2d(around, 5, 1)[0]
    low, high = float(bright.min()), float(bright.max())
    peaks = (bright >= highest) & (bright > low + _LEAST_HEIGHT * (high - low))
    where = peaks.nonzero()
    where = where[bright[where[:, 0], where[:, 1]].argsort(descending=True)][:_MOST_KINDS]
    if not len(where):
        return None
    vectors = torch.linalg.inv(pair.T).float()
    places = where.float() / TABLE
    line = torch.arange(TABLE, device=table.device) / TABLE
    grid = torch.cartesian_prod(line, line)
    shortest = float(vectors.norm(dim=1).min())
    best, heights, sigma_px = torch.inf, table.new_zeros(len(places)), shortest / 6
    squares = [_distance2(grid, place, vectors) for place in places]
    for share in torch.linspace(0.06, 0.34, 29).tolist():
        sigma = share * shortest
        design = torch.stack(
            [*(torch.exp(-0.5 * near / sigma**2).sum(0) for near in squares), torch.ones(len(grid))], 1
        )
        solved = torch.linalg.lstsq(design.double(), table.flatten()[:, None].double()).solution[:, 0]
        misfit = float((design.double() @ solved - table.flatten()).square().mean())
        if misfit < best:
            best, heights, sigma_px = misfit, solved[:-1].float(), sigma
    return Profile(places, heights, sigma_px, vectors)


def _distance2(grid: Tensor, place: Tensor, vectors: Tensor) -> Tensor:
    """Squared distances in pixels from grid points to a column and its nearest copies, (9, g)."""
    off = grid - place
    off = off - off.round()
    line = torch.tensor([-1.0, 0.0, 1.0], device=grid.device)
    copies = torch.cartesian_prod(line, line)
    return ((off + copies[:, None]) @ vectors).square().sum(-1)


@dataclass(frozen=True)
class Numbers:
    """Lattice translations that the frame holds, numbered."""

    low: Tensor
    span: Tensor
    kinds: int

    @classmethod
    def of(cls, coordinates: Tensor, kinds: int) -> Numbers:
        flat = coordinates.reshape(-1, 2)
        low = flat.amin(0).floor().long() - 1
        return cls(low, flat.amax(0).ceil().long() + 2 - low, kinds)

    @property
    def count(self) -> int:
        return int(self.span.prod()) * self.kinds

    def nearest(self, coordinates: Tensor, profile: Profile, kind: int) -> tuple[Tensor, Tensor]:
        """The number of the nearest column of a kind, and the squared distance to it in pixels, of (..., 2)."""
        off = coordinates - profile.places[kind]
        cell = off.round()
        place = (off - cell) @ profile.vectors
        at = (cell.long() - self.low).clamp_min(0)
        at = torch.minimum(at, self.span - 1)
        return (at[..., 0] * self.span[1] + at[..., 1]) * self.kinds + kind, place.square().sum(-1)

    def coordinates(self, profile: Profile) -> Tensor:
        """Lattice coordinates (count, 2) of every column."""
        lines = [
            torch.arange(int(n), device=self.low.device) + int(low) for n, low in zip(self.span, self.low, strict=True)
        ]
        cells = torch.cartesian_prod(*lines)
        return (cells[:, None] + profile.places[None]).flatten(0, 1)


@dataclass(frozen=True)
class Heights:
    """Heights of all columns that a frame can hold, by number, and how to draw them.

    Attributes:
        shown, half_width, sd, unusual, hit: see :class:`Columns`, (count,).
    """

    profile: Profile
    numbers: Numbers
    shown: Tensor
    half_width: Tensor
    sd: Tensor
    unusual: Tensor
    hit: Tensor

    def drawn(self, coordinates: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """What columns' own heights add to the mean cell at lattice coordinates (..., 2), and the half-width (...)."""
        added, width = torch.zeros_like(amplitude), torch.zeros_like(amplitude)
        for kind, height in enumerate(self.profile.heights.tolist()):
            number, distance2 = self.numbers.nearest(coordinates, self.profile, kind)
            shape = torch.exp(distance2 * (-0.5 / self.profile.sigma_px**2)) * amplitude * height
            added += shape * self.shown[number]
            width = torch.maximum(width, shape.abs() * self.half_width[number])
        return added, width


@dataclass(frozen=True)
class Pairs:
    """Which samples tell of which columns: parallel arrays (k,).

    Attributes:
        sample, column: numbers of both; shape: what height 1 of the column adds to the sample.
        close: whether the sample fell within one deviation of the column's profile.
        columns: how many there are.
    """

    sample: Tensor
    column: Tensor
    shape: Tensor
    close: Tensor
    columns: int

    @classmethod
    def of(cls, numbers: Numbers, profile: Profile, coordinates: Tensor, amplitude: Tensor) -> Pairs:
        """All samples within reach of columns."""
        found = []
        for kind, height in enumerate(profile.heights.tolist()):
            number, distance2 = numbers.nearest(coordinates, profile, kind)
            near = (distance2 < (_REACH * profile.sigma_px) ** 2).nonzero()[:, 0]
            shape = torch.exp(distance2[near] * (-0.5 / profile.sigma_px**2)) * height * amplitude[near]
            found.append((near, number[near], shape, distance2[near] < profile.sigma_px**2))
        sample, column, shape, close = (torch.cat(parts) for parts in zip(*found, strict=True))
        return cls(sample, column, shape, close, numbers.count)

    def sums(self, values: Tensor) -> Tensor:
        """Values (k,) summed for each column."""
        return values.new_zeros(self.columns).index_add_(0, self.column, values)

    def explained(self, deviation: Tensor, samples: int) -> Tensor:
        """What columns' deviations add to each of so many samples, (samples,)."""
        added = self.shape * deviation[self.column]
        return added.new_zeros(samples).index_add_(0, self.sample, added)


@dataclass(frozen=True)
class _Kind:
    """A posterior for every column, were they all of one kind."""

    mean: Tensor
    variance: Tensor
    evidence: Tensor

    @classmethod
    def of(cls, pairs: Pairs, left: Tensor, noise: Tensor, prior: float) -> _Kind:
        """From what is left for each pair (k,), the noise's variance there and the prior deviation."""
        precision = pairs.sums(pairs.shape.square() / noise)
        told = pairs.sums(pairs.shape * left / noise)
        variance = 1 / (precision + 1 / prior**2)
        misfit = pairs.sums(left.square() / noise + noise.log())
        evidence = 0.5 * (told.square() * variance - misfit - torch.log1p(prior**2 * precision))
        return cls(told * variance, variance, evidence)


def heights_of(
    profile: Profile, numbers: Numbers, pairs: Pairs, residual: Tensor, noise: Callable[[Tensor], Tensor]
) -> Heights:
    """Heights of the columns from what the mean cell leaves of the samples.

    Arguments:
        residual: samples minus the mean lattice, (n,).
        noise: the samples' variances (n,) when columns add these values (n,) to the mean lattice; infinite for samples
            that do not count.
    """
    count = len(residual)
    shown = residual.new_zeros(pairs.columns)
    unusual, usual_sd, other_sd = _UNUSUAL[0], _ORDINARY[0], _ANYTHING[0]
    known = pairs.sums(pairs.close.to(residual.dtype)) > 0
    share, other = shown, _Kind(shown, shown, shown)
    other_noise = usual_noise = noise(torch.zeros_like(residual))[pairs.sample]
    for _ in range(_ROUNDS):
        # A sample between two columns: what the one explains, the other need not.
        left = (residual - pairs.explained(shown, count))[pairs.sample] + pairs.shape * shown[pairs.column]
        usual = _Kind.of(pairs, left, usual_noise, usual_sd)
        other = _Kind.of(pairs, left, other_noise, other_sd)
        odds = other.evidence - usual.evidence + math.log(unusual / (1 - unusual))
        share = odds.sigmoid()
        shown = share * other.mean + (1 - share) * usual.mean
        if int(known.sum()) > _FEWEST:
            s = share[known]
            unusual = _within(float(s.mean()), _UNUSUAL)
            squares = other.mean.square() + other.variance
            other_sd = _within(float((s * squares[known]).sum() / s.sum().clamp_min(1e-6)) ** 0.5, _ANYTHING)
            squares = usual.mean.square() + usual.variance
            usual_sd = _within(
                float(((1 - s) * squares[known]).sum() / (1 - s).sum().clamp_min(1e-6)) ** 0.5, _ORDINARY
            )
        # A column of half its height gives fewer electrons, and so less noise.
        other_noise = noise(pairs.explained(other.mean, count))[pairs.sample]
    spread = (other.variance + (_PROFILE_ERROR * other.mean).square()).sqrt()
    half_width = (other.mean - shown).abs() + _QUANTILE * spread
    return Heights(profile, numbers, shown, half_width, spread, share, known)


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
