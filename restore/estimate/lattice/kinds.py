"""What kind of column each is, from what readings told of it: ordinary, one that lacks something, or one with more.

Each kind is as frequent as the frame makes likely: counted electrons scatter further upwards, and where hardly any
column has more than its mates, a bright reading is chance. What is shown is what is more likely than not.

References: George & McCulloch 1993, J. Am. Stat. Assoc. 88, 881 (priors of kinds, spike and slab).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.pairs import Pairs

__all__ = ["Kinds", "Memory", "Priors", "Told"]

_LESS = (0.02, 0.15)  # share of columns that lack something
_MORE = (0.0005, 0.15)  # share of columns that have more than their mates
_STEP, _STEP_SD = 0.45, 0.25  # what those lack or have more, relative: half a column is common
_ORDINARY = (0.01, 0.3)  # deviation of ordinary heights, relative
_ANYTHING = (0.33, 0.6)  # deviation of all others, relative, for the interval


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

    def posterior(self, prior: float, about: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of each column's deviation under a prior one about a mean, and the evidence for it."""
        variance = 1 / (self.precision + 1 / prior**2)
        mean = (self.weighted + about / prior**2) * variance
        gain = mean.square() / variance - (about / prior) ** 2 - torch.log1p(prior**2 * self.precision)
        return mean, variance, 0.5 * (gain - self.misfit)


@dataclass(frozen=True)
class Kinds:
    """Of each column, (m,): probabilities that it lacks something and that it has more, and what is shown."""

    less: Tensor
    more: Tensor
    shown: Tensor


@dataclass(frozen=True)
class Priors:
    """Of a frame's columns: shares that have less and more, deviations of ordinary ones and of others."""

    less: float = 0.03
    more: float = 0.005
    usual_sd: float = _ORDINARY[0]
    other_sd: float = _ANYTHING[0]

    def kinds(self, usual: Told, other: Told) -> Kinds:
        """What each column is likely to be, from what was told of it."""
        ordinary = usual.posterior(self.usual_sd)[2] + math.log(1 - self.less - self.more)
        less, _, lower = other.posterior(_STEP_SD, -_STEP)
        more, _, higher = other.posterior(_STEP_SD, _STEP)
        evidence = torch.stack([ordinary, lower + math.log(self.less), higher + math.log(self.more)])
        _, lacks, has = evidence.softmax(0)
        return Kinds(lacks, has, lacks.square() * less + has.square() * more)

    def learnt(self, kinds: Kinds, usual: Told, other: Told, hit: Tensor) -> Priors:
        """As the columns that were hit make them likely."""
        less, more = kinds.less[hit], kinds.more[hit]
        share = less + more
        mean, variance, _ = other.posterior(self.other_sd)
        squares = (mean.square() + variance)[hit]
        other_sd = float((share * squares).sum() / share.sum().clamp_min(1e-6)) ** 0.5
        mean, variance, _ = usual.posterior(self.usual_sd)
        squares = (mean.square() + variance)[hit]
        usual_sd = float(((1 - share) * squares).sum() / (1 - share).sum().clamp_min(1e-6)) ** 0.5
        return Priors(
            _within(float(less.mean()), _LESS),
            _within(float(more.mean()), _MORE),
            _within(usual_sd, _ORDINARY),
            _within(other_sd, _ANYTHING),
        )


@dataclass(frozen=True)
class Memory:
    """What is kept of columns from frame to frame: told of them as ordinary and as others, priors, hits."""

    usual: Told
    other: Told
    priors: Priors
    hit: Tensor


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
