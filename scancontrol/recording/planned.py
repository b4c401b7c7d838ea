"""A recording for a plan: how large it has to be, and what its header says."""

from __future__ import annotations

import functools
import re
import socket
import time
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import msgspec

from scancontrol.files import to_yaml
from scancontrol.paths import Adaptive
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.about import About
from scancontrol.recording.layout import VERSION, Capacity, Header, chunk_rows
from scancontrol.recording.writer import RecordingWriter

__all__ = ["Stated", "capacity_of", "file_name", "header_of", "plain_name", "record_plan"]

_FRAMES_EXPANDED = 64
_LONGER = 1.1
_PIXEL_BYTES = 6  # of a pixel's number in a recipe
_REGION_BYTES = 160  # by which a recipe grows at most when its region is moved, bent, or its pattern turned


@functools.lru_cache(maxsize=8)  # asked for when a plan is checked and again when it is armed
def capacity_of(planned: PlannedScan, paths_vary: bool = False) -> Capacity:
    """Room for every frame of the plan; with ``paths_vary`` each may be shifted, and so be a path of its own.

    Patterns that do not change from frame to frame are expanded once. Of plans where every frame is another path, the
    first few dozen are, and the rest is taken to be a tenth longer than the longest of them; what is not
    used is given back when the recording ends.
    """
    plan, cycle = planned.plan, len(planned.plan.patterns)
    adaptive = [pattern for pattern in plan.patterns if isinstance(pattern, Adaptive)]
    paths_vary = paths_vary or bool(adaptive)
    changing = any(pattern.changes_per_frame for pattern in plan.patterns)
    if not (changing or paths_vary):
        paths = [planned.path(frame) for frame in range(min(cycle, plan.frames))]
        durations_us = [planned.patterns[frame].duration_us for frame in range(len(paths))]
        one = Capacity.of(paths, durations_us)
        counts = [len(range(i, plan.frames, cycle)) for i in range(len(paths))]
        return msgspec.structs.replace(
            one,
            frames=plan.frames,
            samples=sum(path.count * count for path, count in zip(paths, counts, strict=True)),
            chunks=sum(
                chunk_rows(path.count, duration_us) * count
                for path, duration_us, count in zip(paths, durations_us, counts, strict=True)
            ),
        )
    sampled = [planned.path(frame) for frame in range(min(_FRAMES_EXPANDED, plan.frames))]
    # A pattern with another seed or turned takes about as long as the one whose figures are known.
    durations_us = [_LONGER * planned.patterns[frame % cycle].duration_us for frame in range(len(sampled))]
    exact = Capacity.of([], []) if paths_vary else Capacity.of(sampled, durations_us)
    more = plan.frames - exact.frames
    if more == 0:
        return exact
    longest = int(_LONGER * max(path.count for path in sampled)) + 1
    recipe = max(len(msgspec.json.encode(path.recipe)) for path in sampled) + _REGION_BYTES
    if adaptive:  # the recipes of these name their pixels
        recipe += _PIXEL_BYTES * max(path.count for path in sampled)
    return Capacity(
        frames=plan.frames,
        samples=exact.samples + more * longest,
        paths=exact.paths + more,
        path_samples=exact.path_samples + more * longest,
        recipe_bytes=exact.recipe_bytes + more * recipe,
        chunks=exact.chunks + more * chunk_rows(longest, max(durations_us)),
    )


def file_name(plan: ScanPlan, suffix: str) -> str:
    """A file name for a recording of ``plan``, ending in ``suffix``: HyperSpy knows ``.hspy`` and not ``.h5``.

    Whatever the plan is called, the name stays one plain name in the folder it is put into.
    """
    return f"{plain_name(plan.name) or 'scan'}-{suffix}.hspy"


def plain_name(name: str) -> str:
    """``name`` as part of a file's name: letters, digits, ``.``, ``-`` and ``_``, at most 100 bytes."""
    return re.sub(r"[^\w.-]+", "_", name).encode()[:100].decode(errors="ignore").strip("._")


class Stated(TypedDict, total=False):
    """What a recording is told of itself beside its plan.

    ``channels`` are the detectors' names in the order of the samples' rows: those of the plan by default.
    ``paths_vary`` says that each frame may be shifted, and so be a path of its own.
    """

    channels: tuple[str, ...] | None
    sample_dtype: Literal["<u2", "<f4"]
    series_id: int
    series_unique_id: str
    keep_restorations: int | Literal["all", "last", "none"]
    specimen: str | None
    stage_nm: tuple[float, float] | None
    about: About | None
    paths_vary: bool
    started_utc_ns: int | None


def header_of(planned: PlannedScan, **stated: Unpack[Stated]) -> Header:
    """What the recording of a plan says of itself, and how large it is; see :func:`record_plan`."""
    plan, keep = planned.plan, stated.get("keep_restorations", "all")
    kept: int | Literal["last"] = 1
    if keep != "all":
        kept = 0 if keep == "none" else keep
    started_utc_ns = stated.get("started_utc_ns")
    return Header(
        version=VERSION,
        name=plan.name,
        shape=plan.shape,
        fov_nm=plan.fov_nm,
        dwell_us=planned.patterns[0].dwell_per_pixel_us,
        beam_current_pa=planned.beam_current_pa,
        channels=stated.get("channels") or planned.channels,
        sample_dtype=stated.get("sample_dtype", "<u2"),
        started_utc_ns=time.time_ns() if started_utc_ns is None else started_utc_ns,
        series_id=stated.get("series_id", 0),
        series_unique_id=stated.get("series_unique_id", ""),
        keep_restorations=kept,
        specimen=stated.get("specimen"),
        stage_nm=stated.get("stage_nm"),
        capacity=capacity_of(planned, stated.get("paths_vary", False)),
        about=msgspec.structs.replace(stated.get("about") or About(), host=socket.gethostname()),
    )


def record_plan(
    path: Path | str,
    planned: PlannedScan,
    *,
    plan_text: str | None = None,
    fsync: bool = False,
    **stated: Unpack[Stated],
) -> RecordingWriter:
    """Make the recording of a plan on its microscope, with the disk space of every sample reserved.

    Args:
        path: of the file.
        planned: the plan and the microscope.
        plan_text: the plan as it was written; made from the plan if not given.
        fsync: whether samples are on the disk itself before they count as recorded.
        stated: see :class:`Stated`.

    Raises:
        RecordingError: the disk has no room.
    """
    header = header_of(planned, **stated)
    text = to_yaml(planned.plan) if plan_text is None else plan_text
    return RecordingWriter.create(path, header, text, planned.capabilities, fsync=fsync)
