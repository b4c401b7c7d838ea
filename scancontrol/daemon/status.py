"""One snapshot of the whole, for the page: put together from what each part says of itself."""

from __future__ import annotations

from pathlib import Path

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.latency import LatencyWindow
from scancontrol.daemon.page.messages import MicroscopeState, RestorerState, StatusView
from scancontrol.plan.planned import PlanFigures
from scancontrol.wire.messages import Status

__all__ = ["status_view"]


def status_view(
    *,
    plans: tuple[str, ...],
    figures: PlanFigures | None,
    acquisition: AcquisitionStatus | None,
    microscope: Status | None,
    microscope_name: str,
    address: str,
    connected: bool,
    restorer: RestorerState,
    method: str | None,
    face: str | None,
    latency: LatencyWindow,
    dose_area_e_per_a2: float | None,
    origin: str,
    warnings: tuple[str, ...],
) -> StatusView:
    """The page's snapshot. What nobody knows stays None, and the page shows a dash."""
    percentiles = latency.percentiles() or {}
    known = acquisition or AcquisitionStatus()
    recording: Path | None = known.recording
    return StatusView(
        phase=known.phase.value,
        reason=known.finish_reason,
        plan=figures.plan if figures else None,
        plans=plans,
        pattern=figures.pattern if figures else None,
        frame=known.frame,
        frames=known.frames_planned,
        frame_rate_hz=known.frame_rate_hz or None,
        beam_frame_time_ms=figures.beam_frame_time_ms if figures else None,
        dwell_us=figures.dwell_us if figures else None,
        beam_current_pa=figures.beam_current_pa if figures else None,
        latency_p50_ms=percentiles.get("p50"),
        latency_p99_ms=percentiles.get("p99"),
        dose_frame_e_per_a2=figures.dose_frame_e_per_a2 if figures else None,
        dose_area_e_per_a2=dose_area_e_per_a2,
        dose_limit_e_per_a2=figures.dose_limit_e_per_a2 if figures else None,
        dose_saved_fraction=1 - figures.coverage_dose if figures else None,
        coverage_nominal=figures.coverage_nominal if figures else None,
        coverage_touched=figures.coverage_touched if figures else None,
        coverage_dose=figures.coverage_dose if figures else None,
        samples_sent=known.samples_exposed,
        samples_received=known.samples_received,
        samples_lost=known.samples_lost,
        samples_late=known.samples_duplicate + known.chunks_out_of_turn,
        saturation_counts=figures.saturation_counts if figures else None,
        restorer=restorer,
        microscope=MicroscopeState(
            connected=connected,
            blanked=None if microscope is None else not microscope.beam_on,
            name=microscope_name,
            address=address,
            operator=None if microscope is None else microscope.operator,
        ),
        recording=recording.name if recording is not None else None,
        face=face,
        method=method,
        origin="simulation" if origin == "simulation" else "experiment",
        warnings=warnings,
    )
