"""What a dry run shows for itself: figures against the simulator's truth, and one picture of the last frame.

Only a dry run has a truth. Images are scaled so that the truth's 0.1 and 99.9 percentiles are 0 and 1, and
estimates by the same map, so that an error of intensity counts as an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scancontrol.units import length_label, scale_bar_nm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FrameFigures", "Summary", "draw_summary", "error_by_distance", "frame_figures"]

Image = NDArray[np.float32]

_NEVER_VISITED = "#16233a"  # a blue, so that dark specimen and missing sample are never confused
_PANEL_DOTS = 400  # about how wide a panel is drawn


@dataclass(frozen=True)
class FrameFigures:
    """Errors of one estimate against the truth, on the truth's percentile scale."""

    rmse_pct: float
    psnr_db: float


@dataclass(frozen=True)
class Summary:
    """What :func:`draw_summary` draws. Images are ``(rows, cols)`` in sample units; ``weight`` is 0 off the path."""

    title: str
    truth: Image | None
    partial: Image
    weight: Image
    estimate: Image | None
    interval: Image | None
    method: str
    fov_nm: float
    caption: str


def _truth_scale(truth: Image) -> tuple[float, float]:
    low, high = np.percentile(truth, (0.1, 99.9))
    return float(low), float(max(high - low, np.finfo(np.float32).tiny))


def frame_figures(truth: Image, estimate: Image) -> FrameFigures:
    """RMSE in percent of the truth's 0.1–99.9 percentile range, and the PSNR that follows from it."""
    _, span = _truth_scale(truth)
    rmse = float(np.sqrt(np.mean(((estimate - truth) / span) ** 2, dtype=np.float64)))
    return FrameFigures(rmse_pct=100 * rmse, psnr_db=math.inf if rmse == 0 else -20 * math.log10(rmse))


