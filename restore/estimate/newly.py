"""How well an estimate is known where the specimen changed lately: no better than that of a single frame.

A restorer that was calibrated on frames whose samples lie alike everywhere promises too much in a hole that is as
sparse as a single frame, inside a field that is known well. So there its interval is at least what that of the
stream's first frame, which was restored alone, was as far from a sample; and, in the first frame after the change, a
part of what the samples contradicted, for what has come need not lie where it was seen alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.changes import Changes
from restore.estimate.drift import Drift
from restore.restorer import Restoration

__all__ = ["Lately", "Single", "changed_lately", "doubted", "widened"]

_FARTHEST = 64  # px from the path, beyond which all places are taken alike
_WIDENED = 1.5  # times a single frame's interval: what comes is rarely as smooth as what is there on average
_DENIED = 1.645  # times their root mean square: what holds nine of ten
_UNSEEN = 0.6  # of what was contradicted, that may lie elsewhere between the samples


@dataclass(frozen=True)
class Single:
    """What a frame that was restored alone knew: mean square half-width by whole pixels from its path, (m,)."""

    squared: Tensor

    @classmethod
    def of(cls, restoration: Restoration) -> Single | None:
        """From what it told; None if it told no interval."""
        interval, distance = restoration.interval, restoration.distance
        if interval is None or distance is None:
            return None
        at = distance.round().long().clamp_max(_FARTHEST).flatten()
        count = torch.bincount(at, minlength=_FARTHEST + 1)
        total = interval.new_zeros(_FARTHEST + 1).index_add_(0, at, interval.square().flatten())
        return cls((total / count.clamp_min(1)).cummax(0).values)

    def at(self, distance: Tensor) -> Tensor:
        """Mean square half-width at distances (…) from samples."""
        return self.squared[distance.round().long().clamp_max(_FARTHEST)]

    def times(self, factor: float) -> Single:
        """The same in other units."""
        return Single(self.squared * factor**2)


@dataclass(frozen=True)
class Lately:
    """What changed in a frame, and how far the specimen has moved since, (y, x) in pixels."""

    changes: Changes
    y_px: float = 0.0
    x_px: float = 0.0

    def after(self, drift: Drift) -> Lately:
        """The same a frame later."""
        return replace(self, y_px=self.y_px + drift.y_px, x_px=self.x_px + drift.x_px)

    def moved(self, pixels: Tensor) -> Tensor:
        """Pixels (rows, cols) of that frame where they are by now; 0 where nothing was seen."""
        rows, cols = pixels.shape
        y, x = (max(-side, min(side, round(by))) for side, by in ((rows, self.y_px), (cols, self.x_px)))
        return pixels if y == x == 0 else F.pad(pixels, (x, -x, y, -y))


def changed_lately(lately: tuple[Lately, ...], shape: tuple[int, int]) -> Tensor | None:
    """Where, bool (rows, cols); None if nowhere."""
    found = None
    for each in lately:
        pixels = each.changes.pixels(shape)
        if pixels is not None:
            moved = each.moved(pixels)
            found = moved if found is None else found | moved
    return found


def widened(restoration: Restoration, lately: tuple[Lately, ...], single: Single) -> Restoration:
    """With an interval no narrower, where something changed lately, than what is known there.

    Args:
        lately: the newest last. single: in the restoration's units.
    """
    interval, distance = restoration.interval, restoration.distance
    if interval is None or distance is None or not lately:
        return restoration
    shape = (interval.shape[0], interval.shape[1])
    where = changed_lately(lately, shape)
    if where is None:
        return restoration
    newest = lately[-1]
    part = ((distance + 0.5) / (0.5 * newest.changes.across)).clamp_max(1.0)
    unseen = _UNSEEN * newest.moved(newest.changes.contradicted(shape)) * part
    least = (single.at(distance) * _WIDENED**2 + unseen.square()).sqrt()
    return replace(restoration, interval=torch.where(where, torch.maximum(interval, least), interval))


def doubted(restoration: Restoration, changes: Changes) -> Restoration:
    """With an interval no narrower, where this frame's samples denied what is remembered, than what they denied."""
    interval = restoration.interval
    if interval is None or not bool(changes.suspected.any()):
        return restoration
    denied = changes.contradicted((interval.shape[0], interval.shape[1])) * _DENIED
    return replace(restoration, interval=torch.maximum(interval, denied))
