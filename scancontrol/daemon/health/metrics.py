"""A snapshot as Prometheus reads it: text exposition format 0.0.4, one gauge or counter a figure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scancontrol.acquisition import Phase
from scancontrol.daemon.snapshot import Snapshot

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Sample = tuple[str, str, str, float | int | None, Mapping[str, str]]


def exposition(snapshot: Snapshot) -> str:
    """The text. Figures that nobody knows are left out rather than given as 0."""
    lines: list[str] = []
    named: set[str] = set()
    for name, kind, text, value, labels in _samples(snapshot):
        if value is None:
            continue
        full = f"scancontrol_{name}"
        if full not in named:
            named.add(full)
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
        inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines.append(f"{full}{{{inside}}} {float(value)!r}" if inside else f"{full} {float(value)!r}")
    return "\n".join(lines) + "\n"


def _samples(s: Snapshot) -> Iterator[_Sample]:
    none: dict[str, str] = {}
    status = s.microscope.status
    yield (
        "info",
        "gauge",
        "Versions, as labels.",
        1,
        {
            "software": s.versions.software,
            "wire_protocol": str(s.versions.wire_protocol),
            "microscope": s.microscope.name or "",
            "method": s.restorer.method or "",
        },
    )
    yield "start_time_seconds", "gauge", "When the daemon started, Unix time.", s.started_utc_ns / 1e9, none
    yield "resident_memory_bytes", "gauge", "Memory of the daemon.", s.rss_bytes, none
    for phase in Phase:
        is_it = int(s.scan.phase is phase)
        yield "phase", "gauge", "1 for the acquisition's phase.", is_it, {"phase": phase.value}
    yield "microscope_connected", "gauge", "Whether the microscope answers.", int(s.microscope.connected), none
    yield "beam_on", "gauge", "Whether the specimen is exposed.", None if status is None else int(status.beam_on), none
    for state in ("asked", "confirmed"):
        is_it = int(s.orders.blank == state)
        yield ("blank", "gauge", "1 where a Blank stands, confirmed by the microscope or not.", is_it, {"is": state})
    yield "clock_offset_seconds", "gauge", "Microscope minus daemon.", _scaled(s.microscope.clock_offset_us), none
    yield (
        "clock_error_seconds",
        "gauge",
        "Bound on the error of the offset.",
        _scaled(s.microscope.clock_error_us),
        none,
    )
    yield "frames_completed", "gauge", "Frames of this acquisition that are whole.", s.scan.frames_completed, none
    yield "frame_rate_hertz", "gauge", "Frames a second.", s.scan.frame_rate_hz or None, none
    for name, count in (
        ("exposed", s.scan.samples_exposed),
        ("received", s.scan.samples_received),
        ("lost", s.scan.samples_lost),
        ("duplicate", s.scan.samples_duplicate),
    ):
        yield "samples", "gauge", "Samples of this acquisition, per channel.", count, {"what": name}
    yield "interruptions", "gauge", "Frames that were interrupted and went on.", s.scan.interruptions, none
    dose = {"specimen": s.dose.specimen}
    yield "dose_area_e_per_a2", "gauge", "Dose of the most exposed cell of this area.", s.dose.area_e_per_a2, dose
    yield "dose_area_limit_e_per_a2", "gauge", "Limit on it.", s.dose.area_limit_e_per_a2, dose
    yield "dose_session_electrons", "gauge", "Electrons of this session.", s.dose.session_electrons, dose
    yield "dose_session_limit_electrons", "gauge", "Limit on it.", s.dose.session_limit_electrons, dose
    yield "dose_electrons_total", "counter", "Electrons that the specimen has had.", s.dose.total_electrons, dose
    yield "dose_assumed_electrons", "gauge", "Of these, counted in full unseen.", s.dose.assumed_electrons, dose
    if status is not None:
        yield "microscope_queued_scans", "gauge", "Scans that wait.", status.queued_scans, none
        yield "microscope_retained_bytes", "gauge", "Samples not acknowledged.", status.retained_bytes, none
        yield "microscope_starved_total", "counter", "Times that the beam waited.", status.starved, none
    yield "restorer_queue", "gauge", "Frames that wait for the restorer.", s.restorer.queue, none
    yield "disk_free_bytes", "gauge", "Room for recordings.", s.disk_free_bytes, none
    yield "restorer_up", "gauge", "Whether the restorer is ready.", int(s.restorer.state == "ready"), none
    yield "restorer_restarts_total", "counter", "Times that it was started again.", s.restorer.restarts, none
    yield "restorer_restored_total", "counter", "Frames restored.", s.restorer.restored, none
    yield "restorer_dropped_total", "counter", "Frames not restored live.", s.restorer.dropped, none
    for quantile, latency in (("0.5", s.restorer.latency_p50_ms), ("0.99", s.restorer.latency_p99_ms)):
        labels = {"quantile": quantile}
        yield "restore_latency_seconds", "gauge", "Last sample to restored frame.", _scaled(latency, 1e-3), labels
    yield "warnings", "gauge", "What is wrong now.", len(s.warnings), none


def _scaled(value: float | None, factor: float = 1e-6) -> float | None:
    return None if value is None else value * factor


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
