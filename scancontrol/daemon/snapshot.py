"""One frozen snapshot of the daemon, put together from what each part says of itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.health import (
    BeamHealth,
    DoseHealth,
    QueueHealth,
    RestorerHealth,
    ScanHealth,
    Snapshot,
    Versions,
    rss_bytes,
)
from scancontrol.daemon.page.messages import PAGE_PROTOCOL
from scancontrol.daemon.restorations import Restorations
from scancontrol.plan.planned import PlanFigures
from scancontrol.wire.messages import PROTOCOL_VERSION, software

__all__ = ["snapshot_of"]


def snapshot_of(
    *,
    now_utc_ns: int,
    started_utc_ns: int,
    acquisition: AcquisitionStatus | None,
    figures: PlanFigures | None,
    series_unique_id: str | None,
    beam: BeamThread,
    microscope_name: str,
    address: str,
    dose: DoseKeeper,
    area_e_per_a2: float | None,
    restored: Restorations,
    page: str | None,
    output: Path,
    warnings: tuple[str, ...],
) -> Snapshot:
    """The whole, as of ``now_utc_ns``."""
    known = acquisition or AcquisitionStatus()
    status, totals, limits = beam.microscope, dose.ledger.totals, dose.ledger.limits
    offset_ns, error_ns = beam.clock
    percentiles = restored.latency.percentiles() or {}
    state = restored.state()
    return Snapshot(
        pid=os.getpid(),
        started_utc_ns=started_utc_ns,
        utc_ns=now_utc_ns,
        rss_bytes=rss_bytes(),
        page=page,
        scan=ScanHealth(
            phase=known.phase.value,
            reason=known.finish_reason,
            message=known.message,
            plan=None if figures is None else figures.plan,
            recording=None if known.recording is None else known.recording.name,
            series_unique_id=series_unique_id,
            frame=known.frame,
            frames_planned=known.frames_planned,
            frames_completed=known.frames_completed,
            interruptions=known.interruptions,
            samples_exposed=known.samples_exposed,
            samples_received=known.samples_received,
            samples_lost=known.samples_lost,
            samples_duplicate=known.samples_duplicate,
            frame_rate_hz=known.frame_rate_hz or None,
        ),
        beam=BeamHealth(
            microscope=microscope_name,
            address=address,
            connected=beam.connected,
            state=None if status is None else status.state,
            on=None if status is None else status.beam_on,
            blanker=None if status is None else status.blanker,
            held=beam.held,
            lease=None if status is None else status.operator,
            server_id=None if status is None else status.server_id,
            clock_offset_us=None if offset_ns is None else offset_ns * 1e-3,
            clock_error_us=None if error_ns is None else error_ns * 1e-3,
        ),
        dose=DoseHealth(
            specimen=totals.specimen,
            session=totals.session,
            stage_um=(dose.config.stage_um.y, dose.config.stage_um.x),
            area_e_per_a2=area_e_per_a2,
            area_limit_e_per_a2=limits.area_e_per_a2,
            session_electrons=totals.session_electrons,
            session_limit_electrons=limits.session_electrons,
            total_electrons=totals.electrons,
            assumed_electrons=totals.assumed_electrons,
            promised_electrons=totals.promised_electrons,
        ),
        queues=QueueHealth(
            microscope_scans=None if status is None else status.queued_scans,
            microscope_retained_bytes=None if status is None else status.retained_bytes,
            microscope_starved=None if status is None else status.starved,
            restorer_frames=state.queue,
            disk_free_bytes=_free(output),
        ),
        restorer=RestorerHealth(
            state=state.state,
            method=None if restored.made_by is None else restored.made_by.method,
            restarts=restored.restarts,
            restored=restored.frames_restored,
            dropped=restored.dropped,
            latency_p50_ms=percentiles.get("p50"),
            latency_p99_ms=percentiles.get("p99"),
        ),
        versions=Versions(software=software(), wire_protocol=PROTOCOL_VERSION, page_protocol=PAGE_PROTOCOL),
        warnings=warnings,
    )


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
