"""From what an instrument read to what the specimen gave: every stage of the model of the readings, in its order.

Readings are judged (which of them to believe), the detector's afterglow is explained away, what wandered along time is
taken off, and the noise that is left is said. What cannot be told is left as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from restore.estimate.baseline import prepare_wandering, wandering
from restore.estimate.neighbours import nearest
from restore.estimate.noise import counted_variance, stated_variance
from restore.estimate.readings import Judged, judge
from restore.estimate.undoing import without_afterglow
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import DetectorChannel
from scancontrol.paths import ScanPath

__all__ = ["SpecimenReadings", "prepare_for_readings", "specimen_readings"]


@dataclass(frozen=True)
class SpecimenReadings:
    """One frame's readings, as a perfect instrument would have given them.

    Attributes:
        judged: the readings.
        geometry: where they were taken, those that are not believed without weight.
        noise_variance: of a reading about the specimen, in the judged values' units squared, where it is known.
        doubt: standard deviation, in judged units, of what was taken off of all of them.
        notices: what to tell of it, a sentence each.
    """

    judged: Judged
    geometry: FrameGeometry
    noise_variance: float | None = None
    doubt: float = 0.0
    notices: tuple[str, ...] = ()


def prepare_for_readings(geometry: FrameGeometry, path: ScanPath) -> None:
    """Find what readings along a path are judged by, which takes as long as to restore some of a large frame."""
    nearest(geometry)
    prepare_wandering(geometry, _time_us(path, path.count))


def _time_us(path: ScanPath, count: int) -> np.ndarray:
    """When each of the first samples was read, from the frame's beginning, (count,)."""
    return np.cumsum(path.dwell_us[:count] + path.move_us[:count])


def specimen_readings(
    samples: np.ndarray,
    geometry: FrameGeometry,
    path: ScanPath,
    detector: DetectorChannel | None = None,
    model: bool = True,
) -> SpecimenReadings:
    """What the specimen gave at the first ``len(samples)`` samples of a path, NaN where a reading was lost.

    Args:
        samples: (n,), of any kind of real number.
        geometry: of these samples, all of them.
        detector: what is stated of it.
        model: without it every reading is believed as it is, and only what is stated is used.

    Raises:
        InvalidInput: complex samples, or fewer than ``MIN_SAMPLES`` that are believed.
    """
    count = len(samples)
    judged = judge(samples, geometry, model)
    doubt, notices = 0.0, judged.notices
    dwell_us, move_us = path.dwell_us[:count], path.move_us[:count]
    planned = geometry
    if not judged.all_used:
        geometry = geometry.weighted(judged.weights)
    stated = None if detector is None else stated_variance(detector, samples, float(dwell_us.mean()))
    if stated is None and model:
        stated = counted_variance(samples, planned)
    noise_variance = None if stated is None else stated / judged.scale**2
    if detector is not None and detector.decay_us > 0:
        afterglow = Afterglow(detector.decay_us, dwell_us, move_us)
        sd_us = detector.decay_sd_us
        longer = Afterglow(detector.decay_us + sd_us, dwell_us, move_us) if sd_us else None
        judged, doubt = without_afterglow(judged, geometry, afterglow, detector.offset_counts, noise_variance, longer)
    # Afterwards, for the path crosses itself where other places glow; and no afterglow changes what is slow.
    if model and (found := wandering(judged, planned, _time_us(path, count))) is not None:
        judged, doubt = found.taken_off(judged), math.hypot(doubt, found.doubt)
        notices = (*found.notices(judged.scale), *notices)
    return SpecimenReadings(judged, geometry, noise_variance, doubt, notices)
