"""How long after the beam the readings come, told by what neighbouring stretches of the path say of the same place.

Turns of a spiral and lines of a grid that are driven in opposite directions, and strokes that cross, see one place at
different times. Readings that come late move what one stretch saw along it, and its neighbour's the other way, so they
agree best when read as late as they are. Where all lines run one way the whole picture is shifted, and nothing tells.
"""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.estimate.disagreement import PIECES, Delay, Disagreement, Pairs
from restore.estimate.neighbours import close_pairs, places_px, some_across
from restore.estimate.readings import Judged
from restore.gridding import FrameGeometry

__all__ = ["DelayWatch", "pairs_beside"]

_BESIDE = 3  # neighbours of each sample
_CLOSE_PX = 0.5
_CROSSING_PX = 1.5
_PAIRS = 12288  # the closest are looked at
_WIDENED = 3  # times, a circle about each sample that holds too few of them
_OFTEN, _SELDOM = 4, 8  # frames

_pairs = WeakIdKeyDictionary()  # geometry → pairs


def pairs_beside(geometry: FrameGeometry) -> Pairs:
    """Samples of a path, and what neighbouring stretches of it saw of nearly the same place; kept with the geometry.

    Where readings are already placed late, a delay that these pairs tell is what is left.
    """
    if geometry not in _pairs:
        _pairs[geometry] = _pairs_beside(geometry)
    found: Pairs = _pairs[geometry]
    return found


def _pairs_beside(geometry: FrameGeometry) -> Pairs:
    # Turns lie so far apart that a lattice between them looks like a delay: of a drawn path only crossings tell.
    one, other = close_pairs(geometry, _CROSSING_PX, _BESIDE) if geometry.is_drawn else _closest(geometry)
    places = places_px(geometry)
    distance_px = (places[one] - places[other]).square().sum(1).sqrt()
    closest = distance_px.argsort(stable=True)[:_PAIRS]
    one, other = one[closest], other[closest]
    say = 1 / (distance_px[closest] + _CLOSE_PX).square()  # far apart, the specimen itself differs
    # Of a crossing the later sample says where it is: a stroke itself is soon over.
    return Pairs(one, other, say, torch.maximum(one, other) * PIECES // geometry.count)


def _closest(geometry: FrameGeometry) -> tuple[Tensor, Tensor]:
    """Pairs of samples of another time, as close as the closest ``_PAIRS`` and more, (p,) each."""
    within_px = math.sqrt(geometry.weight.numel() / geometry.count)  # about their spacing
    for _ in range(_WIDENED):
        one, other = close_pairs(geometry, within_px, _BESIDE)
        if len(one) >= _PAIRS:
            return one, other
        within_px *= 1.25
    some, near = some_across(geometry)
    beside = near[:, :_BESIDE]
    own = some[:, None].expand_as(beside)
    return own[beside != own], beside[beside != own]


class DelayWatch:
    """Adds up over frames how much their neighbouring stretches disagree at each delay.

    Live, of each kind of path the first frames of a stream are looked at, then every eighth: it does not change from
    frame to frame, nor with the angle or the seed of a path.
    """

    def __init__(self) -> None:
        self._disagreement = Disagreement()
        self._frames = Counter[str]()  # by the kind of their path
        self._tells = False
        self._found: Delay | None = None

    def look(self, judged: Judged, geometry: FrameGeometry, kind: str = "") -> Delay | None:
        """What is known of the delay after one more whole frame along a path of some kind."""
        frames = self._frames[kind]
        if frames < _OFTEN or frames % _SELDOM == 0:
            self.add(judged.values, judged.weights, geometry)
            self._found = self.found()
        self._frames[kind] += 1
        return self._found

    def add(self, values: Tensor, weights: Tensor, geometry: FrameGeometry) -> None:
        """One whole frame's judged values and weights (n,)."""
        pairs = pairs_beside(geometry)
        self._tells |= len(pairs.one) > 0
        self._disagreement.forget()
        self._disagreement.add(pairs, (values, weights), (values, weights))

    def found(self) -> Delay | None:
        """The delay, if it is surely one and known well enough to tell."""
        return self._disagreement.found() if self._tells else None
