"""The columns of a crystal, and the height of each: which are ordinary, which are not, and which nobody looked at.

The mean cell shows every vacancy as a perfect atom. So each column has a height of its own, relative to its mates'. A
linear estimate would shrink a vacancy that was plainly hit as much as noise; but columns are ordinary or they are not.
With a prior of kinds (`kinds`), a reading that an ordinary column cannot have given shows nearly all of what is
missing, and noise next to nothing. Where no sample fell the height may be anything, and the interval says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.kinds import Memory, Priors, Told
from restore.estimate.lattice.model import LatticeFit, splines_of
from restore.estimate.lattice.pairs import Numbers, Pairs
from restore.estimate.lattice.profile import Profile

__all__ = ["Columns", "Heights", "heights_of", "listed"]

_QUANTILE = 1.645  # two-sided 90 %
_THIRD = 1 / 3  # of a residual: r² / (m + r/3) is the deviance of a count m + r of m to third order
_DOUBTED = 2.2  # deviations that a height which was told is held to: profile, place and neighbours are guessed too
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
    priors = Priors() if memory is None else memory.priors
    hit = pairs.sums(pairs.close.to(residual.dtype)) > 0
    if shown is None:
        shown = residual.new_zeros(pairs.columns)
    usual_noise = noise(_THIRD * residual)[pairs.sample]
    other_noise = noise(_counted(residual, pairs.explained(shown, count)))[pairs.sample]
    before = (None, None) if memory is None else (memory.usual, memory.other)
    for _ in range(_ROUNDS if memory is None else _ROUNDS_WARM):
        # A sample between two columns: what the one explains, the other need not.
        left = (residual - pairs.explained(shown, count))[pairs.sample] + pairs.shape * shown[pairs.column]
        usual = Told.of(pairs, left, usual_noise, before[0], _KEPT)
        other = Told.of(pairs, left, other_noise, before[1], _KEPT)
        # How ordinary columns vary is left to whatever restores the rest: it may know how neighbours vary together.
        kinds = priors.kinds(usual, other)
        shown = kinds.shown
        if int(hit.sum()) > _FEWEST:
            priors = priors.learnt(kinds, usual, other, hit)
        mean, variance, _ = other.posterior(priors.other_sd)
        # A column of half its height gives fewer electrons, and so less noise.
        other_noise = noise(_counted(residual, pairs.explained(mean, count)))[pairs.sample]
    if memory is not None:
        hit = hit | memory.hit
    spread = (variance + (_PROFILE_ERROR * mean).square()).sqrt()
    half_width = (mean - shown).abs() + (_DOUBTED * spread).clamp_max(_QUANTILE * priors.other_sd)
    unusual = kinds.less + kinds.more
    return Heights(profile, numbers, shown, half_width, spread, unusual, hit, Memory(usual, other, priors, hit))


def _counted(residual: Tensor, explained: Tensor) -> Tensor:
    """Where the noise's variance is to be read, for a squared residual over it to be a count's deviance."""
    return explained + _THIRD * (residual - explained)


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
