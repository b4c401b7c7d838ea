"""The figures of an evaluation: panels with insets, errors against distance and coverage, intervals that hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw_all"]

Pictures = Mapping[tuple[str, str, float, str], Mapping[str, np.ndarray]]
_INSET = 96  # px of the image's side that an inset shows


def draw_all(out: Path, rows: Sequence[dict[str, Any]], pictures: Pictures) -> list[Path]:
    """Write every figure that the rows allow into ``out``; returns their paths.

    ``pictures`` are those of each set, pattern, coverage and method. Of a specimen only the panels are drawn.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    made = []
    for key in dict.fromkeys((row["set"], row["pattern"], row["coverage"]) for row in rows):
        group = sorted(
            (row for row in rows if (row["set"], row["pattern"], row["coverage"]) == key),
            key=lambda row: row["rmse_pct"],
        )
        stem = f"{key[0]}-{key[1]}-1-{round(1 / key[2])}"
        shown = {row["method"]: pictures[*key, row["method"]] for row in group}
        made.append(_panels(out / f"panels-{stem}.png", group, shown))
        if not group[0]["of_specimens"]:
            made.append(_distance(out / f"distance-{stem}.png", group))
            made.append(_error_maps(out / f"errors-{stem}.png", group, shown))
    micrographs = [row for row in rows if not row["of_specimens"]]
    if micrographs:
        made.append(_coverage(out / "error-against-coverage.png", micrographs))
        made.append(_calibration(out / "calibration.png", micrographs))
    return made


