"""How long after the beam the readings come, told by what neighbouring stretches of the path say of the same place.

Turns of a spiral and lines of a grid that are driven in opposite directions, and strokes that cross, see one place at
different times. Readings that come late move what one stretch saw along it, and its neighbour's the other way, so they
agree best when read as late as they are. Where all lines run one way the whole picture is shifted, and nothing tells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.estimate.disagreement import PIECES, Delay, Disagreement, Pairs
from restore.estimate.neighbours import close_across, places_px, some_across
from restore.estimate.readings import Judged
from restore.gridding import FrameGeometry

__all__ = ["DelayFinder", "DelayWatch"]

_BESIDE = 3  # neighbours of each sample
_CLOSE_PX = 0.5
_CROSSING_PX = 1.5
_PAIRS = 12288  # the closest are looked at
_OFTEN, _SELDOM = 4, 8  # frames


class DelayFinder:
    """Adds up over the frames of one path how much its neighbouring stretches disagree at each delay.

    Args:
        geometry: of the path; where readings are already placed late, what is found is what is left.
    """

    def __init__(self, geometry: FrameGeometry) -> None:
        # Turns lie so far apart that a lattice between them looks like a delay: of a drawn path only crossings tell.
        some, near = close_across(geometry, _CROSSING_PX) if geometry.is_drawn else some_across(geometry)
        beside = near[:, :_BESIDE]
        own = some[:, None].expand_as(beside)
        one, other = own[beside != own], beside[beside != own]
        places = places_px(geometry)
        distance_px = (places[one] - places[other]).square().sum(1).sqrt()
        closest = distance_px.argsort(stable=True)[:_PAIRS]
        one, other = one[closest], other[closest]
        say = 1 / (distance_px[closest] + _CLOSE_PX).square()  # far apart, the specimen itself differs
        # Of a crossing the later sample says where it is: a stroke itself is soon over.
        self._pairs = Pairs(one, other, say, torch.maximum(one, other) * PIECES // geometry.count)
        self._disagreement = Disagreement()

    def add(self, values: Tensor, weights: Tensor) -> None:
        """One whole frame's judged values and weights (n,)."""
        self._disagreement.forget()
        self._disagreement.add(self._pairs, (values, weights), (values, weights))

    def found(self) -> Delay | None:
        """The delay, if it is surely one and known well enough to tell."""
        return self._disagreement.found()


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
