"""How much pairs of readings of nearly one place disagree, as a function of how late the readings come.

The delay is where the disagreement is least; how well it is known, a bootstrap over pieces of the path says.

Reference: Efron, Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, section 8.6 (moving blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PIECES", "Delay", "Disagreement", "Pairs"]

PIECES = 24  # of a path
_FIRST, _LAST = -6, 16  # samples; one more at each end is looked at, for the least disagreement lies between
_DRAWS = 200
_SURE = 3.0  # standard deviations from none that a delay must be
_GAIN = 1.5  # standard deviations that less disagreement with it must be
_LEAST = 0.3  # samples; less moves nothing that could be seen
_UNSURE = 1.0  # samples; a delay known no better is not told
_FORGOTTEN = 0.9  # of what earlier frames said is kept from frame to frame


@dataclass(frozen=True)
class Delay:
    """Readings come ``samples`` ± ``sd_samples`` (one standard deviation) after the beam."""

    samples: float
    sd_samples: float

    @property
    def late(self) -> str:
        """What it is."""
        return f"readings come {self.samples:.1f} ± {self.sd_samples:.1f} samples after the beam"

    @property
    def notice(self) -> str:
        """What to tell of it."""
        return f"{self.late} (a delay, or afterglow): apply it, calibrate, or restore the recording, which corrects it"


@dataclass(frozen=True)
class Pairs:
    """Samples ``one`` and ``other`` (p,) of nearly one place: what each pair has to ``say``, and its ``piece``."""

    one: Tensor
    other: Tensor
    say: Tensor
    piece: Tensor


class Disagreement:
    """Adds up over frames how much pairs disagree at each delay."""

    def __init__(self) -> None:
        self._delays = range(_FIRST - 1, _LAST + 2)
        self._sums = torch.zeros(2, len(self._delays), PIECES, dtype=torch.float64)  # of squares, and of pairs

    def forget(self) -> None:
        """Count what was added so far a little less, as before each further frame."""
        self._sums *= _FORGOTTEN

    def add(self, pairs: Pairs, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
        """Pairs of the values and weights, (n,) each, of one frame and another, or of a frame and itself."""
        if not len(pairs.one):
            return
        (values, weights), (others, other_weights) = one, other
        values, others = values.double() / _spread(values, weights), others.double() / _spread(others, other_weights)
        for k, delay in enumerate(self._delays):
            first, second = pairs.one + delay, pairs.other + delay
            known = (torch.minimum(first, second) >= 0) & (first < len(values)) & (second < len(others))
            first, second = first.clamp(0, len(values) - 1), second.clamp(0, len(others) - 1)
            counted = known * weights[first] * other_weights[second] * pairs.say
            square = (values[first] - others[second]).square() * counted
            self._sums[0, k].index_add_(0, pairs.piece, square.double())
            self._sums[1, k].index_add_(0, pairs.piece, counted.double())

    def found(self) -> Delay | None:
        """The delay, if it is surely one and known well enough to tell."""
        drawn = torch.randint(PIECES, (_DRAWS, PIECES), generator=torch.Generator().manual_seed(0))
        shares = torch.cat([torch.ones(1, PIECES), torch.nn.functional.one_hot(drawn, PIECES).sum(1).float()]).double()
        squares, pairs = self._sums @ shares.T
        if not bool((pairs > 0).all()):
            return None
        disagreement = squares / pairs
        least = disagreement.argmin(0)
        if int(least[0]) in (0, len(self._delays) - 1):
            return None
        least = least.clamp(1, len(self._delays) - 2)
        before, there, after = (disagreement.gather(0, (least + k)[None])[0] for k in (-1, 0, 1))
        between = (0.5 * (before - after) / (before - 2 * there + after).clamp_min(1e-12)).clamp(-0.5, 0.5)
        delays = least + between + self._delays[0]
        gain = disagreement[-self._delays[0]] - disagreement[least[0]]
        delay = Delay(float(delays[0]), max(0.05, float(delays[1:].std())))
        sure = abs(delay.samples) > max(_LEAST, _SURE * delay.sd_samples) and delay.sd_samples < _UNSURE
        return delay if sure and float(gain[0]) > _GAIN * float(gain[1:].std()) else None


def _spread(values: Tensor, weights: Tensor) -> Tensor:
    return values[weights > 0].double().std().clamp_min(1e-12)
