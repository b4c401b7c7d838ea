"""The resident engine: paths prepared once, then samples in, estimate and interval out.

``Engine`` is what the restorer's process and every script call. It keeps one geometry per path on its device,
warms up whatever restores on it, and withholds a few samples of every frame, so that each restoration carries an
error that was measured. What restores is a ``Restorer``: a classical fill here, the generator through the same
protocol.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import torch
from torch import Tensor

from restore.estimate.delay import DelayFinder
from restore.estimate.delay_over_frames import FramesDelay
from restore.estimate.disagreement import Delay
from restore.estimate.instrument import SpecimenReadings, specimen_readings
from restore.estimate.misfit import MisfitWatch
from restore.estimate.readings import BOUND, judge
from restore.estimate.stream import Recalled, Stream
from restore.fills.push_pull import push_pull
from restore.gridding import MIN_SAMPLES, FrameGeometry
from restore.restorer import Before, Restoration, Restorer, trial_samples
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath, achieved_positions
from scancontrol.recent import Recent

__all__ = ["MEMORY_LIMIT", "Engine", "PreparedPath"]

MEMORY_LIMIT = 64  # frames; their samples are kept
_STREAMS_KEPT = 4
_NOTICES = 8  # of a frame that are told
_KNOWN_PX = 3.0  # a drift known no better is taken for none
_Z90 = 1.645  # half-width of a normal distribution's 90 %, in standard deviations


@dataclass(frozen=True)
class PreparedPath:
    """A registered path on the engine's device."""

    path: ScanPath
    geometry: FrameGeometry
    beam_us: float
    method: str  # what restores frames of this path
    restore_ms: float  # what one frame took, warm
    coil: CoilModel | None
    detector: DetectorChannel | None
    misfit: MisfitWatch
    _prefixes: Recent[int, FrameGeometry] = field(default_factory=lambda: Recent(16), compare=False, repr=False)

    def first(self, count: int, restorer: Restorer) -> FrameGeometry:
        """The geometry of the first ``count`` samples, prepared; the few last asked for are kept."""
        if count == self.geometry.count:
            return self.geometry

        def prepared() -> FrameGeometry:
            prefix = self.geometry.prefix(count)
            restorer.prepare(prefix, self.beam_us)
            return prefix

        return self._prefixes.made(count, prepared)