def error_by_distance(
    truth: Image, estimate: Image, weight: Image, max_bins: int = 24
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RMSE (percent) of the pixels at each distance (px) to the nearest pixel that the beam touched."""
    from scipy.ndimage import distance_transform_edt  # slow to load, and the daemon never needs it

    _, span = _truth_scale(truth)
    distance = distance_transform_edt(weight <= 0)
    squared = ((estimate - truth) / span).astype(np.float64) ** 2
    index = np.minimum(np.floor(distance).astype(np.int64), max_bins)
    count = np.bincount(index.ravel(), minlength=max_bins + 1)
    total = np.bincount(index.ravel(), squared.ravel(), minlength=max_bins + 1)
    seen = count > 20  # fewer pixels than this say nothing about a distance
    return np.flatnonzero(seen).astype(np.float64), 100 * np.sqrt(total[seen] / count[seen])


def _draw_scale_bar(axes: Axes, shape: tuple[int, int], fov_nm: float) -> None:
    rows, cols = shape
    length = scale_bar_nm(fov_nm)
    width, margin = cols * length / fov_nm, 0.04 * cols
    y = rows - 0.05 * rows
    axes.plot([margin, margin + width], [y, y], color="black", lw=6, solid_capstyle="butt")
    axes.plot([margin + 1, margin + width - 1], [y, y], color="white", lw=3.5, solid_capstyle="butt")
    axes.text(
        margin + width / 2,
        y - 0.025 * rows,
        length_label(length),
        color="white",
        ha="center",
        va="bottom",
        fontsize=10,
        fontweight="bold",
        bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "edgecolor": "none"},
    )


def _show(axes: Axes, image: Image, title: str, fov_nm: float, limits: tuple[float, float], cmap: str) -> None:
    drawn = axes.imshow(image, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    _draw_scale_bar(axes, (image.shape[0], image.shape[1]), fov_nm)
    if cmap != "gray":
        bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02)
        bar.ax.tick_params(labelsize=9)
        bar.set_label("counts", fontsize=9)


def _visible_samples(partial: Image, touched: NDArray[np.bool_]) -> tuple[Image, bool]:
    """The samples, NaN off the path; grown to discs where single pixels would vanish in print. Whether they grew."""
    radius_px = 0.9 * max(touched.shape) / _PANEL_DOTS
    if radius_px < 1:
        return np.where(touched, partial, np.nan).astype(np.float32), False
    from scipy.ndimage import distance_transform_edt

    distance, nearest = distance_transform_edt(~touched, return_indices=True)
    return np.where(distance <= radius_px, partial[tuple(nearest)], np.nan).astype(np.float32), True


def draw_summary(summary: Summary, path: Path) -> None:
    """Write one PNG: truth, partial scan, restoration, interval, difference, error against distance to the path."""
    from matplotlib.figure import Figure

    estimate, truth = summary.estimate, summary.truth
    shown = truth if truth is not None else (estimate if estimate is not None else summary.partial)
    low, high = np.percentile(shown, (0.1, 99.9))
    limits = (float(low), float(max(high, low + 1e-6)))
    figure = Figure(figsize=(16, 10.4), layout="constrained")
    axes = figure.subplots(2, 3)
    figure.suptitle(summary.title, fontsize=15, x=0.01, ha="left", fontweight="bold")

    touched = summary.weight > 0
    if truth is not None:
        _show(axes[0, 0], truth, "Truth (the simulator's expectation)", summary.fov_nm, limits, "gray")
    else:
        axes[0, 0].axis("off")
    seen, larger = _visible_samples(summary.partial, touched)
    drawn = ", drawn larger than they are" if larger else ""
    title = f"Partial scan: {100 * touched.mean():.2f} % of pixels{drawn}"
    _show(axes[0, 1], seen, title, summary.fov_nm, limits, "gray")
    axes[0, 1].set_facecolor(_NEVER_VISITED)
    if estimate is None:
        axes[0, 2].text(0.5, 0.5, "no restoration", ha="center", va="center", fontsize=13)
        for empty in (axes[0, 2], axes[1, 0], axes[1, 1], axes[1, 2]):
            empty.axis("off")
    else:
        _draw_restored(axes, summary, estimate, limits)
    figure.text(0.01, -0.005, summary.caption, fontsize=11, va="top", ha="left", family="monospace")
    figure.savefig(path, dpi=90, bbox_inches="tight", pad_inches=0.2)


def _draw_shares(axes: Axes, weight: Image, furthest_px: int) -> None:
    """Behind the error, how many pixels are so far: the last points are often a few pixels in the corners."""
    from scipy.ndimage import distance_transform_edt

    pixels = np.bincount(np.minimum(distance_transform_edt(weight <= 0).astype(np.int64), furthest_px).ravel())
    behind = axes.twinx()
    behind.bar(np.arange(len(pixels)), 100 * pixels / weight.size, width=0.9, color="#dfe5ec")
    behind.set_ylabel("share of the pixels / % (bars)", fontsize=11, color="#8794a3")
    behind.tick_params(colors="#8794a3")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _draw_restored(axes: NDArray[np.object_], summary: Summary, estimate: Image, limits: tuple[float, float]) -> None:
    _show(axes[0, 2], estimate, f"Restored: {summary.method}", summary.fov_nm, limits, "gray")
    if summary.interval is not None:
        top = float(np.percentile(summary.interval, 99.5))
        _show(axes[1, 0], summary.interval, "Half-width of the 90 % interval", summary.fov_nm, (0, top), "viridis")
    else:
        axes[1, 0].text(0.5, 0.5, "this restorer states no interval", ha="center", va="center", fontsize=12)
        axes[1, 0].axis("off")
    if summary.truth is None:
        axes[1, 1].axis("off")
        axes[1, 2].axis("off")
        return
    difference = estimate - summary.truth
    reach = float(np.percentile(np.abs(difference), 99.5)) or 1.0
    _show(axes[1, 1], difference, "Restored − truth", summary.fov_nm, (-reach, reach), "RdBu_r")
    distance, rmse = error_by_distance(summary.truth, estimate, summary.weight)
    _draw_shares(axes[1, 2], summary.weight, int(distance.max(initial=0)))
    axes[1, 2].plot(distance, rmse, "o-", ms=5, lw=1.5, color="#1f5fa8")
    axes[1, 2].set_xlabel("distance to the nearest touched pixel / px", fontsize=11)
    axes[1, 2].set_ylabel("RMSE / % of the truth's range", fontsize=11)
    axes[1, 2].set_ylim(bottom=0)
    axes[1, 2].grid(alpha=0.3)
    figures = frame_figures(summary.truth, estimate)
    axes[1, 2].set_title(
        f"Error against distance: {figures.rmse_pct:.2f} % RMSE, {figures.psnr_db:.1f} dB", fontsize=11, loc="left"
    )
