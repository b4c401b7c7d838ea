"""When the model of the readings does not explain them, the frame says so, and what it most likely is.

Readings that were withheld fall outside the interval that was promised for them more often than they should; or the
readings contradict each other in a way that only one cause has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore.estimate.baseline import is_crossed
from restore.estimate.delay import DelayWatch
from restore.estimate.delay_over_frames import FramesDelay
from restore.estimate.disagreement import Delay
from restore.estimate.fading import FadingWatch
from restore.estimate.readings import Judged
from restore.estimate.shading import Shading, shading
from restore.gridding import FrameGeometry

__all__ = ["MisfitWatch"]

_MANY_OUTLIERS = 0.01  # of the readings


class MisfitWatch:
    """Watches the frames of one stream for what the model does not explain; what was corrected is no more of it.

    Attributes:
        delay: as the frames' paths tell it by themselves, or else as the frames do together; None if they do not.
    """

    def __init__(self) -> None:
        self._shading = Shading()
        self._delays, self._fading, self._over_frames = DelayWatch(), FadingWatch(), FramesDelay()
        self.delay: Delay | None = None
        self._of_paths: Delay | None = None
        self._fades = False

    def look(self, judged: Judged, geometry: FrameGeometry, time_us: NDArray[np.float64], kind: str = "") -> None:
        """Take in one more whole frame.

        Args:
            geometry: of its path.
            time_us: of each of its samples, rising, (n,).
            kind: of its path; of each kind the first frames are looked at more closely.
        """
        self._of_paths = self._delays.look(judged, geometry, kind)
        self._fades = self._fading.look(judged, geometry)
        self.delay = self._of_paths or self._over_frames.found
        self._shading = shading(judged, geometry, time_us, is_crossed(geometry, time_us))

    def compare(
        self, number: int, judged: Judged, geometry: FrameGeometry, moved_px: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Hold a whole frame against those before it, see :meth:`FramesDelay.look`."""
        over_frames = self._over_frames.look(number, judged.values, judged.weights, geometry, moved_px)
        self.delay = self._of_paths or over_frames

    def cause(self, judged: Judged, missed: float | None, noise_is_known: bool) -> str:
        """What this frame's readings most likely suffer from, in words; empty where all is explained.

        Args:
            missed: share of withheld readings outside their promised interval, if that is more than by chance.
            noise_is_known: whether the detector states it.
        """
        if self._fades or (self.delay is not None and self.delay.decay_samples):
            return "afterglow"
        if self.delay is not None:
            return "delay"
        if missed is not None and judged.outliers > _MANY_OUTLIERS * len(judged.values):
            return "outliers"
        if missed is None or self._shading.cause:
            return self._shading.cause
        return "baseline or mains" if noise_is_known else "noise"

    def notices(self, cause: str, missed: float | None) -> tuple[str, ...]:
        """What to tell of it, a sentence each."""
        found = []
        if self._fades and not (self.delay is not None and self.delay.decay_samples):
            lingers = "readings rise faster than they fall: the detector's light lingers"
            found.append(f"{lingers} (afterglow); calibrate, or state its decay_us")
        if self.delay is not None:
            found.append(self.delay.notice)
        if missed is not None:
            of_hundred = f"{100 * missed:.0f} of 100 withheld readings lie outside their interval where 10 should"
            found.append(f"{of_hundred}: it is widened; likeliest cause: {cause}")
        return (*found, *self._shading.notices)
