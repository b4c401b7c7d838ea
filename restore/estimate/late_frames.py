"""How late the readings of whole frames come, along one path or along many, and an instrument that knows of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import torch

from restore.estimate.delay import DelayWatch
from restore.estimate.delay_over_frames import FramesDelay
from restore.estimate.disagreement import Delay
from restore.estimate.instrument import specimen_readings
from restore.estimate.readings import Judged, judge
from restore.gridding import FrameGeometry
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.paths import ScanPath, achieved_positions

__all__ = ["delay_of", "delay_over", "knowing", "placed"]


def placed(path: ScanPath, coil: CoilModel | None = None, device: torch.device | str = "cpu") -> FrameGeometry:
    """The geometry of a path, its samples where a model of the coils says that the beam was."""
    achieved = None
    if coil is not None and (coil.time_constant_us != 0 or coil.delay_us != 0):
        achieved = achieved_positions(path, coil)
    return FrameGeometry.from_path(path, device, achieved)


def delay_of(
    path: ScanPath, coil: CoilModel | None, frames: Sequence[np.ndarray], detector: DetectorChannel | None = None
) -> Delay | None:
    """The delay that whole frames of one path show beyond what ``coil`` and ``detector`` know.

    Shorter frames are passed over.
    """
    geometry = placed(path, coil)
    watch = DelayWatch()
    for samples in frames:
        if len(samples) == path.count:
            judged = _judged(samples, geometry, path, detector)
            watch.add(judged.values, judged.weights, geometry)
    return watch.found()


def delay_over(
    paths: Sequence[ScanPath],
    coil: CoilModel | None,
    frames: Sequence[np.ndarray],
    detector: DetectorChannel | None = None,
) -> Delay | None:
    """The same of frames that each have a path of their own, of what they contradict each other."""
    watch, known = FramesDelay(), dict[str, FrameGeometry]()
    for number, (path, samples) in enumerate(zip(paths, frames, strict=True)):
        if len(samples) == path.count:
            if path.path_id not in known:
                known[path.path_id] = placed(path, coil)
            geometry = known[path.path_id]
            judged = _judged(samples, geometry, path, detector)
            watch.look(number, judged.values, judged.weights, geometry)
    return watch.found


def knowing(
    delay: Delay, coil: CoilModel, detector: DetectorChannel | None, dwell_us: float
) -> tuple[CoilModel, DetectorChannel | None]:
    """Coils and detector with a delay that was found, or with its light's decay if it was that."""
    if delay.decay_samples and detector is not None:
        decay_us = delay.decay_samples * dwell_us  # to what is stated already: by how much light is late adds up
        return coil, msgspec.structs.replace(detector, decay_us=detector.decay_us + decay_us)
    return msgspec.structs.replace(coil, delay_us=coil.delay_us + delay.samples * dwell_us), detector


def _judged(samples: np.ndarray, geometry: FrameGeometry, path: ScanPath, detector: DetectorChannel | None) -> Judged:
    if detector is None or detector.decay_us == 0:
        return judge(samples, geometry)
    return specimen_readings(samples, geometry, path, detector).judged
