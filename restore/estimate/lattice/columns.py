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

from restore.estimate.lattice.model import LatticeFit, splines_of
from restore.estimate.lattice.profile import Profile

__all__ = ["Columns", "Heights", "Numbers", "Pairs", "heights_of", "listed"]

_REACH = 2.5  # deviations of a column's profile
_QUANTILE = 1.645  # two-sided 90 %
_UNUSUAL = (0.03, 0.15)  # share of columns that are not ordinary
_MARGIN = 3  # cells around the frame: a stream drifts
_ORDINARY = (0.01, 0.3)  # deviation of ordinary heights, relative
_ANYTHING = (0.33, 0.6)  # deviation of all others, relative: vacancies of half a column are common
_PROFILE_ERROR = 0.12  # of a deviation: how well profile and position of a column are known
_FEWEST = 50  # columns that were hit, to learn of all others from
_ROUNDS, _ROUNDS_WARM = 5, 2
_KEPT = 0.85  # of what earlier frames told, for every frame: columns change under the beam


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


@dataclass(frozen=True)
class Numbers:
    """Lattice translations that the frame holds, numbered."""

    low: Tensor
    span: Tensor
    kinds: int

    @classmethod
    def of(cls, coordinates: Tensor, kinds: int) -> Numbers:
        flat = coordinates.reshape(-1, 2)
        low = flat.amin(0).floor().long() - _MARGIN
        return cls(low, flat.amax(0).ceil().long() + _MARGIN + 1 - low, kinds)

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
        memory: what the next frame of a stream begins with.
    """

    profile: Profile
    numbers: Numbers
    shown: Tensor
    half_width: Tensor
    sd: Tensor
    unusual: Tensor
    hit: Tensor
    memory: Memory

    def drawn(self, coordinates: Tensor, amplitude: Tensor) -> Tensor:
        """What columns' own heights add to the mean cell at lattice coordinates (n, 2): (n,)."""
        added = torch.zeros_like(amplitude)
        for kind, height in enumerate(self.profile.heights.tolist()):
            number, distance2 = self.numbers.nearest(coordinates, self.profile, kind)
            added += torch.exp(distance2 * (-0.5 / self.profile.sigma_px**2)) * height * self.shown[number]
        return added * amplitude


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
class Told:
    """What samples told of each column, were they all of one kind: sums that add up from frame to frame, (m,) each.

    Attributes:
        precision: of the deviation; weighted: sums of shape times what is left over variance.
        misfit: of a deviation of 0.
    """

    precision: Tensor
    weighted: Tensor
    misfit: Tensor

    @classmethod
    def of(cls, pairs: Pairs, left: Tensor, noise: Tensor, earlier: Told | None, share: float) -> Told:
        """From what is left for each pair (k,) and the noise's variance there, and a share of what was told before."""
        scaled = pairs.shape / noise
        found = cls(
            pairs.sums(scaled * pairs.shape), pairs.sums(scaled * left), pairs.sums(left.square() / noise + noise.log())
        )
        if earlier is None:
            return found
        return cls(
            found.precision + share * earlier.precision,
            found.weighted + share * earlier.weighted,
            found.misfit + share * earlier.misfit,
        )

    def posterior(self, prior: float) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of each column's deviation under a prior deviation, and the evidence for it."""
        variance = 1 / (self.precision + 1 / prior**2)
        gain = self.weighted.square() * variance - torch.log1p(prior**2 * self.precision)
        return self.weighted * variance, variance, 0.5 * (gain - self.misfit)


@dataclass(frozen=True)
class Memory:
    """What is kept of columns from frame to frame: told of them as ordinary and as others, the three priors, hits."""

    usual: Told
    other: Told
    priors: tuple[float, float, float]
    hit: Tensor


