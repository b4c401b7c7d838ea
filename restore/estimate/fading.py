"""Whether a detector's light lingers, told by readings that rise faster than they fall.

A specimen that the beam passes in every direction looks the same forwards and backwards in time. Light that fades does
not: edges towards the bright are sharp, those away from it are drawn out, and the third moment of the steps between
readings is no longer zero.

Reference: Ramsey, Rothman, J. Money, Credit and Banking 28 (1996) 1 (the third moment of steps as a test of time
reversibility).
"""

from __future__ import annotations

import torch

from restore.estimate.neighbours import places_px
from restore.estimate.readings import Judged
from restore.gridding import FrameGeometry

__all__ = ["FadingWatch"]

_PIECES = 24
_BOUND = 4.0  # spreads of a step: single edges must not decide
_SURE = 4.0  # standard deviations; frames without afterglow reached 2.7 in two hundred
_ONE_WAY = 0.25  # of the steps, more of which lead one way than the other: then the specimen itself may be uneven
_FORGOTTEN = 0.9


class FadingWatch:
    """Adds up over frames, along whatever paths, how much faster readings rise than they fall."""

    def __init__(self) -> None:
        self._sums = torch.zeros(_PIECES, dtype=torch.float64)

    def look(self, judged: Judged, geometry: FrameGeometry) -> bool:
        """Whether light surely lingers, after one more whole frame."""
        ways = places_px(geometry).diff(dim=0).sign().mean(0)
        if not bool((ways.abs() <= _ONE_WAY).all()):
            return False
        step = judged.values.double().diff()
        known = (judged.weights[1:] > 0) & (judged.weights[:-1] > 0)
        spread = step[known].square().mean().sqrt() if bool(known.any()) else step.new_zeros(())
        if spread == 0:
            return False
        cubes = torch.where(known, step / spread, 0.0).clamp(-_BOUND, _BOUND) ** 3
        self._sums = _FORGOTTEN * self._sums + torch.stack([part.mean() for part in cubes.tensor_split(_PIECES)])
        return bool(self._sums.mean().abs() > _SURE * self._sums.std() / _PIECES**0.5)
