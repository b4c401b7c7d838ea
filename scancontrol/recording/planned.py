"""A recording for a plan: how large it has to be, and what its header says."""

from __future__ import annotations

import functools
import re
import socket
import time
from pathlib import Path
from typing import Literal

import msgspec

from scancontrol.files import to_yaml
from scancontrol.paths import Adaptive
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.about import About
from scancontrol.recording.layout import VERSION, Capacity, Header, chunk_rows
from scancontrol.recording.writer import RecordingWriter

__all__ = ["capacity_of", "file_name", "header_of", "plain_name", "record_plan"]

_FRAMES_EXPANDED = 64
_LONGER = 1.1
_PIXEL_BYTES = 6  # of a pixel's number in a recipe
_REGION_BYTES = 160  # by which a recipe grows at most when its region is moved, or its pattern turned


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


def header_of(
    planned: PlannedScan,
    *,
    channels: tuple[str, ...] | None = None,
    sample_dtype: Literal["<u2", "<f4"] = "<u2",
    series_id: int = 0,
    series_unique_id: str = "",
    keep_restorations: int | Literal["all", "last", "none"] = "all",
    specimen: str | None = None,
    stage_nm: tuple[float, float] | None = None,
    about: About | None = None,
    paths_vary: bool = False,
    started_utc_ns: int | None = None,
) -> Header:
    """What the recording of a plan says of itself, and how large it is; see :func:`record_plan`."""
    plan = planned.plan
    kept: int | Literal["last"] = 1
    if keep_restorations != "all":
        kept = 0 if keep_restorations == "none" else keep_restorations
    return Header(
        version=VERSION,
        name=plan.name,
        shape=plan.shape,
        fov_nm=plan.fov_nm,
        dwell_us=planned.patterns[0].dwell_per_pixel_us,
        beam_current_pa=planned.beam_current_pa,
        channels=channels or planned.channels,
        sample_dtype=sample_dtype,
        started_utc_ns=time.time_ns() if started_utc_ns is None else started_utc_ns,
        series_id=series_id,
        series_unique_id=series_unique_id,
        keep_restorations=kept,
        specimen=specimen,
        stage_nm=stage_nm,
        capacity=capacity_of(planned, paths_vary),
        about=msgspec.structs.replace(about or About(), host=socket.gethostname()),
    )


def record_plan(
    path: Path | str,
    planned: PlannedScan,
    *,
    plan_text: str | None = None,
    channels: tuple[str, ...] | None = None,
    sample_dtype: Literal["<u2", "<f4"] = "<u2",
    series_id: int = 0,
    series_unique_id: str = "",
    keep_restorations: int | Literal["all", "last", "none"] = "all",
    specimen: str | None = None,
    stage_nm: tuple[float, float] | None = None,
    about: About | None = None,
    paths_vary: bool = False,
    started_utc_ns: int | None = None,
    fsync: bool = False,
) -> RecordingWriter:
    """Make the recording of a plan on its microscope, with the disk space of every sample reserved.

    ``channels`` are the detectors' names in the order of the samples' rows: those of the plan by default.
    Raises:
        RecordingError: the disk has no room.
    """
    header = header_of(
        planned,
        channels=channels,
        sample_dtype=sample_dtype,
        series_id=series_id,
        series_unique_id=series_unique_id,
        keep_restorations=keep_restorations,
        specimen=specimen,
        stage_nm=stage_nm,
        about=about,
        started_utc_ns=started_utc_ns,
        paths_vary=paths_vary,
    )
    text = to_yaml(planned.plan) if plan_text is None else plan_text
    return RecordingWriter.create(path, header, text, planned.capabilities, fsync=fsync)