def _panels(path: Path, group: Sequence[dict[str, Any]], shown: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Truth, partial scan and every estimate with an inset; below each estimate, where it errs."""
    from matplotlib.figure import Figure

    first = next(iter(shown.values()))
    truth = first["truth"]
    low, high = np.percentile(truth, (0.1, 99.9))
    columns = len(group) + 1
    figure = Figure(figsize=(2.7 * columns, 6.2), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    corner = _busiest(truth)
    _image(axes[0, 0], truth, low, high, "truth", corner)
    partial = np.where(np.isnan(first["partial"]), low, first["partial"])
    _image(axes[1, 0], partial, low, high, f"samples, 1/{1 / group[0]['touched']:.1f} of pixels", corner)
    span = 0.25
    for column, row in enumerate(group, 1):
        estimate = shown[row["method"]]["estimate"]
        error = (estimate - truth) / (high - low)
        rmse = 100 * float(np.sqrt(np.mean(np.square(error))))
        _image(axes[0, column], estimate, low, high, f"{row['method']}\n{rmse:.2f} % on this image", corner)
        drawn = axes[1, column].imshow(100 * error, cmap="RdBu_r", vmin=-100 * span, vmax=100 * span)
        axes[1, column].set_title("estimate − truth", fontsize=9)
        axes[1, column].set_axis_off()
    figure.colorbar(drawn, ax=axes[1, -1], label="% of range", fraction=0.046)
    figure.savefig(path, dpi=110)
    return path


def _busiest(image: np.ndarray) -> tuple[int, int]:
    """Top left corner of the block with the most variance: there an inset shows most."""
    side = min(_INSET, *image.shape)
    best, corner = -1.0, (0, 0)
    for top in range(0, image.shape[0] - side + 1, side):
        for left in range(0, image.shape[1] - side + 1, side):
            variance = float(image[top : top + side, left : left + side].var())
            if variance > best:
                best, corner = variance, (top, left)
    return corner


def _image(axes: Any, image: np.ndarray, low: float, high: float, title: str, corner: tuple[int, int]) -> None:
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    top, left = corner
    inset = axes.inset_axes((0.53, 0.0, 0.47, 0.47))
    inset.imshow(image[top : top + _INSET, left : left + _INSET], cmap="gray", vmin=low, vmax=high)
    inset.set_xticks([])
    inset.set_yticks([])
    for spine in inset.spines.values():
        spine.set_color("tab:orange")
    axes.add_patch(_frame(left, top))


def _frame(left: int, top: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), _INSET, _INSET, fill=False, edgecolor="tab:orange", linewidth=1)


def _distance(path: Path, group: Sequence[dict[str, Any]]) -> Path:
    """Error and interval coverage against the distance to the path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row, style in zip(group, _styles(len(group)), strict=True):
        centres = [(part["from_px"] + part["to_px"]) / 2 for part in row["by_distance"]]
        left.plot(centres, [part["rmse_pct"] for part in row["by_distance"]], label=row["method"], **style)
        inside = [part["interval_coverage_pct"] for part in row["by_distance"]]
        if None not in inside:
            right.plot(centres, inside, **style)
    left.set_xlabel("distance to the nearest sample (px)")
    left.set_ylabel("RMSE (% of range)")
    left.legend(fontsize=7)
    right.axhline(90, color="black", linewidth=0.8, linestyle=":")
    right.set_xlabel("distance to the nearest sample (px)")
    right.set_ylabel("true pixels within the 90 % interval (%)")
    head = group[0]
    figure.suptitle(f"{head['pattern']}, 1/{1 / head['coverage']:.4g} of pixels, {head['images']} images", fontsize=10)
    figure.savefig(path, dpi=110)
    return path


def _error_maps(path: Path, group: Sequence[dict[str, Any]], shown: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """Mean squared error of each pixel over the images of the first one's size: what of it has the path's structure.

    As in the poster, each map is shown about its own mean; the numbers beside it say what that is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.7 * len(group), 3.2), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(group), squeeze=False)[0], group, strict=True):
        square = shown[row["method"]]["mean_square"]
        mean, spread = float(square.mean()), float(square.std())
        axes.imshow(square, cmap="inferno", vmin=mean - 2 * spread, vmax=mean + 2 * spread, interpolation="nearest")
        title = f"{row['method']}\nmean {100 * mean**0.5:.2f} %, varies by {100 * spread / mean:.0f} %"
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(path, dpi=110)
    return path


def _styles(count: int) -> list[dict[str, Any]]:
    shape = {"markersize": 3, "linewidth": 1.2}
    return [{"color": f"C{at % 10}", "marker": "os^vD<>"[at % 7], **shape} for at in range(count)]


def _coverage(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Error against the fraction of pixels touched, one panel for each pattern."""
    from matplotlib.figure import Figure

    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(4.6 * len(patterns), 3.8), layout="constrained")
    axes = figure.subplots(1, len(patterns), squeeze=False, sharey=True)[0]
    for panel, pattern in zip(axes, patterns, strict=True):
        for method, style in zip(methods, _styles(len(methods)), strict=True):
            points = sorted(
                (row["touched"], row["rmse_pct"])
                for row in rows
                if row["pattern"] == pattern and row["method"] == method
            )
            panel.plot(*zip(*points, strict=True), label=method, **style)
        ticks = sorted({row["touched"] for row in rows if row["pattern"] == pattern})
        panel.set_xscale("log")
        panel.set_xticks(ticks, [f"1/{1 / tick:.3g}" for tick in ticks])
        panel.minorticks_off()
        panel.set_title(pattern, fontsize=10)
        panel.set_xlabel("pixels touched")
    axes[0].set_ylabel("RMSE (% of the truth's range)")
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    return path


def _calibration(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """For each method the interval coverage of every image, sorted: how often, and how far, 90 % is missed."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for method, style in zip(methods, _styles(len(methods)), strict=True):
        images = [image for row in rows if row["method"] == method for image in row["by_image"].values()]
        stated = [image["interval_coverage_pct"] for image in images]
        inside = sorted(value for value in stated if value is not None)
        if inside:
            left.plot(np.linspace(0, 100, len(inside)), inside, label=method, **style)
        pairs = [(i["expected_rmse_pct"], i["rmse_pct"]) for i in images if i["expected_rmse_pct"] is not None]
        if pairs:
            right.plot(*zip(*pairs, strict=True), linestyle="", label=method, **{**style, "linewidth": 0})
    left.axhline(90, color="black", linewidth=0.8, linestyle=":")
    left.set_xlabel("images, sorted (%)")
    left.set_ylabel("true pixels within the 90 % interval (%)")
    left.legend(fontsize=7)
    reach = max(right.get_xlim()[1], right.get_ylim()[1])
    right.plot((0, reach), (0, reach), color="black", linewidth=0.8, linestyle=":")
    right.set_xlabel("error to expect, from withheld samples and interval (%)")
    right.set_ylabel("true error (%)")
    figure.savefig(path, dpi=110)
    return path
