"""The figure of a scan plan: the path coloured by time, where the beam dwells, and what it costs beside a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.dose.electrons import dwell_map_us
from scancontrol.paths.path import ScanPath
from scancontrol.paths.pattern import CONTINUOUS
from scancontrol.plan.figures import PathFigures
from scancontrol.plan.planned import PlannedScan
from scancontrol.units import per_a2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_plan", "save_plan_figure"]

INK, FAINT, PAPER, ACCENT, GREY = "#1b2430", "#8a94a3", "#ffffff", "#c2410c", "#94a3b8"
DRAWN_SAMPLES = 60_000
"""Paths with more samples are drawn as their central part, where the samples can still be told apart."""

MAPPED_CELLS = 128
"""The dwell map shows means over so many cells across: single lines of pixels would hardly be seen."""


def save_plan_figure(planned: PlannedScan, path: Path) -> None:
    """Write :func:`draw_plan` as an image.

    Raises:
        OSError, ValueError: it cannot be written.
    """
    figure = draw_plan(planned)
    figure.savefig(path, dpi=150, facecolor=PAPER)


def draw_plan(planned: PlannedScan) -> Figure:
    """One row for each pattern (at most six): path, dwell map, figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = planned.patterns[:6]
    figure = Figure(figsize=(13.6, 0.9 + 4.55 * len(shown)), facecolor=PAPER)
    FigureCanvasAgg(figure)
    top = 1 - 0.62 / figure.get_figheight()
    grid = figure.add_gridspec(
        len(shown),
        3,
        left=0.045,
        right=0.985,
        bottom=0.45 / figure.get_figheight(),
        top=top - 0.28 / figure.get_figheight(),
        wspace=0.14,
        hspace=0.26,
        width_ratios=(1, 1, 0.98),
    )
    plan = planned.plan
    figure.text(0.045, top + 0.18 / figure.get_figheight(), plan.name, fontsize=15, fontweight="bold", color=INK)
    figure.text(
        0.985,
        top + 0.18 / figure.get_figheight(),
        f"{plan.shape[0]} × {plan.shape[1]} px · {plan.fov_nm:g} nm · dwell {plan.dwell_us:g} µs · "
        f"{planned.beam_current_pa:g} pA · {planned.capabilities.name}",
        fontsize=10,
        color=FAINT,
        ha="right",
    )
    for row, one in enumerate(shown):
        path = planned.path(row)
        _draw_path(figure.add_subplot(grid[row, 0]), one, path)
        _draw_dwell(figure.add_subplot(grid[row, 1]), path)
        _draw_figures(figure.add_subplot(grid[row, 2]), one, planned.raster)
    return figure


def _axes(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=7)
    axes.tick_params(colors=FAINT, labelsize=8, length=3)
    for spine in axes.spines.values():
        spine.set_color("#cbd5e1")


def _window(path: ScanPath) -> tuple[float, float, float, float]:
    """(y0, y1, x0, x1) in nm of the part of the field that is drawn: all, or the middle of dense paths."""
    height_nm, width_nm = path.recipe.pixel_size_nm * path.shape[0], path.fov_nm
    share = min(1.0, (DRAWN_SAMPLES / path.count) ** 0.5)
    if share > 0.85:
        return 0.0, height_nm, 0.0, width_nm
    region = path.recipe.region
    y, x = (region.y + region.height / 2) * height_nm, (region.x + region.width / 2) * width_nm
    half_y, half_x = share * region.height * height_nm / 2, share * region.width * width_nm / 2
    return y - half_y, y + half_y, x - half_x, x + half_x


def _draw_path(axes: Axes, one: PathFigures, path: ScanPath) -> None:
    """Exposed strokes coloured by time; lone samples as dots; blanked moves as faint lines where there are few."""
    from matplotlib.collections import LineCollection

    y0, y1, x0, x1 = _window(path)
    size_nm = np.array([path.recipe.pixel_size_nm * path.shape[0], path.fov_nm])
    positions, times, kinds = _visible(path, size_nm, (y0, y1, x0, x1))
    whole = (y1 - y0) >= size_nm[0] * 0.999
    _axes(axes, f"{one.title}: path, by time" + ("" if whole else "  (centre)"))
    points_per_nm = 265 / (x1 - x0)
    width = float(np.clip(0.75 * points_per_nm * path.recipe.pixel_size_nm, 0.45, 3.0))
    end_ms = path.duration_us / 1e3
    drawn = kinds[1:] == CONTINUOUS
    segments = np.stack([positions[:-1, ::-1], positions[1:, ::-1]], axis=1)
    if (~drawn).sum() < 3000:
        axes.add_collection(LineCollection(list(segments[~drawn]), colors="#d5dbe3", linewidths=0.35, zorder=1))
    mappable: Any
    if drawn.sum() > 0.3 * len(drawn):
        strokes = LineCollection(list(segments[drawn]), cmap="viridis", linewidths=width, zorder=2, capstyle="round")
        strokes.set_array(times[1:][drawn])
        mappable = axes.add_collection(strokes)
    else:
        mappable = axes.scatter(
            positions[:, 1],
            positions[:, 0],
            c=times,
            s=max(1.0, (1.25 * width) ** 2),
            cmap="viridis",
            linewidths=0,
            zorder=2,
        )
    mappable.set_clim(0, end_ms)
    axes.set(xlim=(x0, x1), ylim=(y1, y0), aspect="equal")
    axes.set_xlabel("x (nm)", fontsize=8.5, color=FAINT)
    axes.set_ylabel("y (nm)", fontsize=8.5, color=FAINT)
    _colour_bar(axes, mappable, "ms")


