"""The specimen's drift over an acquisition, as the restorer measures it, and paths shifted by what it foretells.

Each restored frame says how far the specimen has moved since the one before, and how well that is known. From these a
constant rate is estimated that may slowly change (a Kalman filter of one number for each axis), and the place of the
specimen in a frame that is not scanned yet is foretold. With compensation, the region of that frame is moved there, and
moves on by the rate while it is scanned, as far as the field of view that was asked for allows: the path is one like
any other, and checked as such. A frame's place is that of its middle, by which it is measured, shifted and bent.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from scancontrol.paths import PathRecipe, expand
from scancontrol.restoration import Provenance

__all__ = ["DriftFollower", "DriftSnapshot"]

_TRACE = 64  # places kept, of the newest frames
_UNSTEADY_PX = 0.1  # by which the rate changes from one frame to the next, standard deviation
_UNKNOWN_PX = 3.0  # standard deviation of a rate of which nothing is known
_LOST_PX = 3.0  # a movement known no better than this says nothing
_FARTHEST = 16  # frames from the last measured one; farther nothing is foretold
_STEP_PX = 0.25  # of a shift: a smaller one is not worth another path
_BEND_STEP_PX = 0.1  # of a bend, likewise
_SURE_PX = 1.0  # a rate known no better bends no path


class DriftSnapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of the drift of the frames that are scanned. Places are (y, x) in pixels from the first frame's."""

    compensated: bool = False  # whether paths are shifted by it
    trace_px: tuple[tuple[float, float], ...] = ()  # where the specimen was, the newest frame last
    rate_px: tuple[float, float] | None = None  # a frame; None while nothing was measured
    rate_sd_px: float | None = None
    shift_px: tuple[float, float] = (0.0, 0.0)  # of the newest path that was made, in the middle of its frame
    bend_px: tuple[float, float] = (0.0, 0.0)  # by which that path moves on from its beginning to its end
    short_px: float = 0.0  # by which the edge of the field held that path back from where the specimen was foretold


class DriftFollower:
    """Of one acquisition. Measured by the restorer's thread, asked by the thread that makes paths.

    Args:
        shape: (rows, cols) of the frames.
        compensates: whether paths are shifted and bent.
        interval_s: from the beginning of one frame to that of the next, at least.
    """

    def __init__(self, shape: tuple[int, int], compensates: bool, interval_s: float = 0.0) -> None:
        self._shape, self._compensates, self._interval_s = shape, compensates, interval_s
        self._lock = threading.Lock()
        self._newest = -1  # frame that was measured last
        self._place = np.zeros(2)  # of the specimen in it, px
        self._rate, self._variance = np.zeros(2), _UNKNOWN_PX**2
        self._measured = False
        self._trace: deque[tuple[float, float]] = deque([(0.0, 0.0)], _TRACE)
        self._shift, self._short_px = (0.0, 0.0), 0.0
        self._bend = (0.0, 0.0)

    def restored(self, frame: int, made_by: Provenance) -> None:
        """A whole frame was restored; frames that come late say nothing."""
        with self._lock:
            if frame <= self._newest:
                return
            gap = frame - self._newest if self._newest >= 0 else 0
            self._newest = frame
            self._variance += _UNSTEADY_PX**2 * gap
            if made_by.drift_px is None or gap == 0:
                return
            sd = made_by.drift_sd_px if made_by.drift_sd_px is not None else 1.0
            if sd > _LOST_PX or made_by.forgotten >= 1:  # another specimen, or a leap: where it goes is not known
                self._rate, self._variance = np.zeros(2), _UNKNOWN_PX**2
                return
            moved, of_rate = np.array(made_by.drift_px), (sd / gap) ** 2 + _UNSTEADY_PX**2
            share = self._variance / (self._variance + of_rate)
            self._rate = self._rate + share * (moved / gap - self._rate)
            self._variance *= 1 - share
            self._place = self._place + moved
            self._measured = True
            self._trace.append((float(self._place[0]), float(self._place[1])))

    def foretold_px(self, frame: int) -> tuple[float, float]:
        """(y, x) from where the specimen was in the first frame to where it will be in ``frame``."""
        with self._lock:
            ahead = min(frame - self._newest, _FARTHEST) if self._newest >= 0 else 0
            y, x = self._place + ahead * self._rate
        return float(y), float(x)

    def shifted(self, recipe: PathRecipe, frame: int) -> PathRecipe:
        """The recipe with its region moved to where the specimen will be, within the field of view."""
        wanted = np.array(self.foretold_px(frame))
        corners = recipe.placement.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), clip=False)
        size = np.array(self._shape, dtype=float)
        lowest, highest = -corners.min(0) * size, (1 - corners.max(0)) * size
        allowed = np.clip(wanted, np.minimum(lowest, 0.0), np.maximum(highest, 0.0))
        shift = np.trunc(allowed / _STEP_PX) * _STEP_PX  # towards none: never past the edge
        with self._lock:
            self._shift = (float(shift[0]), float(shift[1]))
            self._short_px = float(math.hypot(*(wanted - allowed)))
        if not shift.any():
            return recipe
        region, (down, right) = recipe.region, shift / size
        y, x = max(0.0, region.y + float(down)), max(0.0, region.x + float(right))
        moved = msgspec.structs.replace(region, y=y, x=x)
        return msgspec.structs.replace(recipe, region=moved)

    def bent(self, recipe: PathRecipe, frame: int) -> PathRecipe:
        """The recipe with its region moving on by the rate while it is scanned, within the field of view.

        Frames follow each other at the interval that was asked for, or at once.
        """
        with self._lock:
            told = self._measured and self._variance < _SURE_PX**2 and frame - self._newest <= _FARTHEST
            rate = self._rate.copy() if told else np.zeros(2)
        bend = np.zeros(2)
        if (np.abs(rate) >= _BEND_STEP_PX).any():
            scanned_s = expand(recipe).duration_us * 1e-6
            share = scanned_s / max(self._interval_s, scanned_s)  # of the time from one frame to the next
            most = np.floor(2 * recipe.placement.room * np.array(self._shape) / _BEND_STEP_PX)
            steps = np.clip(np.rint(rate * share / _BEND_STEP_PX), -most, most)
            bend = steps * _BEND_STEP_PX + 0.0  # -0 would be another path
        found = (round(float(bend[0]), 6), round(float(bend[1]), 6))
        with self._lock:
            self._bend = found
        return msgspec.structs.replace(recipe, bend_px=found) if any(found) else recipe

    def recipes(
        self, frames: int, planned: Callable[[int], PathRecipe], recorded: Callable[[int], PathRecipe | None]
    ) -> Iterator[PathRecipe]:
        """Of every frame in turn, each made when it is asked for.

        Args:
            planned: the recipe of a frame where nothing drifts.
            recorded: the recipe of a frame that was begun by an earlier process, which stays as it was.
        """
        for frame in range(frames):
            before = recorded(frame)
            if before is not None:
                yield before
            elif self._compensates:
                yield self.bent(self.shifted(planned(frame), frame), frame)
            else:
                yield planned(frame)

    def snapshot(self) -> DriftSnapshot:
        """What is known now."""
        with self._lock:
            rate = (float(self._rate[0]), float(self._rate[1])) if self._measured else None
            return DriftSnapshot(
                compensated=self._compensates,
                trace_px=tuple(self._trace),
                rate_px=rate,
                rate_sd_px=math.sqrt(self._variance) if self._measured else None,
                shift_px=self._shift,
                bend_px=self._bend,
                short_px=self._short_px,
            )
