"""What a daemon says of the whole: every figure of one moment, in one frozen value. None is "nobody knows"."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

__all__ = [
    "BeamHealth",
    "DoseHealth",
    "QueueHealth",
    "RestorerHealth",
    "ScanHealth",
    "Snapshot",
    "Versions",
    "rss_bytes",
]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ScanHealth(_Part, frozen=True, kw_only=True):
    """The acquisition that runs, or ran last. Samples are counted per channel."""

    phase: str
    reason: str | None
    message: str
    plan: str | None
    recording: str | None
    series_unique_id: str | None
    frame: int | None
    frames_planned: int | None
    frames_completed: int
    interruptions: int
    samples_exposed: int
    samples_received: int
    samples_lost: int
    samples_duplicate: int
    frame_rate_hz: float | None


class BeamHealth(_Part, frozen=True, kw_only=True):
    """The microscope's side, as of its last heartbeat."""

    microscope: str
    address: str
    connected: bool
    state: str | None
    on: bool | None
    blanker: str | None
    held: bool  # by an emergency blank
    lease: str | None  # who operates
    server_id: str | None
    clock_offset_us: float | None
    clock_error_us: float | None


class DoseHealth(_Part, frozen=True, kw_only=True):
    """What the specimen has had, by its ledger."""

    specimen: str
    session: str
    stage_um: tuple[float, float]  # (y, x)
    area_e_per_a2: float | None  # the most exposed cell under the plan's path
    area_limit_e_per_a2: float | None
    session_electrons: float
    session_limit_electrons: float | None
    total_electrons: float
    assumed_electrons: float
    promised_electrons: float


class QueueHealth(_Part, frozen=True, kw_only=True):
    """What waits where."""

    microscope_scans: int | None
    microscope_retained_bytes: int | None
    microscope_starved: int | None  # times that the beam waited, blanked, for credit or room
    restorer_frames: int
    disk_free_bytes: int | None


class RestorerHealth(_Part, frozen=True, kw_only=True):
    """The restorer's process."""

    state: str
    method: str | None
    restarts: int
    restored: int
    dropped: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None


class Versions(_Part, frozen=True, kw_only=True):
    """Who is talking."""

    software: str
    wire_protocol: int
    page_protocol: str


class Snapshot(_Part, frozen=True, kw_only=True):
    """The whole."""

    pid: int
    started_utc_ns: int
    utc_ns: int
    rss_bytes: int | None
    page: str | None  # without its token
    scan: ScanHealth
    beam: BeamHealth
    dose: DoseHealth
    queues: QueueHealth
    restorer: RestorerHealth
    versions: Versions
    warnings: tuple[str, ...]


def rss_bytes() -> int | None:
    """Memory of this process that is in use; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None