def _visible(
    path: ScanPath, size_nm: NDArray[np.float64], window: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Samples inside the window: positions (n, 2) in nm, times (n,) in ms, and kinds; a gap counts as a move."""
    y0, y1, x0, x1 = window
    positions, times, kinds = [], [], []
    clock_us, inside_before = 0.0, False
    for chunk in path.chunks():
        at_nm = chunk.positions * size_nm
        begin = clock_us + np.cumsum(chunk.move_us + chunk.dwell_us) - chunk.dwell_us
        clock_us = float(begin[-1] + chunk.dwell_us[-1])
        inside = (at_nm[:, 0] >= y0) & (at_nm[:, 0] <= y1) & (at_nm[:, 1] >= x0) & (at_nm[:, 1] <= x1)
        kind = chunk.kind.copy()
        kind[~np.concatenate([[inside_before], inside[:-1]])] = 1
        inside_before = bool(inside[-1])
        positions.append(at_nm[inside])
        times.append(begin[inside] / 1e3)
        kinds.append(kind[inside])
    return np.concatenate(positions), np.concatenate(times), np.concatenate(kinds)


def _draw_dwell(axes: Axes, path: ScanPath) -> None:
    """Dwell in each pixel, or its mean over blocks where the frame has more pixels than the figure."""
    dwell = dwell_map_us(path)
    block = max(1, -(-max(dwell.shape) // MAPPED_CELLS))
    if block > 1:
        rows, cols = (-(-n // block) * block for n in dwell.shape)
        dwell = np.pad(dwell, ((0, rows - dwell.shape[0]), (0, cols - dwell.shape[1])))
        dwell = dwell.reshape(rows // block, block, cols // block, block).mean(axis=(1, 3))
    _axes(axes, f"dwell, mean of {block} × {block} px" if block > 1 else "dwell")
    height_nm = path.recipe.pixel_size_nm * path.shape[0]
    touched = dwell[dwell > 0]
    top = float(np.quantile(touched, 0.995)) if len(touched) else 1.0
    image = axes.imshow(
        dwell, cmap="magma", vmin=0, vmax=top, extent=(0, path.fov_nm, height_nm, 0), interpolation="nearest"
    )
    axes.set_xlabel("x (nm)", fontsize=8.5, color=FAINT)
    axes.tick_params(labelleft=False)  # the same as the path's beside it
    _colour_bar(axes, image, "µs/px")


def _colour_bar(axes: Axes, mappable: Any, label: str) -> None:
    bar = axes.figure.colorbar(mappable, ax=axes, fraction=0.042, pad=0.025)
    bar.ax.set_title(label, fontsize=8.5, color=FAINT, pad=5, loc="left")
    bar.ax.tick_params(colors=FAINT, labelsize=8, length=2)
    bar.outline.set_visible(False)


def _draw_figures(axes: Axes, one: PathFigures, raster: PathFigures) -> None:
    """The three coverages as bars on a logarithmic scale, and time and dose beside a full raster's."""
    coverage = one.coverage
    axes.set_title("what it costs, beside a full raster", fontsize=10.5, color=INK, loc="left", pad=7)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    bars = (("nominal", coverage.nominal), ("touched", coverage.touched), ("dose", coverage.dose))
    for i, (name, value) in enumerate(bars):
        y = 0.93 - 0.1 * i
        # From 1/1000 to 1, so that a tenth and a hundredth can be told apart.
        length = float(np.clip(1 + np.log10(max(value, 1e-9)) / 3, 0.005, 1)) * 0.42
        axes.barh(y, 0.42, left=0.24, height=0.055, color="#eef2f6")
        axes.barh(y, length, left=0.24, height=0.055, color=ACCENT if name == "dose" else "#334e7e")
        axes.text(0.0, y, name, fontsize=10, color=INK, va="center")
        axes.text(0.7, y, f"1/{1 / value:.2f}", fontsize=10.5, color=INK, va="center", fontweight="bold")
        axes.text(1.0, y, f"{value:.2%}", fontsize=9, color=FAINT, va="center", ha="right")
    axes.text(0.24, 0.655, "1/1000", fontsize=7, color=FAINT)
    axes.text(0.66, 0.655, "1", fontsize=7, color=FAINT, ha="right")
    lines = (
        ("", one.title.split(",")[0], "full raster"),
        ("samples", f"{one.samples:,}", f"{raster.samples:,}"),
        ("frame", f"{one.duration_us / 1e3:,.1f} ms", f"{raster.duration_us / 1e3:,.1f} ms"),
        ("blanked", f"{one.overhead:.1%}", f"{raster.overhead:.1%}"),
        ("dose, mean", per_a2(one.dose.mean_e_per_a2), per_a2(raster.dose.mean_e_per_a2)),
        ("dose, worst area", per_a2(one.dose.worst_area_e_per_a2), per_a2(raster.dose.worst_area_e_per_a2)),
        ("fastest drawn", f"{one.motion.fastest_px_per_us:.2g} px/µs", f"{raster.motion.fastest_px_per_us:.2g} px/µs"),
        ("coil lag, rms", f"{one.motion.lag_rms_px:.2f} px", f"{raster.motion.lag_rms_px:.2f} px"),
    )
    for i, (label, ours, theirs) in enumerate(lines):
        y = 0.565 - 0.076 * i
        axes.text(0.0, y, label, fontsize=9.5, color=FAINT, va="center")
        axes.text(
            0.68, y, ours, fontsize=9.5, color=INK, va="center", ha="right", fontweight="bold" if i == 0 else None
        )
        axes.text(1.0, y, theirs, fontsize=9.5, color=FAINT, va="center", ha="right")
        axes.plot([0, 1], [y - 0.038, y - 0.038], color="#e2e8f0", linewidth=0.6)
