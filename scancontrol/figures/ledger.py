"""The dose map of a specimen as a picture: where the electrons went, in e/Å², on the specimen's own scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scancontrol.dose.ledger.area import Patch
from scancontrol.dose.ledger.state import LedgerState

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_ledger", "rendered", "save_ledger_figure"]

_PIXELS = 768
_MARGIN = 0.06


def save_ledger_figure(state: LedgerState, path: Path) -> None:
    """Write :func:`draw_ledger`.

    Raises:
        OSError, ValueError: it cannot be written.
    """
    draw_ledger(state).savefig(path, dpi=150)


def extent_nm(state: LedgerState) -> tuple[float, float, float, float]:
    """(top, bottom, left, right) of all places, squared up, with a margin; y grows downwards."""
    spans = [(p.stage_nm[0], p.stage_nm[1], p.fov_nm / 2) for p in state.places.values()] or [(0.0, 0.0, 50.0)]
    top, left = min(y - half for y, _, half in spans), min(x - half for _, x, half in spans)
    bottom, right = max(y + half for y, _, half in spans), max(x + half for _, x, half in spans)
    side = max(bottom - top, right - left) * (1 + 2 * _MARGIN)
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    return middle_y - side / 2, middle_y + side / 2, middle_x - side / 2, middle_x + side / 2


def rendered(
    state: LedgerState, extent: tuple[float, float, float, float], pixels: int = _PIXELS
) -> NDArray[np.float64]:
    """The map over ``extent`` as (pixels, pixels) in e/Å²; a pixel shows the highest dose of the cells in it."""
    top, bottom, left, right = extent
    level = int(np.ceil(np.log2((bottom - top) / pixels)))
    side = 2.0**level
    row, col = int(np.floor(top / side)), int(np.floor(left / side))
    shape = (int(np.ceil(bottom / side)) - row, int(np.ceil(right / side)) - col)
    seen: NDArray[np.float64] = state.area.under(Patch(level, row, col, np.zeros(shape)))
    y = np.floor((top + (np.arange(pixels) + 0.5) / pixels * (bottom - top)) / side).astype(int) - row
    x = np.floor((left + (np.arange(pixels) + 0.5) / pixels * (right - left)) / side).astype(int) - col
    return seen[np.ix_(np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1))]


def draw_ledger(state: LedgerState) -> Figure:
    """The whole specimen as far as it was scanned, and beside it the place that was scanned last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.4, 5.9), layout="constrained")
    FigureCanvasAgg(figure)
    last = max(state.places.values(), key=lambda place: place.last_utc_ns, default=None)
    views = [("every place", extent_nm(state))]
    if last is not None:
        half = last.fov_nm / 2 * (1 + 2 * _MARGIN)
        y, x = last.stage_nm
        views.append((f"scanned last: y {y / 1e3:g} µm, x {x / 1e3:g} µm", (y - half, y + half, x - half, x + half)))
    worst = state.area.worst_e_per_a2()
    whole = rendered(state, views[0][1])
    lowest = max(float(np.min(whole, where=whole > 0, initial=worst)), worst * 1e-5, 1e-30)
    for number, (title, extent) in enumerate(views):
        axes = figure.add_subplot(1, 2, number + 1)
        top, bottom, left, right = extent
        unit, name = (1e3, "µm") if bottom - top > 2e3 else (1.0, "nm")
        dose = np.ma.masked_less_equal(rendered(state, extent), 0)
        shown = axes.imshow(
            dose,
            extent=(left / unit, right / unit, bottom / unit, top / unit),
            cmap="inferno_r",
            norm=LogNorm(lowest, max(worst, 10 * lowest)),
            interpolation="nearest",
        )
        axes.set_facecolor("#f1f5f9")
        axes.set(title=title, xlabel=f"x ({name})", ylabel=f"y ({name})")
        figure.colorbar(shown, ax=axes, label="dose (e/Å²)", shrink=0.86)
    figure.suptitle(
        f"specimen {state.specimen}: {state.frames} frames, {state.electrons:.4g} electrons, "
        f"{worst:.4g} e/Å² at the most exposed cell",
        fontsize=12,
    )
    return figure
