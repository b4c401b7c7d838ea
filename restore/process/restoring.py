"""A restorer's answers: what the engine says to a path and to a frame, as messages."""

from __future__ import annotations

import logging
import time
from typing import Any

from restore.engine import Engine
from restore.process.conversation import Job
from restore.under_way import Ended, Wanted
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.restoration import Look
from scancontrol.wire import restoring as wire
from scancontrol.wire.registry import expand_recipe

__all__ = ["registered", "restored", "unknown_path", "wanted"]

log = logging.getLogger(__name__)

SAMPLES_LIMIT = wire.MAX_SAMPLE_BYTES // 2

_Answer = tuple[wire.RestorerMessage, list[Any]]


def registered(engine: Engine, message: wire.Register) -> _Answer:
    """Prepare a path."""
    try:
        path = expand_recipe(message.path_id, message.recipe, SAMPLES_LIMIT)
        prepared = engine.register(path, message.coil, message.detector)
    except (ScanControlError, RuntimeError, MemoryError) as error:
        return wire.Refused(code="bad_path", text=str(error)[:4000], path_id=message.path_id), []
    told = wire.Registered(
        path_id=message.path_id,
        count=path.count,
        rows=path.shape[0],
        cols=path.shape[1],
        method=prepared.method,
        restore_ms=prepared.restore_ms,
        beam_ms=path.duration_us / 1e3,
    )
    return told, []


def wanted(request: wire.Restore, samples: Any) -> Wanted:
    """What a frame's request asks of an engine."""
    look = request.look or Look()
    logs.set_scan(request.stream)
    log.info("frame %d: %d samples to restore from", request.frame, request.count)
    return Wanted(
        samples,
        request.path_id,
        stream=request.stream,
        frame=request.frame,
        complete=request.complete and request.look is None,
        lattice=look.lattice,
        alone=look.alone,
    )


def unknown_path(request: wire.Restore) -> _Answer:
    """To a frame of a path that is not registered."""
    text = f"path {request.path_id} is not registered; register its recipe"
    return wire.Refused(code="unknown_path", text=text, request=request.request), []


def restored(request: wire.Restore, job: Job, ended: Ended[Job]) -> _Answer:
    """What became of a frame; whatever one throws, the next can be restored."""
    logs.set_scan(request.stream)
    result = ended.found
    if isinstance(result, InvalidInput):
        return wire.Refused(code="bad_samples", text=str(result)[:4000], request=request.request), []
    if isinstance(result, Exception):
        log.error("frame %d of %s failed", request.frame, request.stream, exc_info=result)
        text = f"{type(result).__name__}: {result}"
        return wire.Refused(code="failed", text=text[:4000], request=request.request), []
    found = [result.estimate] + ([] if result.interval is None else [result.interval])
    images = [image.float().numpy() for image in found]
    strain = None if result.strain is None else result.strain.float().numpy()
    told = wire.Restored(
        request=request.request,
        stream=request.stream,
        frame=request.frame,
        path_id=request.path_id,
        complete=request.complete,
        rows=images[0].shape[0],
        cols=images[0].shape[1],
        has_interval=result.interval is not None,
        strain_side=0 if strain is None else strain.shape[-1],
        made_by=result.made_by,
        compute_ms=(time.monotonic_ns() - ended.began_ns) / 1e6,
        waited_ms=(ended.began_ns - job.received_ns) / 1e6,
    )
    return told, images if strain is None else [*images, strain]
