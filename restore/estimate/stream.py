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
from torch.nn import functional as F

from restore.estimate.drift import Drift, Known, measure_drift
from restore.gridding import FrameGeometry
from restore.restorer import Restoration
from scancontrol.restoration import Provenance

__all__ = ["Recalled", "Stream"]

_DEVIATIONS = 1.645  # of the half-width of a 90 % interval
_UNFORETOLD_PX = 2.5  # standard deviation of a movement of which nothing is known
_UNSTEADY_PX = 0.3  # by which the movement changes from one frame to the next
_SHARED = 12.0  # samples that share an error of the estimate, at least: neighbouring rows of a grid do too
_LOST_PX = 3.0  # a movement known no better than this places no sample
_CHANGED = 6.0  # mean square deviation of a cell's samples from which on it has changed
_CHANGED_BESIDE = 3.0  # and of a neighbour of such a cell
_SPREAD = 2  # cells, as far as neighbours are looked at
_CLIPPED = 16.0  # squared deviation that one sample can say at most: an outlier is no change
_FEWEST = 3  # samples of a cell that can say so
_ALL_CHANGED = 0.4  # share of the cells from which on the frame is another one
_OLD = 0.5  # weight of a sample of the frame before against one of this frame, on the same pixel


@dataclass(frozen=True)
class _Frame:
    """A frame's samples: values (n,), dwell (n,), and where they are in the newest frame, (y, x) in pixels (n, 2)."""

    number: int
    values: Tensor
    dwell: Tensor
    places: Tensor


@dataclass(frozen=True)
class Recalled:
    """A frame with what is remembered of it.

    Attributes:
        values: its samples and older ones, (n,). geometry: where they are.
        frames: how many frames they are of. age: how many frames ago the oldest of them was.
        drift: how far the specimen has moved since the newest frame that is remembered; None if it was not measured.
        forgotten: share of the frame in which nothing older was used because it has changed.
        older: the remembered frames, oldest first.
    """

    number: int
    values: Tensor
    geometry: FrameGeometry
    frames: int = 1
    age: int = 0
    drift: Drift | None = None
    forgotten: float = 0.0
    older: tuple[_Frame, ...] = ()

    def told_in(self, made_by: Provenance) -> Provenance:
        """A provenance that says what was remembered."""
        drift = self.drift
        return msgspec.structs.replace(
            made_by,
            samples_used=self.geometry.fresh,
            frames=self.frames,
            age_frames=self.age,
            drift_px=None if drift is None else (drift.y_px, drift.x_px),
            forgotten=self.forgotten,
        )


