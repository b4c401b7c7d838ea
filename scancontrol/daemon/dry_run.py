"""After a dry run: ``report.json`` and ``summary.png``, from the recording and the simulator's truth."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scancontrol.daemon.closing import Closed
from scancontrol.daemon.moving_truth import MovingTruth
from scancontrol.daemon.restorations import Restorations
from scancontrol.errors import RecordingError
from scancontrol.figures.dry_run import Summary, draw_summary, frame_figures
from scancontrol.files import write_text
from scancontrol.paths import ScanPath, expand
from scancontrol.paths.known import Reach, known_pixels, reach_of, touched_by
from scancontrol.recent import Recent
from scancontrol.recording import RecordingReader
from scancontrol.restoration import Provenance

__all__ = ["RUN_FILE", "Report", "RunFigures", "leave_figures", "write_report"]

_FIGURES = ("rmse_pct", "psnr_db", "interval_coverage_pct", "known_pct", "rmse_whole_field_pct")
_PATHS_KEPT = 16
RUN_FILE = "run.json"
"""What the daemon leaves beside a recording: what only it could measure."""


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon measured while the frames came in. Samples are counted per channel."""

    recording: str
    plan: str
    finish_reason: str
    frames: int
    samples_sent: int
    samples_received: int
    samples_lost: int
    samples_duplicate: int
    frames_restored: int
    frames_dropped_live: int
    frame_rate_hz: float
    beam_frame_time_ms: float
    restore_latency_ms: dict[str, float] | None
    restore_compute_ms: dict[str, float] | None  # the part of the latency that was spent restoring
    restore_overhead_ms: dict[str, float] | None  # and the rest: queues, links, disk
    made_by: Provenance | None  # of the restoration that came last
    coverage: dict[str, float]
    worst_area_frame_e_per_a2: float
    restorer_restarts: int


def leave_figures(folder: Path, closed: Closed, restored: Restorations) -> int:
    """Write :data:`RUN_FILE` beside the recording of a run that was to end by itself; returns the exit code.

    Raises:
        RecordingError: it ended before all of its frames were taken.
        StorageError: the disk does not take the file.
    """
    run, status, figures = closed.run, closed.status, closed.run.planned.figures
    written = RunFigures(
        recording=run.recording.path.name,
        plan=run.planned.plan.name,
        finish_reason=status.finish_reason or "",
        frames=status.frames_completed,
        samples_sent=status.samples_exposed,
        samples_received=status.samples_received,
        samples_lost=status.samples_lost,
        samples_duplicate=status.samples_duplicate,
        frames_restored=restored.frames_restored,
        frames_dropped_live=restored.dropped,
        frame_rate_hz=status.frame_rate_hz,
        beam_frame_time_ms=figures.beam_frame_time_ms,
        restore_latency_ms=restored.latency.percentiles(),
        restore_compute_ms=restored.compute.percentiles(),
        restore_overhead_ms=restored.overhead.percentiles(),
        made_by=restored.made_by,
        coverage={
            "nominal": figures.coverage_nominal,
            "touched": figures.coverage_touched,
            "dose": figures.coverage_dose,
        },
        worst_area_frame_e_per_a2=figures.worst_area_frame_e_per_a2,
        restorer_restarts=restored.restarts,
    )
    write_text(folder / RUN_FILE, msgspec.json.format(msgspec.json.encode(written), indent=2).decode() + "\n")
    if status.finish_reason != "completed":
        raise RecordingError(f"the acquisition ended early ({status.finish_reason}): {status.explanation}")
    return 0


@dataclass(frozen=True)
class Report:
    """Where the report went."""

    json_path: Path
    figure_path: Path
    rmse_pct: tuple[float, ...]  # of each frame that was restored and whose truth is known


def write_report(folder: Path, truth_path: Path) -> Report:
    """Write ``report.json`` and ``summary.png`` into ``folder`` from what the daemon left there.

    Every frame is compared with the truth of that frame, where the simulator states how its specimen moved.

    Raises:
        RecordingError: the recording or the run's figures cannot be read.
    """
    run = _read_run(folder / RUN_FILE)
    with RecordingReader(folder / run.recording) as recording:
        truth = MovingTruth(truth_path, recording.header.shape)
        figures, last = _compare(recording, truth)
        summary = _summarise(recording, run, truth, last, figures)
    report = {**msgspec.to_builtins(run), **figures}
    json_path, figure_path = folder / "report.json", folder / "summary.png"
    write_text(json_path, json.dumps(report, indent=2) + "\n")
    draw_summary(summary, figure_path)
    return Report(json_path, figure_path, tuple(each["rmse_pct"] for each in figures["by_frame"]))


