"""What is kept from frame to frame of one field: the last frames' samples, where they are now, and the last estimate.

A new frame is restored from its own samples and those of the frames before it, moved by the drift that was measured
since. Where the new samples contradict the last estimate beyond what was told of it, what is older is forgotten; if the
frame as a whole contradicts it, all of it is. The memory is bounded by its number of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec
import torch
from torch import Tensor

from restore.estimate.changes import Changes, find_changes
from restore.estimate.drift import Drift, Known, measure_drift
from restore.estimate.newly import Lately, Single, changed_lately, doubted, widened
from restore.estimate.way import Way
from restore.gridding import FrameGeometry
from restore.restorer import Before, Movement, Restoration
from scancontrol.restoration import Provenance

__all__ = ["Recalled", "Stream"]

_DEVIATIONS = 1.645  # of the half-width of a 90 % interval
_LOST_PX = 3.0  # a movement known no better than this places no sample
_BEGUN_ANEW = 0.05  # share of the field that has changed from which on nothing else is taken over either
_OLD = 0.5  # weight of a sample of the frame before against one of this frame, on the same pixel


@dataclass(frozen=True)
class _Samples:
    """Of frames by ``number`` (n,): values, dwell (n,), and where they were in those, (y, x) in pixels (n, 2)."""

    number: Tensor
    values: Tensor
    dwell: Tensor
    places: Tensor

    def where(self, chosen: Tensor) -> _Samples:
        """Those of some indices."""
        return _Samples(self.number[chosen], self.values[chosen], self.dwell[chosen], self.places[chosen])

    def and_then(self, later: _Samples) -> _Samples:
        """These and later ones."""
        return _Samples(
            torch.cat((self.number, later.number)),
            torch.cat((self.values, later.values)),
            torch.cat((self.dwell, later.dwell)),
            torch.cat((self.places, later.places)),
        )


@dataclass(frozen=True)
class _Carried:
    """What a restoration carried: of how many frames it was, and in which units."""

    what: object
    frames: int
    centre: float
    scale: float


@dataclass(frozen=True)
class Recalled:
    """A frame with what is remembered of it.

    Attributes:
        values: its samples and older ones, (n,). geometry: where they are.
        frames: how many frames they are of. age: how many frames ago the oldest of them was.
        drift: how far the specimen has moved since the newest frame that is remembered; None if it was not measured.
        forgotten: share of the frame in which nothing older was used because it has changed.
        older: the remembered samples. way: where the specimen was in each frame; None: it is begun anew.
        before: what the restoration of the frame before carried, if this one may begin with it.
        excess: what was cut off this frame's samples to bound them, (n,); None where nothing was.
        later: how many of ``frames`` were scanned after this one.
        lately: what has changed within the frames that are remembered, the newest last. single: what a frame that was
            restored alone knew.
    """

    number: int
    values: Tensor
    geometry: FrameGeometry
    frames: int = 1
    age: int = 0
    drift: Drift | None = None
    forgotten: float = 0.0
    older: _Samples | None = None
    way: Way | None = None
    before: Before | None = None
    excess: Tensor | None = None
    later: int = 0
    lately: tuple[Lately, ...] = ()
    single: Single | None = None

    def widened(self, restoration: Restoration) -> Restoration:
        """With an interval that is no narrower than what is known where the specimen changed lately."""
        return restoration if self.single is None else widened(restoration, self.lately, self.single)

    def told(self, restoration: Restoration) -> Restoration:
        """What is told of it: also no narrower where this frame's samples deny what is remembered."""
        found = self.widened(restoration)
        return doubted(found, self.lately[-1].changes) if self.lately else found

    def told_in(self, made_by: Provenance) -> Provenance:
        """A provenance that says what was remembered."""
        drift = self.drift
        return msgspec.structs.replace(
            made_by,
            samples_used=self.geometry.fresh,
            frames=self.frames,
            age_frames=self.age,
            later_frames=self.later,
            drift_px=None if drift is None else (drift.y_px, drift.x_px),
            drift_sd_px=None if drift is None else drift.sd_px,
            forgotten=self.forgotten,
        )

    def and_later(self, reverse: Recalled, own: FrameGeometry) -> Recalled:
        """This with what ``reverse``, of a stream of frames in reverse, recalled beside the same samples on ``own``."""
        if reverse.older is None:
            return self
        both = (self.geometry, reverse.geometry)
        return replace(
            self,
            values=torch.cat((self.values, reverse.values[own.count :])),
            geometry=own.remembering(
                torch.cat([each.places[own.count :] for each in both]),
                torch.cat([each.dwell[own.count :] for each in both]),
            ),
            frames=self.frames + reverse.frames - 1,
            later=reverse.frames - 1,
            before=None,
        )