def heights_of(
    profile: Profile,
    numbers: Numbers,
    pairs: Pairs,
    residual: Tensor,
    noise: Callable[[Tensor], Tensor],
    memory: Memory | None = None,
    shown: Tensor | None = None,
) -> Heights:
    """Heights of the columns from what the mean cell leaves of the samples.

    Args:
        residual: samples minus the mean lattice, (n,).
        noise: the samples' variances (n,) when columns add these values (n,) to the mean lattice; infinite for samples
            that do not count.
        memory, shown: of the frame before, whose columns these are.
    """
    count = len(residual)
    unusual, usual_sd, other_sd = (_UNUSUAL[0], _ORDINARY[0], _ANYTHING[0]) if memory is None else memory.priors
    hit = pairs.sums(pairs.close.to(residual.dtype)) > 0
    if shown is None:
        shown = residual.new_zeros(pairs.columns)
    share = mean = spread = shown
    usual_noise = noise(torch.zeros_like(residual))[pairs.sample]
    other_noise = noise(pairs.explained(shown, count))[pairs.sample]
    before = (None, None) if memory is None else (memory.usual, memory.other)
    for _ in range(_ROUNDS if memory is None else _ROUNDS_WARM):
        # A sample between two columns: what the one explains, the other need not.
        left = (residual - pairs.explained(shown, count))[pairs.sample] + pairs.shape * shown[pairs.column]
        usual = Told.of(pairs, left, usual_noise, before[0], _KEPT)
        other = Told.of(pairs, left, other_noise, before[1], _KEPT)
        usual_mean, usual_variance, usual_evidence = usual.posterior(usual_sd)
        mean, variance, evidence = other.posterior(other_sd)
        share = (evidence - usual_evidence + math.log(unusual / (1 - unusual))).sigmoid()
        # How ordinary columns vary is left to whatever restores the rest: it may know how neighbours vary together.
        shown = share * mean
        spread = (variance + (_PROFILE_ERROR * mean).square()).sqrt()
        if int(hit.sum()) > _FEWEST:
            s = share[hit]
            unusual = _within(float(s.mean()), _UNUSUAL)
            squares = (mean.square() + variance)[hit]
            other_sd = _within(float((s * squares).sum() / s.sum().clamp_min(1e-6)) ** 0.5, _ANYTHING)
            squares = (usual_mean.square() + usual_variance)[hit]
            usual_sd = _within(float(((1 - s) * squares).sum() / (1 - s).sum().clamp_min(1e-6)) ** 0.5, _ORDINARY)
        # A column of half its height gives fewer electrons, and so less noise.
        other_noise = noise(pairs.explained(mean, count))[pairs.sample]
    if memory is not None:
        hit = hit | memory.hit
    half_width = (mean - shown).abs() + _QUANTILE * spread
    kept = Memory(usual, other, (unusual, usual_sd, other_sd), hit)
    return Heights(profile, numbers, shown, half_width, spread, share, hit, kept)


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def listed(heights: Heights, fit: LatticeFit, scale: float) -> Columns:
    """Every column within the frame, heights times ``scale``."""
    coordinates = heights.numbers.coordinates(heights.profile)
    direct = torch.linalg.inv(fit.pair.T).float()
    straight = coordinates @ direct
    splines = splines_of(fit.shape, fit.displacement)
    positions = straight
    for _ in range(3):
        positions = straight + splines.at(positions) @ fit.displacement.T
    limit = torch.tensor(fit.shape, device=positions.device) - 0.5
    inside = ((positions > -0.5) & (positions < limit)).all(1)
    kind = torch.arange(len(heights.profile.heights), device=positions.device).repeat(
        len(coordinates) // len(heights.profile.heights)
    )[inside]
    positions = positions[inside]
    shown = heights.shown[inside]
    full = heights.profile.heights[kind] * fit.amplitude_at(positions) * scale
    return Columns(
        positions,
        kind,
        full * (1 + shown),
        shown,
        heights.sd[inside],
        heights.half_width[inside],
        heights.unusual[inside],
        heights.hit[inside],
    )
