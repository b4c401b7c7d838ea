"""The resident engine: paths prepared once, then samples in, estimate and interval out.

``Engine`` is what the restorer's process and every script call. It keeps one geometry per path on its device,
warms up whatever restores on it, and withholds a few samples of every frame, so that each restoration carries an
error that was measured. What restores is a ``Restorer``: a classical fill here, the generator through the same
protocol. :meth:`Engine.restore` does one frame; its three steps can be called one by one, so that the next frame is
got ready while one is computed, and several are computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from restore.estimate.homeward import Homeward
from restore.estimate.instrument import SpecimenReadings, prepare_for_readings, specimen_readings
from restore.estimate.late_frames import placed
from restore.estimate.misfit import MisfitWatch
from restore.estimate.readings import BOUND
from restore.estimate.stream import Recalled, Stream
from restore.feeding import Moment, feeder_of
from restore.gridding import MIN_SAMPLES, FrameGeometry
from restore.restorer import OneByOne, Restoration, Restorer, Stepwise, practised
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.recent import Recent

__all__ = ["MEMORY_LIMIT", "Begun", "Engine", "Launched", "PreparedPath"]

MEMORY_LIMIT = 64  # frames; their samples are kept
_STREAMS_KEPT = 8  # two for each detector: its frames that were overtaken are one of their own
_KNOWN_PX = 3.0  # a drift known no better is taken for none
_PIXELS_KEPT = 1 << 26  # of the frames of all registered paths; two paths are kept in any case
_PREFIX_PIXELS_KEPT = 1 << 24  # of those that were restored while they were scanned, of one path
_PREFIXES_KEPT = 16


@dataclass(frozen=True)
class PreparedPath:
    """A registered path on the engine's device."""

    path: ScanPath
    geometry: FrameGeometry
    beam_us: float
    method: str  # what restores frames of this path
    restore_ms: float  # what one frame takes
    coil: CoilModel | None
    detector: DetectorChannel | None
    misfit: MisfitWatch = field(default_factory=MisfitWatch, compare=False, repr=False)  # of frames of no stream
    _prefixes: Recent[int, FrameGeometry] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        kept = max(1, min(_PREFIXES_KEPT, _PREFIX_PIXELS_KEPT // self.geometry.weight.numel()))
        object.__setattr__(self, "_prefixes", Recent(kept))

    def first(self, count: int) -> FrameGeometry:
        """The geometry of the first ``count`` samples; the few last asked for are kept."""
        if count == self.geometry.count:
            return self.geometry
        return self._prefixes.made(count, lambda: self.geometry.prefix(count))


@dataclass(frozen=True)
class Begun:
    """A frame that is ready to be restored.

    Attributes:
        misfit: what its path's frames do not explain. readings: what is believed of its samples.
        step: what the restorer made of it. entered: when that is there.
        memory, recalled: of its stream, if it has one; ``complete`` frames are remembered.
        reverse, lattice: see :meth:`Engine.restore`.
    """

    misfit: MisfitWatch
    readings: SpecimenReadings
    step: Any
    entered: Moment
    memory: Stream | None
    recalled: Recalled | None
    complete: bool
    reverse: Recalled | None
    lattice: bool


@dataclass(frozen=True)
class Launched:
    """A frame that the device was told to restore, and when that is done."""

    frame: Begun
    step: Any
    computed: Moment


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
        self._steps = restorer if isinstance(restorer, Stepwise) else OneByOne(restorer)
        self.model = model
        self.device = torch.device(device)
        self.feeder = feeder_of(self.device)
        self.memory = memory
        if memory > 1:
            self._steps.remember()
        self._warm: dict[tuple[tuple[int, int], int], tuple[str, float]] = {}  # what restores, and how long it takes
        self._streams: Recent[tuple[str, float], Stream] = Recent(_STREAMS_KEPT)
        self._watches: Recent[tuple[object, ...], MisfitWatch] = Recent(_STREAMS_KEPT)  # by stream and what is known
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
        geometry = placed(path, coil, self.device)
        alike = (geometry.shape, round(4 * math.log2(max(path.duration_us, 1.0))))
        # Paths that differ in their seed or their angle are warm with the first of them. Of frames with a memory only
        # the first is restored from its path's samples alone, so what is found of those by themselves can wait for it.
        if self.memory == 1 or alike not in self._warm:
            self.restorer.prepare(geometry, path.duration_us)
        if alike not in self._warm:
            self._warm[alike] = practised(self.restorer, geometry, path.duration_us)
        prepare_for_readings(geometry, path)  # before the first of them comes
        prepared = PreparedPath(path, geometry, path.duration_us, *self._warm[alike], coil, detector)
        self._paths[path.path_id] = prepared
        self._let_go()
        self.feeder.now().wait()  # frames are got ready on a stream of their own
        return prepared

    def _let_go(self) -> None:
        """Of the paths that were used the longest ago, if all are of too many pixels."""
        sizes = [prepared.geometry.weight.numel() for prepared in self._paths.values()]
        while len(sizes) > 2 and sum(sizes) > _PIXELS_KEPT:
            sizes.pop(0)
            self._paths.popitem(last=False)

    def path(self, path_id: str) -> PreparedPath:
        """A registered path.

        Raises:
            InvalidInput: it is not (or no longer) known.
        """
        if path_id not in self._paths:
            raise InvalidInput("path_id", path_id, "is not registered", "register its recipe first")
        return self._paths[path_id]

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
        begun = self.begin(
            samples, path_id, sound, stream=stream, frame=frame, complete=complete, lattice=lattice, reverse=reverse
        )
        return self.finish(self.launch([begun])[0])

    @torch.inference_mode()
    def begin(
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
    ) -> Begun:
        """Judge a frame's samples and bring them to the device, see :meth:`restore`.

        A frame of a stream that is remembered begins when the one before it is finished.
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
        with self.feeder.entering():
            readings = specimen_readings(given, prepared.first(count), prepared.path, prepared.detector, self.model)
            judged, geometry, noise_variance = readings.judged, readings.geometry, readings.noise_variance
            values = self.feeder.send(judged.values)
            memory, recalled = self._memory_of(stream, prepared), None
            if memory is None:
                misfit = self._watched(stream, frame, readings, prepared)
                step = self._steps.begin(values, geometry, noise_variance, None, lattice)
            else:
                recalled = memory.recall(frame, values, geometry, judged.centre, judged.scale, judged.excess)
                misfit = self._watched(stream, frame, readings, prepared, recalled)
                bounded = recalled.values.clamp(-BOUND, BOUND)  # older ones as this frame's are
                step = self._steps.begin(bounded, recalled.geometry, noise_variance, recalled.before, lattice)
            entered = self.feeder.now()
        return Begun(misfit, readings, step, entered, memory, recalled, complete, reverse, lattice)

    @torch.inference_mode()
    def launch(self, begun: Sequence[Begun]) -> list[Launched]:
        """Let the device restore frames of one size, at most :meth:`together` of them; nothing waits for it."""
        for frame in begun:
            self.feeder.after(frame.entered)
        steps = self._steps.launch([frame.step for frame in begun])
        computed = self.feeder.now()
        return [Launched(frame, step, computed) for frame, step in zip(begun, steps, strict=True)]

    @torch.inference_mode()
    def finish(self, launched: Launched) -> Restoration:
        """Bring a frame back when it is restored, see :meth:`restore`."""
        frame = launched.frame
        memory, recalled, reverse = frame.memory, frame.recalled, frame.reverse
        with self.feeder.leaving(launched.computed):
            result = self._steps.finish(launched.step)
            if memory is not None and recalled is not None and frame.complete:
                memory.keep(recalled, result)
            if recalled is not None:
                result = recalled.told(result)
        if recalled is not None:
            if reverse is not None and reverse.older is not None:
                recalled = recalled.and_later(reverse, frame.readings.geometry)
                bounded = recalled.values.clamp(-BOUND, BOUND)
                noise_variance = frame.readings.noise_variance
                step = self._steps.begin(bounded, recalled.geometry, noise_variance, None, frame.lattice)
                result = recalled.told(self._steps.finish(self._steps.launch([step])[0]))
            result = replace(result, made_by=recalled.told_in(result.made_by))
        with self.feeder.leaving(self.feeder.now() if reverse is not None else launched.computed):
            home = Homeward.of(result, frame.readings)
        return home.told(frame.misfit)

    @property
    def room(self) -> int:
        """Frames that are worth having in hand at a time."""
        return self._steps.most * self.feeder.under_way

    def together(self, path_id: str) -> int:
        """How many frames of a path's size are launched at once at most."""
        return self._steps.together(self.path(path_id).geometry.shape)

    def remembers(self, stream: str | None) -> bool:
        """Whether a stream's frames are restored with those before them, and so one after the other."""
        return stream is not None and self.memory > 1

    def recalled(self, stream: str, path_id: str) -> Recalled | None:
        """What the newest complete frame of a stream, along a registered path, was restored from."""
        memory = self._memory_of(stream, self.path(path_id))
        return None if memory is None else memory.last

    def _watched(
        self,
        stream: str | None,
        frame: int,
        readings: SpecimenReadings,
        prepared: PreparedPath,
        recalled: Recalled | None = None,
    ) -> MisfitWatch:
        """What frames of a stream do not explain, with this one if it is whole; as it stands, whatever begins next."""
        path, geometry, judged = prepared.path, prepared.geometry, readings.judged
        watch = prepared.misfit
        if stream is not None:
            known = (stream, path.fov_nm, prepared.coil, prepared.detector)
            watch = self._watches.made(known, MisfitWatch)
        if self.model and len(judged.values) == geometry.count:
            kind = type(path.recipe.pattern).__name__
            watch.look(judged, geometry, np.cumsum(path.dwell_us + path.move_us), kind)
            if stream is not None:
                drift = None if recalled is None else recalled.drift
                moved_px = (0.0, 0.0) if drift is None or not drift.sd_px <= _KNOWN_PX else (drift.y_px, drift.x_px)
                watch.compare(frame, judged, geometry, moved_px)
        return copy(watch)

    def _memory_of(self, stream: str | None, prepared: PreparedPath) -> Stream | None:
        """What is remembered of a stream; another field of view begins anew."""
        if stream is None or self.memory == 1:
            return None
        return self._streams.made((stream, prepared.path.fov_nm), lambda: Stream(self.memory))
