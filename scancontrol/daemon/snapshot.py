"""What a daemon says of the whole: every figure of one moment in one frozen value. None is "nobody knows".

Each part tells its own: the acquisition, the orders, the beam's thread, the ledger, the restorer. The service puts them
together ten times a second and publishes the value; the page, ``scancontrol status``, ``/status`` and ``/metrics`` show
that same one.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.describing import Description
from scancontrol.daemon.drift_follower import DriftSnapshot
from scancontrol.daemon.orders import OrdersSnapshot
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.figures import PlanFigures
from scancontrol.restoration import AS_KEPT, Look
from scancontrol.wire.messages import Status

__all__ = [
    "BeamSnapshot",
    "DoseSnapshot",
    "RestorationsSnapshot",
    "Snapshot",
    "Versions",
    "disk_free_bytes",
    "rss_bytes",
]


@dataclass(frozen=True, kw_only=True)
class BeamSnapshot:
    """The microscope as the beam's thread sees it, and what that thread is at."""

    name: str | None = None  # of the instrument that answers now, or did last
    address: str = ""
    origin: Literal["simulation", "experiment"] | None = None
    connected: bool = False
    status: Status | None = None  # the microscope's own, as of its last heartbeat
    clock_offset_us: float | None = None  # the microscope's monotonic clock minus this one
    clock_error_us: float | None = None  # bound on the error of that
    unfinished: str | None = None  # recording that waits for its disk or its link, to be gone on with or ended
    arming: str | None = None  # what is made before the beam is lit, and how much of it

    @property
    def hold(self) -> tuple[str, int] | None:
        """The hold that a Start given now would lift: (server id, its count of blanks); None where nothing is held."""
        status = self.status
        return (status.server_id, status.blanks) if status is not None and status.blanker == "blank" else None

    def seen_over(self, link: MicroscopeLink) -> BeamSnapshot:
        """The same, with what the link tells of its microscope now."""
        capabilities, offset_ns, error_ns = link.capabilities, link.clock_offset_ns, link.clock_error_ns
        return replace(
            self,
            name=capabilities.name,
            origin=capabilities.origin,
            connected=link.connected,
            status=link.status,
            clock_offset_us=None if offset_ns is None else offset_ns * 1e-3,
            clock_error_us=None if error_ns is None else error_ns * 1e-3,
        )


@dataclass(frozen=True, kw_only=True)
class DoseSnapshot:
    """What the specimen has had, by its ledger."""

    specimen: str = ""
    session: str = ""
    stage_um: tuple[float, float] = (0.0, 0.0)  # (y, x)
    area_e_per_a2: float | None = None  # the most exposed cell under the plan's path
    area_limit_e_per_a2: float | None = None
    session_electrons: float = 0.0
    session_limit_electrons: float | None = None
    total_electrons: float = 0.0
    assumed_electrons: float = 0.0  # of these, counted in full and unseen
    promised_electrons: float = 0.0  # of scans that were asked for and have not ended


@dataclass(frozen=True, kw_only=True)
class RestorationsSnapshot:
    """The restorer's process, and what it has made."""

    state: Literal["off", "starting", "ready", "dead", "restarting"] = "off"
    restarts: int = 0
    queue: int = 0  # frames asked for, or waiting to be, and not yet answered
    catching_up: int = 0  # of these, frames of acquisitions that have ended
    restored: int = 0
    dropped: int = 0  # frames passed over because newer samples had come
    device: str | None = None
    method: str | None = None  # of the restoration that came last
    face: str | None = None  # "classical" | "faithful" | "realistic"
    late_us: float = 0.0  # by which readings are taken to come later than the microscope states
    look: Look = AS_KEPT  # in which the newest frame is shown
    latency_p50_ms: float | None = None  # last sample of a frame received → its restoration published
    latency_p99_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Who is talking."""

    software: str = ""
    wire_protocol: int = 0
    page_protocol: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="status", tag_field="type", forbid_unknown_fields=True):
    """The whole. Units are in the names; fractions are 0 to 1."""

    pid: int = 0
    started_utc_ns: int = 0
    utc_ns: int = 0
    rss_bytes: int | None = None
    disk_free_bytes: int | None = None  # room for recordings
    page: str | None = None  # its address, without the token
    plans: tuple[str, ...] = ()  # that may be started
    plan: PlanFigures | None = None  # of the acquisition that runs, or ran last
    detectors: tuple[str, ...] = ()  # that the microscope has
    channels: tuple[str, ...] = ()  # detectors that it records; before the first one, those of the microscope
    channel: str | None = None  # the one that is shown and restored from the next samples on
    beside: str | None = None  # another that is shown and restored with it
    description: Description = Description()  # what the next recording will say of itself
    scan: AcquisitionStatus = AcquisitionStatus()
    scan_order: int | None = None  # number of the order that ``scan`` carries out
    not_begun: tuple[int, str] | None = None  # number of the last order that could not be begun, and why
    claimed_by: str | None = None  # operator whose script alone may start now
    orders: OrdersSnapshot = OrdersSnapshot()
    microscope: BeamSnapshot = BeamSnapshot()
    dose: DoseSnapshot = DoseSnapshot()
    restorer: RestorationsSnapshot = RestorationsSnapshot()
    drift: DriftSnapshot = DriftSnapshot()  # of the specimen, in the acquisition that runs or ran last
    versions: Versions = Versions()
    warnings: tuple[str, ...] = ()  # what is wrong now


def rss_bytes() -> int | None:
    """Memory of this process that is in use; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def disk_free_bytes(folder: Path) -> int | None:
    """Room on the disk of ``folder``; None where it is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