class Engine:
    """Restores frames along registered paths on one device. Not thread-safe: one thread owns it.

    Args:
        restorer: what restores.
        device: on which.
        paths_limit: how many paths stay registered.
        memory: how many frames of a stream a picture is made from at most; 1: each from its own samples alone.
        model: without it every reading is believed as it is, for comparison.

    Raises:
        InvalidInput: ``memory`` is outside 1 to ``MEMORY_LIMIT``.
    """

    def __init__(
        self,
        restorer: Restorer,
        device: torch.device | str = "cpu",
        paths_limit: int = 64,
        memory: int = 1,
        model: bool = True,
    ) -> None:
        if not 1 <= memory <= MEMORY_LIMIT:
            raise InvalidInput("memory", memory, f"is outside 1 to {MEMORY_LIMIT} frames", "give 1 for none")
        self.restorer = restorer
        self.model = model
        self.device = torch.device(device)
        self.memory = memory
        self._warm: dict[tuple[tuple[int, int], int], tuple[str, float]] = {}  # what restores, and how long it takes
        self._streams: Recent[tuple[str, float], Stream] = Recent(_STREAMS_KEPT)
        self._delays: Recent[tuple[str, float, CoilModel | None], FramesDelay] = Recent(_STREAMS_KEPT)
        self._paths: Recent[str, PreparedPath] = Recent(paths_limit)

    def __contains__(self, path_id: str) -> bool:
        return path_id in self._paths

    @torch.inference_mode()
    def register(
        self, path: ScanPath, coil: CoilModel | None = None, detector: DetectorChannel | None = None
    ) -> PreparedPath:
        """Prepare a path and warm the restorer up on it; the least recently used path may have to go.

        With ``coil`` samples are placed where it says that the beam was; with ``detector`` they have the noise and the
        afterglow that it states.

        Raises:
            InvalidInput: the path has too few samples inside the field, or the frame is too small.
        """
        geometry = _placed(path, coil, self.device)
        self.restorer.prepare(geometry, path.duration_us)
        alike = (geometry.shape, round(4 * math.log2(max(path.duration_us, 1.0))))
        if alike not in self._warm:  # paths that differ in their seed or their angle are warm with the first of them
            self._warm[alike] = self._warm_up(geometry)
        watch = MisfitWatch(geometry)
        prepared = PreparedPath(path, geometry, path.duration_us, *self._warm[alike], coil, detector, watch)
        self._paths[path.path_id] = prepared
        return prepared

    def _warm_up(self, geometry: FrameGeometry) -> tuple[str, float]:
        trial = trial_samples(geometry)
        self.restorer.restore(trial, geometry)
        started = time.perf_counter()
        method = self.restorer.restore(trial, geometry).made_by.method
        return method, 1e3 * (time.perf_counter() - started)

    def path(self, path_id: str) -> PreparedPath:
        """A registered path.

        Raises:
            InvalidInput: it is not (or no longer) known.
        """
        if path_id not in self._paths:
            raise InvalidInput("path_id", path_id, "is not registered", "register its recipe first")
        return self._paths[path_id]

    def delay_of(self, path: ScanPath, coil: CoilModel | None, frames: Sequence[np.ndarray]) -> Delay | None:
        """The delay that whole frames of a path show beyond what ``coil`` knows; shorter ones are passed over."""
        geometry = _placed(path, coil, torch.device("cpu"))
        finder = DelayFinder(geometry)
        for samples in frames:
            if len(samples) == path.count:
                judged = judge(samples, geometry)
                finder.add(judged.values, judged.weights)
        return finder.found()

    def delay_over(
        self, paths: Sequence[ScanPath], coil: CoilModel | None, frames: Sequence[np.ndarray]
    ) -> Delay | None:
        """The delay that whole frames show together, each along its path; shorter ones are passed over."""
        watch, known = FramesDelay(), dict[str, FrameGeometry]()
        for number, (path, samples) in enumerate(zip(paths, frames, strict=True)):
            if len(samples) == path.count:
                if path.path_id not in known:
                    known[path.path_id] = _placed(path, coil, torch.device("cpu"))
                geometry = known[path.path_id]
                judged = judge(samples, geometry)
                watch.look(number, judged.values, judged.weights, geometry)
        return watch.found

    @torch.inference_mode()
    def restore(
        self,
        samples: np.ndarray,
        path_id: str,
        sound: np.ndarray | None = None,
        *,
        stream: str | None = None,
        frame: int = 0,
        complete: bool = True,
        lattice: bool = True,
        reverse: Recalled | None = None,
    ) -> Restoration:
        """Restore from the first ``len(samples)`` samples of a path; the result's images are on the processor.

        Args:
            samples: (n,), of any kind of real number.
            path_id: of a registered path.
            sound: bool (n,), which of them are to be used; those left out are as if never measured.
            stream: whose frames before this one are remembered with it; None: the frame is restored alone.
            frame: its number in the stream.
            complete: false if more samples of it are to come; it is then restored with what is remembered, and is
                not itself remembered.
            lattice: whether one may be used.
            reverse: what :meth:`recalled` told of this frame in a stream of later frames, the newest first; the picture
                is made from them, too. What is remembered of the stream is as without it.

        Raises:
            InvalidInput: unknown path, too many or fewer than ``MIN_SAMPLES`` samples, or as few that are believed;
                complex samples.
        """
        prepared = self.path(path_id)
        count = len(samples)
        if not MIN_SAMPLES <= count <= prepared.geometry.count:
            raise InvalidInput(
                "samples",
                count,
                f"is outside {MIN_SAMPLES} to the path's {prepared.geometry.count}",
                "send the first samples of the registered path",
            )
        given = samples if sound is None else np.where(sound, samples, np.nan)
        readings = specimen_readings(
            given, prepared.first(count, self.restorer), prepared.path, prepared.detector, self.model
        )
        judged, geometry, noise_variance = readings.judged, readings.geometry, readings.noise_variance
        if self.model and count == prepared.geometry.count:
            prepared.misfit.look(judged)
        values = judged.values.to(self.device)
        memory = self._memory_of(stream, prepared)
        if memory is None:
            self._hear(stream, frame, readings, prepared)
            result = self._restored(values, geometry, noise_variance, None, lattice)
        else:
            recalled = memory.recall(frame, values, geometry, judged.centre, judged.scale, judged.excess)
            self._hear(stream, frame, readings, prepared, recalled)
            bounded = recalled.values.clamp(-BOUND, BOUND)  # older ones as this frame's are
            result = self._restored(bounded, recalled.geometry, noise_variance, recalled.before, lattice)
            if complete:
                memory.keep(recalled, result)
            if reverse is not None and reverse.older is not None:
                recalled = recalled.and_later(reverse, geometry)
                bounded = recalled.values.clamp(-BOUND, BOUND)
                result = self._restored(bounded, recalled.geometry, noise_variance, None, lattice)
            result = replace(result, made_by=recalled.told_in(result.made_by))
        return _in_sample_units(result, readings, prepared.misfit)

    def recalled(self, stream: str, path_id: str) -> Recalled | None:
        """What the newest complete frame of a stream, along a registered path, was restored from."""
        memory = self._memory_of(stream, self.path(path_id))
        return None if memory is None else memory.last

    def _restored(
        self,
        values: Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None,
        before: Before | None,
        lattice: bool,
    ) -> Restoration:
        if before is not None or not lattice:
            return self.restorer.restore(values, geometry, noise_variance, before, lattice)
        if noise_variance is not None:
            return self.restorer.restore(values, geometry, noise_variance)
        return self.restorer.restore(values, geometry)

    def _hear(
        self,
        stream: str | None,
        frame: int,
        readings: SpecimenReadings,
        prepared: PreparedPath,
        recalled: Recalled | None = None,
    ) -> None:
        """Tell the path's watch what the frames of its stream say of the delay, with this one if it is whole."""
        if stream is None or not self.model:
            return
        watch = self._delays.made((stream, prepared.path.fov_nm, prepared.coil), FramesDelay)
        if len(readings.judged.values) == prepared.geometry.count:
            drift = None if recalled is None else recalled.drift
            moved_px = (0.0, 0.0) if drift is None or not drift.sd_px <= _KNOWN_PX else (drift.y_px, drift.x_px)
            watch.look(frame, readings.judged.values, readings.judged.weights, prepared.geometry, moved_px)
        prepared.misfit.hear(watch.found)

    def _memory_of(self, stream: str | None, prepared: PreparedPath) -> Stream | None:
        """What is remembered of a stream; another field of view begins anew."""
        if stream is None or self.memory == 1:
            return None
        return self._streams.made((stream, prepared.path.fov_nm), lambda: Stream(self.memory))


