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
    """What :func:`draw_summary` draws. Images are ``(rows, cols)`` in sample units; ``weight`` is 0 off the path.

    ``known`` is where the samples tell of the specimen; ``outline`` the corners (4, 2) of the scan's region, (y, x) in
    fractions, None where that is the whole field.
    """

    title: str
    truth: Image | None
    partial: Image
    weight: Image
    estimate: Image | None
    interval: Image | None
    method: str
    fov_nm: float
    caption: str
    known: NDArray[np.bool_]
    outline: NDArray[np.float64] | None = None


def _truth_scale(truth: Image) -> tuple[float, float]:
    low, high = np.percentile(truth, (0.1, 99.9))
    return float(low), float(max(high - low, np.finfo(np.float32).tiny))


def frame_figures(truth: Image, estimate: Image, known: NDArray[np.bool_] | None = None) -> FrameFigures:
    """RMSE in percent of the truth's 0.1–99.9 percentile range, and the PSNR that follows from it.

    Of the pixels ``known``, bool (rows, cols), where these are given; the range is that of the whole field.
    """
    _, span = _truth_scale(truth)
    error = (estimate - truth) / span
    rmse = float(np.sqrt(np.mean((error if known is None else error[known]) ** 2, dtype=np.float64)))
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


_CELL_INCHES = 4.9  # width of a panel's image
_BAR, _GAP, _TITLE, _LINE = 0.75, 0.25, 0.36, 0.24  # inches: for a colour bar, between panels, above one, of caption


class _Page:
    """A page of panels of one size, aligned and filling it. They are taken row by row."""

    def __init__(self, panels: int, shape: tuple[int, int], title: str, caption: str, *, bars: bool) -> None:
        from matplotlib.figure import Figure

        columns = panels if panels <= 3 else -(-panels // 2)
        rows = -(-panels // columns)
        self._image = (_CELL_INCHES, _CELL_INCHES * min(max(shape[0] / shape[1], 0.4), 1.6))
        self._bar = _BAR if bars else 0.0
        self._cell = (self._image[0] + self._bar + _GAP, self._image[1] + _TITLE + _GAP)
        below = _LINE * (1 + caption.count("\n")) + _GAP
        self._size = (columns * self._cell[0] + _GAP, rows * self._cell[1] + below + 0.25)
        self._columns, self._taken, self._below, self._rows = columns, 0, below, rows
        self.figure = Figure(figsize=self._size)
        self.figure.text(_GAP / self._size[0], 1 - 0.12 / self._size[1], title, fontsize=15, va="top", weight="bold")
        self.figure.text(
            _GAP / self._size[0], (below - 0.1) / self._size[1], caption, fontsize=11, va="top", family="monospace"
        )

    def next(self, *, plot: bool = False) -> Axes:
        """The next panel: an image with room for its colour bar beside it, or a ``plot`` that fills both."""
        row, column = divmod(self._taken, self._columns)
        self._taken += 1
        left = _GAP + column * self._cell[0] + (0.55 if plot else 0)
        bottom = self._below + (self._rows - 1 - row) * self._cell[1] + (0.45 if plot else 0)
        width = self._image[0] + (self._bar - 1.2 if plot else 0)
        height = self._image[1] - (0.45 if plot else 0)
        return self.figure.add_axes(
            (left / self._size[0], bottom / self._size[1], width / self._size[0], height / self._size[1])
        )


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


def _show(
    axes: Axes,
    image: Image,
    title: str,
    summary: Summary,
    limits: tuple[float, float],
    cmap: str,
    known: NDArray[np.bool_] | None = None,
) -> None:
    """One image; no picture but the colour of what was never visited where nothing is ``known``."""
    fov_nm = summary.fov_nm
    image = image if known is None else np.where(known, image, np.float32(np.nan))
    drawn = axes.imshow(image, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axes.set_facecolor(_NEVER_VISITED)
    if summary.outline is not None:
        y, x = (np.vstack([summary.outline, summary.outline[:1]]) * image.shape - 0.5).T
        axes.plot(x, y, color="#78aaff", lw=1.2)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    _draw_scale_bar(axes, (image.shape[0], image.shape[1]), fov_nm)
    if cmap != "gray":
        bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.0, 0.035, 1.0)))
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
    """Write one PNG: truth, partial scan, restoration, interval, difference, error against distance to the path.

    What there is not takes no place.
    """
    estimate, truth = summary.estimate, summary.truth
    shown = truth if truth is not None else (estimate if estimate is not None else summary.partial)
    low, high = np.percentile(shown, (0.1, 99.9))
    limits = (float(low), float(max(high, low + 1e-6)))
    with_interval = estimate is not None and summary.interval is not None
    panels = 1 + (truth is not None) + (estimate is not None) + with_interval
    panels += 2 * (estimate is not None and truth is not None)
    bars = with_interval or (estimate is not None and truth is not None)
    page = _Page(panels, (shown.shape[0], shown.shape[1]), summary.title, summary.caption, bars=bars)
    if truth is not None:
        _show(page.next(), truth, "Truth (the simulator's expectation)", summary, limits, "gray")
    touched = summary.weight > 0
    seen, larger = _visible_samples(summary.partial, touched)
    drawn = ", drawn larger than they are" if larger else ""
    title = f"Partial scan: {100 * touched.mean():.2f} % of pixels{drawn}"
    _show(page.next(), seen, title, summary, limits, "gray")
    if estimate is not None:
        _draw_restored(page, summary, estimate, limits)
    page.figure.savefig(path, dpi=90)


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


def _draw_restored(page: _Page, summary: Summary, estimate: Image, limits: tuple[float, float]) -> None:
    known, truth = summary.known, summary.truth
    _show(page.next(), estimate, f"Restored: {summary.method}", summary, limits, "gray", known)
    if summary.interval is not None:
        top = float(np.percentile(summary.interval[known] if known.any() else summary.interval, 99.5))
        _show(page.next(), summary.interval, "Half-width of the 90 % interval", summary, (0, top), "viridis", known)
    if truth is None:
        return
    difference = estimate - truth
    reach = float(np.percentile(np.abs(difference[known]) if known.any() else np.abs(difference), 99.5)) or 1.0
    _show(page.next(), difference, "Restored − truth", summary, (-reach, reach), "RdBu_r", known)
    axes = page.next(plot=True)
    distance, rmse = error_by_distance(truth, estimate, summary.weight)
    _draw_shares(axes, summary.weight, int(distance.max(initial=0)))
    axes.plot(distance, rmse, "o-", ms=5, lw=1.5, color="#1f5fa8")
    axes.set_xlabel("distance to the nearest touched pixel / px", fontsize=11)
    axes.set_ylabel("RMSE / % of the truth's range", fontsize=11)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figures = frame_figures(truth, estimate, known if known.any() else None)
    told = f"Error against distance: RMSE {figures.rmse_pct:.2f} %, {figures.psnr_db:.1f} dB"
    if not known.all():
        told += f"; whole field {frame_figures(truth, estimate).rmse_pct:.2f} %"
    axes.set_title(told, fontsize=11, loc="left")