class Stream:
    """The memory of one stream of frames.

    Args:
        frames: how many a picture is made from at most, the new one included.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._known: Known | None = None
        self._kept: tuple[_Frame, ...] = ()  # oldest first
        self._shape: tuple[int, int] | None = None
        self._newest = -1
        self._centre, self._scale = 0.0, 1.0  # of the units in which it is kept
        self._speed = (0.0, 0.0)  # px a frame
        self._speed_sd = _UNFORETOLD_PX

    def recall(
        self, number: int, values: Tensor, geometry: FrameGeometry, centre: float = 0.0, scale: float = 1.0
    ) -> Recalled:
        """The samples (n,) of frame ``number`` along ``geometry``, with those of the frames before it.

        A frame that is not newer than the newest one kept is taken alone. A reading is ``centre + scale · value``: what
        is remembered is brought into the new frame's units.
        """
        self._into_units(centre, scale)
        alone = Recalled(number, values, geometry)
        known = self._known
        if known is None or geometry.shape != self._shape or number <= self._newest:
            return alone
        drift = self._measure(number, values, geometry, known)
        if drift.sd_px > _LOST_PX:
            return replace(alone, drift=drift, forgotten=1.0)
        moved = values.new_tensor((drift.y_px, drift.x_px))
        cell, changed = self._changed(values, geometry, known, moved)
        share = float(changed.float().mean())
        if share > _ALL_CHANGED:
            return replace(alone, drift=drift, forgotten=1.0)
        older = [self._left(frame, moved, cell, changed) for frame in self._kept if number - frame.number < self.frames]
        older = [frame for frame in older if len(frame.values)]
        if not older:
            return replace(alone, drift=drift, forgotten=share)
        dwell = torch.cat([frame.dwell * _OLD ** (number - frame.number) for frame in older])
        return Recalled(
            number,
            torch.cat((values, *(frame.values for frame in older))),
            geometry.remembering(torch.cat([frame.places for frame in older]), dwell),
            frames=1 + len(older),
            age=number - older[0].number,
            drift=drift,
            forgotten=share,
            older=tuple(older),
        )

    def _into_units(self, centre: float, scale: float) -> None:
        """Bring what is remembered into the units in which a reading is ``centre + scale · value``."""
        factor, shift = self._scale / scale, (self._centre - centre) / scale
        self._centre, self._scale = centre, scale
        if factor == 1 and shift == 0:
            return
        self._kept = tuple(replace(frame, values=frame.values * factor + shift) for frame in self._kept)
        if self._known is not None:
            self._known = Known(self._known.estimate * factor + shift, self._known.deviation * factor)

    def keep(self, recalled: Recalled, restoration: Restoration) -> None:
        """Remember a complete frame and what was made of it; one that is not newer than the newest is not kept."""
        if recalled.number <= self._newest:
            return
        geometry = recalled.geometry
        fresh = slice(0, geometry.fresh)
        inside = geometry.dwell[fresh] > 0
        values = recalled.values[fresh]
        frame = _Frame(recalled.number, values[inside], geometry.dwell[fresh][inside], geometry.places[fresh][inside])
        self._kept = (*recalled.older, frame)[-(self.frames - 1) :] if self.frames > 1 else ()
        self._foretell(recalled)
        self._newest, self._shape = recalled.number, geometry.shape
        spread = float(values.std()) if len(values) > 1 else 0.0
        least = max(1e-3 * spread, 1e-12)
        if restoration.interval is not None:
            deviation = (restoration.interval / _DEVIATIONS).clamp_min(least)
        else:
            deviation = torch.full_like(restoration.estimate, max(spread, least))
        self._known = Known(restoration.estimate, deviation)

    def _foretell(self, recalled: Recalled) -> None:
        drift, gap = recalled.drift, recalled.number - self._newest
        if drift is None or drift.sd_px > _LOST_PX:
            self._speed, self._speed_sd = (0.0, 0.0), _UNFORETOLD_PX
            return
        self._speed = (drift.y_px / gap, drift.x_px / gap)
        self._speed_sd = math.hypot(drift.sd_px / gap, _UNSTEADY_PX)

    def _measure(self, number: int, values: Tensor, geometry: FrameGeometry, known: Known) -> Drift:
        gap = number - self._newest
        foretold = (self._speed[0] * gap, self._speed[1] * gap)
        # An error of the estimate reaches as far as the gaps of the path: so many samples of a drawn one lie in it.
        shared = max(_SHARED, 1 / max(geometry.touched, 1e-4)) if geometry.is_drawn else _SHARED
        deviation = min(self._speed_sd * gap, 2 * _UNFORETOLD_PX)
        return measure_drift(values, geometry.places, known, foretold, deviation, shared)

    @staticmethod
    def _changed(values: Tensor, geometry: FrameGeometry, known: Known, moved: Tensor) -> tuple[int, Tensor]:
        """Side of a cell in pixels, and the cells of the new frame whose samples contradict the last estimate."""
        rows, cols = geometry.shape
        cell = max(4, round(2 / math.sqrt(max(geometry.touched, 1e-4))))
        grid = (-(-rows // cell), -(-cols // cell))
        before = (geometry.places - moved).round().long()
        inside = ((before >= 0) & (before < before.new_tensor((rows, cols)))).all(1) & (geometry.dwell > 0)
        flat = before[inside, 0] * cols + before[inside, 1]
        off = (values[inside] - known.estimate.flatten()[flat]) / known.deviation.flatten()[flat]
        at = geometry.index[inside]
        place = (at // cols // cell) * grid[1] + at % cols // cell
        count = off.new_zeros(grid[0] * grid[1]).index_add_(0, place, torch.ones_like(off))
        total = torch.zeros_like(count).index_add_(0, place, off.square().clamp_max(_CLIPPED))
        count, total = count.view(grid), total.view(grid)
        changed = (count >= _FEWEST) & (total > _CHANGED * count)
        doubtful = total >= _CHANGED_BESIDE * count  # also where no sample fell
        for _ in range(_SPREAD):
            changed = changed | (doubtful & (F.max_pool2d(changed.float()[None, None], 3, 1, 1)[0, 0] > 0))
        return cell, changed

    def _left(self, frame: _Frame, moved: Tensor, cell: int, changed: Tensor) -> _Frame:
        """What is left of an older frame inside the field and where nothing has changed, moved on."""
        places = frame.places + moved
        at = (places + 0.5).floor().long()
        inside = ((at >= 0) & (at < at.new_tensor(self._shape))).all(1)
        at, places = at[inside], places[inside]
        still = ~changed[at[:, 0] // cell, at[:, 1] // cell]
        return _Frame(frame.number, frame.values[inside][still], frame.dwell[inside][still], places[still])