def _read_run(path: Path) -> RunFigures:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunFigures)
    except (OSError, msgspec.MsgspecError) as error:
        raise RecordingError(f"{path} cannot be read: {error}; did the daemon end before its first frame?") from error


def _compare(recording: RecordingReader, truths: MovingTruth) -> tuple[dict[str, Any], int | None]:
    """Errors over all stored restorations where they are known, and in the whole field; the last frame that has one."""
    rmse: list[float] = []
    by_frame: list[dict[str, float]] = []
    whole: list[float] = []
    share: list[float] = []
    reaches: Recent[str, Reach] = Recent(_PATHS_KEPT)
    last: int | None = None
    held = total = 0
    for frame in recording.frames:
        stored = recording.restoration(frame.frame)
        if stored is None:
            continue
        last = frame.frame
        truth = truths.of(frame.frame)
        if truth is None:
            continue
        path = expand(recording.recipe(frame.frame))
        reach = reaches.made(path.path_id, partial(_reach_of, path))
        known = known_pixels(reach, stored.interval)
        rmse.append(frame_figures(truth, stored.estimate, known).rmse_pct)
        by_frame.append({"frame": frame.frame, "rmse_pct": rmse[-1]})
        whole.append(frame_figures(truth, stored.estimate).rmse_pct)
        share.append(float(known.mean()))
        if stored.interval is not None:
            held += int(np.count_nonzero((np.abs(stored.estimate - truth) <= stored.interval)[known]))
            total += int(known.sum())
    if not rmse:
        return {**dict.fromkeys(_FIGURES), "by_frame": by_frame}, last
    psnr = [math.inf if value == 0 else -20 * math.log10(value / 100) for value in rmse]
    found = (
        float(np.mean(rmse)),
        float(np.mean(psnr)),
        100 * held / total if total else None,
        100 * float(np.mean(share)),
        float(np.mean(whole)),
    )
    return {**dict(zip(_FIGURES, found, strict=True)), "by_frame": by_frame}, last


def _reach_of(path: ScanPath) -> Reach:
    return reach_of(touched_by(path))


def _summarise(
    recording: RecordingReader, run: RunFigures, truths: MovingTruth, last: int | None, figures: dict[str, Any]
) -> Summary:
    from scancontrol.figures.recording import partial_of  # with a library that a daemon has no other use for

    frame = last if last is not None else recording.frames[-1].frame
    samples, weight, _ = partial_of(recording, frame)
    stored = recording.restoration(frame)
    rows, cols = recording.header.shape
    coverage = run.coverage
    latency = run.restore_latency_ms
    lines = [
        f"coverage   nominal 1/{1 / coverage['nominal']:.1f}   touched 1/{1 / coverage['touched']:.2f}"
        f"   dose 1/{1 / coverage['dose']:.2f}        dose {run.worst_area_frame_e_per_a2:.3g} e/Å² a frame"
        " in the worst area",
        f"beam       {run.beam_frame_time_ms:.1f} ms a frame, {run.frame_rate_hz:.2f} frames/s"
        f"        samples sent {run.samples_sent}, received {run.samples_received}, lost {run.samples_lost}",
        f"restored   {run.frames_restored} of {run.frames} frames"
        + (f", latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms" if latency else "")
        + (
            f"        all frames: {figures['rmse_pct']:.2f} % RMSE, {figures['psnr_db']:.1f} dB"
            + (
                f" where something is known, {figures['rmse_whole_field_pct']:.2f} % of the whole field"
                if figures["known_pct"] < 100
                else ""
            )
            if figures["rmse_pct"] is not None
            else ""
        ),
    ]
    made_by = None if stored is None else stored.made_by
    if made_by is not None and made_by.withheld_rmse is not None:
        error = f"error      {made_by.withheld_rmse:.4g} counts RMSE on samples kept from the restorer"
        if made_by.expected_rmse is not None:
            error += f"; carried over to every pixel {made_by.expected_rmse:.4g}"
        lines.append(error)
    return Summary(
        title=f"{recording.header.name} · {rows} × {cols} px · frame {frame}",
        truth=truths.of(frame),
        partial=samples,
        weight=weight,
        estimate=None if stored is None else stored.estimate,
        interval=None if stored is None else stored.interval,
        method="" if made_by is None else f"{made_by.method} ({made_by.face})",
        fov_nm=recording.header.fov_nm,
        caption="\n".join(lines),
        known=known_pixels(reach_of(weight > 0), None if stored is None else stored.interval),
        outline=recording.recipe(frame).placement.outline(),
    )
