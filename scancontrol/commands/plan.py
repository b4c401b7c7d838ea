"""``scancontrol plan``: check a scan plan, say what it costs beside a full raster, and draw it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.files import config_file
from scancontrol.plan.figures import PathFigures
from scancontrol.plan.notes import notes, quantisation
from scancontrol.plan.plan import load_capabilities, load_plan_and_notes
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.need import RecordingNeed
from scancontrol.units import per_a2

__all__ = ["add_parser", "run", "table"]

LABEL, COLUMN = 26, 20
ACROSS = 5
"""Columns to a line of tables; more patterns than that go into another table below."""


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("plan", help="check a scan plan, and what it costs", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the plan, YAML")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw path, dwell and figures into this file")
    parser.add_argument(
        "--microscope",
        type=Path,
        metavar="FILE",
        help="what the microscope states about itself, YAML (default: the shipped microscope.yaml)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the summary, draw the figure; 0, or :class:`InvalidInput` for the command line to turn into 2."""
    if args.plot is not None and not args.plot.parent.is_dir():  # before anything long is computed
        raise InvalidInput(
            "--plot", args.plot, "cannot be written (no such folder)", "give a .png in a folder that exists"
        )
    capabilities = load_capabilities(args.microscope or config_file("microscope.yaml"))
    plan, said = load_plan_and_notes(args.file)
    planned = PlannedScan(plan, capabilities)
    print(table(planned))
    for note in said:
        print(f"positions: {note}")
    if args.plot is not None:
        from scancontrol.figures.plan import save_plan_figure  # matplotlib is slow to load and rarely wanted

        try:
            save_plan_figure(planned, args.plot)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                "--plot", args.plot, f"cannot be written ({error})", "give a .png in a folder that is writable"
            ) from error
        print(f"\ndrawn: {args.plot}")
    return 0


def table(planned: PlannedScan) -> str:
    """The summary as text."""
    plan, microscope = planned.plan, planned.capabilities
    rows, cols = plan.shape
    lines = [
        f"{plan.name} on {microscope.name}",
        f"  frame      {rows} x {cols} px, field of view {plan.fov_nm:g} nm, pixel {plan.fov_nm / cols * 1e3:.4g} pm"
        + (f", turned {plan.rotation_deg:g}°" if plan.rotation_deg else ""),
        f"  beam       {planned.beam_current_pa:g} pA, {microscope.beam_energy_kev:g} keV",
    ]
    region = plan.region
    if (region.height, region.width) != (1, 1):
        lines.append(
            f"  region     y {region.y:g} to {region.y + region.height:g}, x {region.x:g} to "
            f"{region.x + region.width:g} of the field; coverage is counted in it"
        )
    lines += [f"  {'hardware' if i == 0 else '':10} {line}" for i, line in enumerate(quantisation(planned))]
    for first in range(0, len(planned.patterns), ACROSS - 1):
        columns = [*planned.patterns[first : first + ACROSS - 1], planned.raster]
        lines += ["", " " * LABEL + "".join(f"{one.title:>{COLUMN}}" for one in columns)]
        lines += [f"{label:<{LABEL}}" + "".join(f"{of(one):>{COLUMN}}" for one in columns) for label, of in _ROWS]
    raster = planned.raster
    frames = "1 frame" if plan.frames == 1 else f"{plan.frames} frames"
    within = f" within {planned.duration_s:.4g} s" if plan.interval_s else ""
    lines += [
        "",
        f"{frames}: {planned.total_time_s:.4g} s of beam time{within}, "
        f"{per_a2(planned.worst_area_e_per_a2)} in the worst area; the same in full rasters "
        f"{raster.duration_us * plan.frames * 1e-6:.4g} s, {per_a2(raster.dose.worst_area_e_per_a2 * plan.frames)}",
    ]
    lines += [f"recording: {RecordingNeed.of(planned)}"]
    lines += [f"note: {note}" for note in notes(planned)]
    return "\n".join(lines)


def _one_in(coverage: float) -> str:
    return f"{coverage:.2%} = 1/{1 / coverage:.2f}" if coverage else "0"


def _worst_pixel(one: PathFigures) -> str:
    worst = one.dose.worst_pixel_e_per_a2
    return "-" if worst is None else per_a2(worst)


_ROWS: tuple[tuple[str, Callable[[PathFigures], str]], ...] = (
    ("samples", lambda one: f"{one.samples:,}"),
    ("coverage, nominal", lambda one: _one_in(one.coverage.nominal)),
    ("coverage, pixels touched", lambda one: _one_in(one.coverage.touched)),
    ("coverage, dose", lambda one: _one_in(one.coverage.dose)),
    ("frame time", lambda one: f"{one.duration_us / 1e3:,.2f} ms"),
    ("frame rate", lambda one: f"{1e6 / one.duration_us:,.2f} Hz"),
    ("  exposed", lambda one: f"{one.exposure_us / 1e3:,.2f} ms"),
    ("  settling, blanked", lambda one: f"{one.settle_us / 1e3:,.2f} ms"),
    ("  flyback, blanked", lambda one: f"{one.flyback_us / 1e3:,.2f} ms"),
    ("overhead", lambda one: f"{one.overhead:.1%}"),
    ("blanked moves", lambda one: f"{one.moves:,}"),
    ("electrons", lambda one: f"{one.dose.electrons:,.3g}"),
    ("dose, mean of field", lambda one: per_a2(one.dose.mean_e_per_a2)),
    ("dose, worst area", lambda one: per_a2(one.dose.worst_area_e_per_a2)),
    ("dose, worst pixel", _worst_pixel),
    ("fastest drawn", lambda one: f"{one.motion.fastest_px_per_us:.3g} px/µs"),
    ("coil lag, rms (worst)", lambda one: f"{one.motion.lag_rms_px:.2f} ({one.motion.lag_worst_px:.2f}) px"),
)
