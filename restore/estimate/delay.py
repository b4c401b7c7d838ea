"""How long after the beam the readings come, told by what neighbouring stretches of the path say of the same place.

Turns of a spiral and lines of a grid that are driven in opposite directions, and strokes that cross, see one place at
different times. Readings that come late move what one stretch saw along it, and its neighbour's the other way, so they
agree best when read as late as they are. The delay is where their disagreement is least; how well it is known, a
bootstrap over pieces of the path says. Where all lines run one way the whole picture is shifted, and nothing can tell.

Reference: Efron, Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993, section 8.6 (moving blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.neighbours import across, places_px
from restore.estimate.readings import Judged
from restore.gridding import FrameGeometry

__all__ = ["Delay", "DelayFinder", "DelayWatch"]

_FIRST, _LAST = -6, 16  # samples; one more at each end is looked at, for the least disagreement lies between
_BESIDE = 3  # neighbours of each sample
_CLOSE_PX = 0.5
_CROSSING_PX = 1.5
_PAIRS = 12288  # the closest are looked at
_PIECES = 24
_OFTEN, _SELDOM = 4, 8  # frames
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


class DelayFinder:
    """Adds up over the frames of one path how much its neighbouring stretches disagree at each delay.

    Args:
        geometry: of the path; where readings are already placed late, what is found is what is left.
    """

    def __init__(self, geometry: FrameGeometry) -> None:
        beside = across(geometry)[:, :_BESIDE]
        own = torch.arange(geometry.count)[:, None].expand_as(beside)
        one, other = own[beside != own], beside[beside != own]
        places = places_px(geometry)
        distance_px = (places[one] - places[other]).square().sum(1).sqrt()
        closest = distance_px.argsort(stable=True)[:_PAIRS]
        if geometry.is_drawn:  # turns lie so far apart that a lattice between them looks like a delay
            closest = closest[distance_px[closest] <= _CROSSING_PX]
        self._one, self._other = one[closest], other[closest]
        self._say = 1 / (distance_px[closest] + _CLOSE_PX).square()  # far apart, the specimen itself differs
        # Of a crossing the later sample says where it is: a stroke itself is soon over.
        self._piece = torch.maximum(self._one, self._other) * _PIECES // geometry.count
        self._delays = range(_FIRST - 1, _LAST + 2)
        self._sums = torch.zeros(2, len(self._delays), _PIECES, dtype=torch.float64)  # of squares, and of pairs

    def add(self, values: Tensor, weights: Tensor) -> None:
        """One whole frame's judged values and weights (n,)."""
        self._sums *= _FORGOTTEN
        if not len(self._one):
            return
        values = values.double() / values[weights > 0].double().std().clamp_min(1e-12)
        last = len(values) - 1
        for k, delay in enumerate(self._delays):
            one, other = self._one + delay, self._other + delay
            known = (torch.minimum(one, other) >= 0) & (torch.maximum(one, other) <= last)
            one, other = one.clamp(0, last), other.clamp(0, last)
            counted = known * weights[one] * weights[other] * self._say
            square = (values[one] - values[other]).square() * counted
            self._sums[0, k].index_add_(0, self._piece, square.double())
            self._sums[1, k].index_add_(0, self._piece, counted.double())

    def found(self) -> Delay | None:
        """The delay, if it is surely one and known well enough to tell."""
        drawn = torch.randint(_PIECES, (_DRAWS, _PIECES), generator=torch.Generator().manual_seed(0))
        shares = torch.cat(
            [torch.ones(1, _PIECES), torch.nn.functional.one_hot(drawn, _PIECES).sum(1).float()]
        ).double()
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


class DelayWatch:
    """Looks for a delay in the first frames of a path, then in every eighth: it does not change from frame to frame."""

    def __init__(self, geometry: FrameGeometry) -> None:
        self._geometry = geometry
        self._finder: DelayFinder | None = None
        self._frames = 0
        self._found: Delay | None = None

    def look(self, judged: Judged) -> Delay | None:
        """What is known of the delay after one more whole frame."""
        if self._frames < _OFTEN or self._frames % _SELDOM == 0:
            if self._finder is None:
                self._finder = DelayFinder(self._geometry)
            self._finder.add(judged.values, judged.weights)
            self._found = self._finder.found()
        self._frames += 1
        return self._found