def _placed(path: ScanPath, coil: CoilModel | None, device: torch.device) -> FrameGeometry:
    achieved = None
    if coil is not None and (coil.time_constant_us != 0 or coil.delay_us != 0):
        achieved = achieved_positions(path, coil)
    return FrameGeometry.from_path(path, device, achieved)


def _in_sample_units(result: Restoration, readings: SpecimenReadings, misfit: MisfitWatch) -> Restoration:
    """A restoration of judged readings with what was cut off of them, on the processor, in the units of the samples."""
    judged, geometry = readings.judged, readings.geometry
    estimate, interval = result.estimate.float(), result.interval
    if judged.excess is not None:
        cut, weight = geometry.grid(judged.excess.to(estimate.device))
        beyond = push_pull(cut[None, None], weight[None, None])[0, 0]
        estimate = estimate + beyond
        interval = None if interval is None else interval + beyond.abs()
    if readings.doubt and interval is not None:
        interval = (interval.square() + (_Z90 * readings.doubt) ** 2).sqrt()
    delay = misfit.delay
    precise, made_by = judged.estimate_dtype, result.made_by
    cause = misfit.cause(judged, made_by.missed, readings.noise_variance is not None)
    expected = made_by.expected_rmse
    if expected is not None:
        expected = math.hypot(expected, readings.doubt)

    def scaled(error: float | None) -> float | None:
        return None if error is None else error * judged.scale

    return Restoration(
        (estimate.cpu().to(precise) * judged.scale + judged.centre).contiguous(),
        None if interval is None else (interval.cpu().to(precise) * judged.scale).contiguous(),
        msgspec.structs.replace(
            made_by,
            withheld_rmse=scaled(made_by.withheld_rmse),
            expected_rmse=scaled(expected),
            outliers=judged.outliers,
            lost=judged.lost,
            saturated=judged.saturated,
            delay_samples=None if delay is None else delay.samples,
            delay_sd_samples=None if delay is None else delay.sd_samples,
            cause=cause,
            notices=(*made_by.notices, *misfit.notices(cause, made_by.missed), *readings.notices)[:_NOTICES],
        ),
        strain=result.strain,
    )