class Stream:
    """The memory of one stream of frames.

    Args:
        frames: how many a picture is made from at most, the new one included.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._known: Known | None = None
        self._kept: _Samples | None = None
        self._carried: _Carried | None = None
        self._shape: tuple[int, int] | None = None
        self._newest = -1
        self._last: Recalled | None = None  # what that one was restored from
        self._centre, self._scale = 0.0, 1.0  # of the units in which it is kept
        self._way: Way | None = None
        self._lately: tuple[Lately, ...] = ()
        self._single: Single | None = None

    @property
    def last(self) -> Recalled | None:
        """What the newest frame that is kept was restored from; None before the first."""
        return self._last

    def recall(
        self,
        number: int,
        values: Tensor,
        geometry: FrameGeometry,
        centre: float = 0.0,
        scale: float = 1.0,
        excess: Tensor | None = None,
    ) -> Recalled:
        """The samples (n,) of frame ``number`` along ``geometry``, with those of the frames before it.

        What was cut off the samples to bound them, ``excess`` (n,), is remembered with them.
        A frame that is not newer than the newest one kept is taken alone. A reading is ``centre + scale · value``: what
        is remembered is brought into the new frame's units.
        """
        self._into_units(centre, scale)
        alone = Recalled(number, values, geometry, excess=excess)
        last, known = self._last, self._known
        if last is not None and (number, geometry.count) == (last.number, last.geometry.fresh):
            return replace(last, before=None)  # looked at again
        if known is None or geometry.shape != self._shape or number <= self._newest:
            return alone
        moved = self._measure(number, values, geometry, known)
        if not math.isfinite(moved.sd_px):
            return replace(alone, drift=moved, forgotten=1.0)
        until = self._way or Way.begun(self._newest)
        way = until.then(number, moved, self.frames)
        drift = way.step_from(until, moved)
        full = max(
            0, len(self._lately) + 2 - self.frames
        )  # of what changed earlier as many frames were seen as are kept
        lately = tuple(each.after(moved) for each in self._lately[full:])
        changes = find_changes(values, geometry, known, moved, changed_lately(lately, geometry.shape))
        if changes.everything or drift.sd_px > _LOST_PX:
            return replace(alone, drift=drift, forgotten=1.0)
        left = self._left(way, changes)
        if left is None:
            return replace(alone, drift=drift, forgotten=changes.share)
        older, where = left
        ranks = len(way.numbers) - 1 - torch.searchsorted(older.number.new_tensor(way.numbers), older.number)
        weights = older.dwell.new_tensor([_OLD**rank for rank in range(len(way.numbers))])
        frames = 1 + int((torch.bincount(ranks) > 0).sum())
        return Recalled(
            number,
            torch.cat((values, _at_centres(older.values, where, known, moved.moved(values)))),
            geometry.remembering(where, older.dwell * weights[ranks]),
            frames=frames,
            age=number - int(older.number.min()),
            drift=drift,
            forgotten=changes.share,
            older=older,
            way=way,
            before=self._before(frames, moved, changes),
            excess=excess,
            lately=(*lately, Lately(changes)),
            single=self._single,
        )

    def _before(self, frames: int, moved: Drift, changes: Changes) -> Before | None:
        """What was carried, unless more is known now than it was made of, or too much is different."""
        carried = self._carried
        if carried is None or self._shape is None or frames > carried.frames or changes.share > _BEGUN_ANEW:
            return None
        gain, shift = carried.scale / self._scale, (carried.centre - self._centre) / self._scale
        return Before(carried.what, Movement(moved.y_px, moved.x_px, gain, shift), changes.pixels(self._shape))

    def _into_units(self, centre: float, scale: float) -> None:
        """Bring what is remembered into the units in which a reading is ``centre + scale · value``."""
        factor, shift = self._scale / scale, (self._centre - centre) / scale
        self._centre, self._scale = centre, scale
        if factor == 1 and shift == 0:
            return
        if self._kept is not None:
            self._kept = replace(self._kept, values=self._kept.values * factor + shift)
        if self._known is not None:
            known = self._known
            self._known = Known(known.estimate * factor + shift, known.deviation * factor, known.distance)
        if self._single is not None:
            self._single = self._single.times(factor)

    def keep(self, recalled: Recalled, restoration: Restoration) -> None:
        """Remember a complete frame and what was made of it, as it was restored.

        One that is not newer than the newest is not kept.
        """
        if recalled.number <= self._newest:
            return
        restoration = recalled.widened(restoration)  # a place that is doubted is looked at again as surely as before
        geometry = recalled.geometry
        fresh = slice(0, geometry.fresh)
        dwell, values = geometry.dwell[fresh], recalled.values[fresh]
        if recalled.excess is not None:
            values = values + recalled.excess.to(values)
        number = torch.full_like(dwell, recalled.number, dtype=torch.long)
        new = _Samples(number, values, dwell, geometry.places[fresh]).where(dwell.nonzero()[:, 0])
        self._kept = None if self.frames == 1 else recalled.older.and_then(new) if recalled.older is not None else new
        carried = restoration.carried
        self._carried = None if carried is None else _Carried(carried, recalled.frames, self._centre, self._scale)
        self._way = recalled.way or Way.begun(recalled.number)
        self._lately = recalled.lately
        if recalled.older is None:
            self._single = Single.of(restoration)
        self._newest, self._shape, self._last = recalled.number, geometry.shape, recalled
        spread = float(values.std()) if len(values) > 1 else 0.0
        least = max(1e-3 * spread, 1e-12)
        if restoration.interval is not None:
            deviation = (restoration.interval / _DEVIATIONS).clamp_min(least)
        else:
            deviation = torch.full_like(restoration.estimate, max(spread, least))
        self._known = Known(restoration.estimate, deviation, restoration.distance)

    def _measure(self, number: int, values: Tensor, geometry: FrameGeometry, known: Known) -> Drift:
        """How far the last estimate has moved."""
        before = self._way or Way.begun(self._newest)
        return measure_drift(values, geometry.places, known, before.foretold(number))

    def _left(self, way: Way, changes: Changes) -> tuple[_Samples, Tensor] | None:
        """What is left of the way's older frames, in the field and where nothing has changed; its places, (n, 2)."""
        kept, shape, first = self._kept, self._shape, way.numbers[0]
        if kept is None or shape is None:
            return None
        if int(kept.number[0]) < first:  # they rise
            kept = kept.where((kept.number >= first).nonzero()[:, 0])
        where = kept.places + _offsets(way, kept)
        at = (where + 0.5).floor().long()
        chosen = ~changes.at(at)
        for place, side in zip(at.unbind(1), shape, strict=True):  # a mask of pairs takes ten times as long
            chosen &= (place >= 0) & (place < side)
        left = chosen.nonzero()[:, 0]
        return (kept.where(left), where[left]) if len(left) else None


def _offsets(way: Way, samples: _Samples) -> Tensor:
    """(y, x) from where samples (n,) were in their frames to where they are in the newest, (n, 2)."""
    first = way.numbers[0]
    table = samples.places.new_zeros(way.numbers[-1] - first + 1, 2)
    table[[number - first for number in way.numbers]] = table.new_tensor(way.offsets())
    return table[(samples.number - first).clamp_min(0)]  # of frames that are forgotten, anything


def _at_centres(values: Tensor, places: Tensor, known: Known, moved: Tensor) -> Tensor:
    """Values of older samples as they would be at their pixels' centres (n,), by the slopes of the last estimate.

    A sample counts as one of its pixel's centre; of a specimen that moves by fractions of a pixel none is that.
    """
    down, right = known.at(places - moved, slice(1, 3))
    off = places - (places + 0.5).floor()
    return values - down * off[:, 0] - right * off[:, 1]
