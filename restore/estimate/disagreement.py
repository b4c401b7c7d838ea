"""How much pairs of readings of nearly one place disagree, as a function of how late the readings come.

The delay is where the disagreement is least; how well it is known, a bootstrap over pieces of the path says. Light that
lingers is late as well, what is slow along the path the most: its phases are taken off alone, so that neither noise nor
detail is more or less than with a delay, and where the readings then agree better it was that.

Reference: Efron, Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, section 8.6 (moving blocks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from scipy.fft import next_fast_len
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
_DECAYS = tuple(0.5 * 2 ** (step / 2) for step in range(-1, 12))  # samples, 0.35 to 22.6
_PLAINLY = 2.0  # standard deviations by which readings agree better with a delay, where it is no afterglow for sure


@dataclass(frozen=True)
class Delay:
    """Readings come ``samples`` ± ``sd_samples`` (one standard deviation) after the beam.

    Attributes:
        decay_samples: of the detector's light, ± ``decay_sd_samples``, if its lingering explains that better; else 0.
        is_plain: whether it is surely no afterglow.
    """

    samples: float
    sd_samples: float
    decay_samples: float = 0.0
    decay_sd_samples: float = 0.0
    is_plain: bool = False

    @property
    def late(self) -> str:
        """What it is."""
        if self.decay_samples:
            lingers = f"{self.decay_samples:.1f} ± {self.decay_sd_samples:.1f} samples"
            return f"the detector's light lingers for {lingers} (afterglow)"
        return f"readings come {self.samples:.1f} ± {self.sd_samples:.1f} samples after the beam"

    @property
    def notice(self) -> str:
        """What to tell of it."""
        if self.decay_samples:
            return f"{self.late}: calibrate, state its decay_us, or restore the recording, which corrects it"
        or_else = "" if self.is_plain else " (a delay, or afterglow)"
        return f"{self.late}{or_else}: apply it, calibrate, or restore the recording, which corrects it"


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
        # Of differences squared, pairs, and readings squared: of all frames at each delay; of those that tell one, at
        # each delay and at each decay.
        shape = (3, len(self._delays), PIECES)
        self._sums, self._compared = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
        self._of_decays = torch.zeros(3, len(_DECAYS), PIECES, dtype=torch.float64)

    def forget(self) -> None:
        """Count what was added so far a little less, as before each further frame."""
        for sums in (self._sums, self._compared, self._of_decays):
            sums *= _FORGOTTEN

    def add(self, pairs: Pairs, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
        """Pairs of the values and weights, (n,) each, of one frame and another, or of a frame and itself."""
        if not len(pairs.one):
            return
        (values, weights), (others, other_weights) = one, other
        values, others = _even(values, weights), _even(others, other_weights)
        at_delays = torch.zeros_like(self._sums)
        for k, delay in enumerate(self._delays):
            first, second = pairs.one + delay, pairs.other + delay
            known = (torch.minimum(first, second) >= 0) & (first < len(values)) & (second < len(others))
            first, second = first.clamp(0, len(values) - 1), second.clamp(0, len(others) - 1)
            counted = known * weights[first] * other_weights[second] * pairs.say
            _count(at_delays[:, k], pairs.piece, values[first], others[second], counted)
        self._sums += at_delays
        if self._delay(_shares()) is None:
            return
        self._compared += at_delays
        counted = weights[pairs.one] * other_weights[pairs.other] * pairs.say
        for k, (mine, theirs) in enumerate(zip(_in_phase(values), _in_phase(others), strict=True)):
            _count(self._of_decays[:, k], pairs.piece, mine[pairs.one], theirs[pairs.other], counted)

    def found(self) -> Delay | None:
        """The delay, if it is surely one and known well enough to tell, and what it is."""
        shares = _shares()
        delay = self._delay(shares)
        # About the readings' own size there: a decay's phases strew what is bright over the path, also off the pairs.
        (differ, _, size), (differ_by_decay, _, size_by_decay) = self._compared @ shares.T, self._of_decays @ shares.T
        if delay is None or not bool((size_by_decay > 0).all()):
            return delay
        _, left = _least(differ / size)
        step, left_by_decay = _least(differ_by_decay / size_by_decay)
        better = left - left_by_decay
        plainly = float(better[0] / better[1:].std().clamp_min(1e-12))
        if plainly < 0:  # of 58 delays none was ever above, and of 50 decays two below
            return replace(delay, is_plain=plainly < -_PLAINLY)
        decays = _DECAYS[0] * (step * math.log(_DECAYS[1] / _DECAYS[0])).exp()
        return replace(delay, decay_samples=float(decays[0]), decay_sd_samples=max(0.05, float(decays[1:].std())))

    def _delay(self, shares: Tensor) -> Delay | None:
        squares, pairs, _ = self._sums @ shares.T
        if not bool((pairs > 0).all()):
            return None
        disagreement = squares / pairs
        least = disagreement.argmin(0)
        if int(least[0]) in (0, len(self._delays) - 1):
            return None
        delays = _least(disagreement)[0] + self._delays[0]
        gain = disagreement[-self._delays[0]] - disagreement[least[0]]
        delay = Delay(float(delays[0]), max(0.05, float(delays[1:].std())))
        sure = abs(delay.samples) > max(_LEAST, _SURE * delay.sd_samples) and delay.sd_samples < _UNSURE
        return delay if sure and float(gain[0]) > _GAIN * float(gain[1:].std()) else None


def _shares() -> Tensor:
    """How often each piece counts, (1 + draws, pieces): once, and as drawn."""
    drawn = torch.randint(PIECES, (_DRAWS, PIECES), generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.ones(1, PIECES), torch.nn.functional.one_hot(drawn, PIECES).sum(1).float()]).double()


def _count(sums: Tensor, piece: Tensor, one: Tensor, other: Tensor, counted: Tensor) -> None:
    """Add pairs of readings (p,), as far as each counts, to the sums of their pieces, (3, pieces)."""
    sums[0].index_add_(0, piece, (one - other).square() * counted)
    sums[1].index_add_(0, piece, counted.double())
    sums[2].index_add_(0, piece, (one.square() + other.square()) * counted)


def _least(disagreement: Tensor) -> tuple[Tensor, Tensor]:
    """Where the least of each column of (k, draws) is, between the rows too, and how little that is, (draws,) each."""
    least = disagreement.argmin(0).clamp(1, len(disagreement) - 2)
    before, there, after = (disagreement.gather(0, (least + k)[None])[0] for k in (-1, 0, 1))
    between = (0.5 * (before - after) / (before - 2 * there + after).clamp_min(1e-12)).clamp(-0.5, 0.5)
    return least + between, there - 0.25 * (before - after) * between


def _in_phase(values: Tensor) -> Iterator[Tensor]:
    """Values (n,) along a path as each decay would have left them without being late: every wave in its phase.

    What was lit evenly during one dwell is read evenly during that and the next ones.
    """
    count = len(values)
    padded = next_fast_len(2 * count, True)
    waves = torch.fft.rfft(values, padded)
    turned = torch.polar(torch.ones(()).double(), -2 * math.pi * torch.fft.rfftfreq(padded).double())
    for decay in _DECAYS:
        kept = math.exp(-1 / decay)
        passed = 1 - decay * (1 - kept) + decay * (1 - kept) ** 2 * turned / (1 - kept * turned)
        yield torch.fft.irfft(waves * passed.conj() / passed.abs(), padded)[:count]


def _even(values: Tensor, weights: Tensor) -> Tensor:
    """Values (n,) about none, of unit spread."""
    believed = values[weights > 0].double()
    return (values.double() - believed.mean()) / believed.std().clamp_min(1e-12)
