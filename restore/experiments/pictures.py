"""Pictures, spectra, error maps and spikes of the runs, drawn from what was kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.experiments.looks import Look, read_look
from restore.experiments.measures import by_distance, spike_steps, transformed
from restore.experiments.plans import BASE, LOOKED
from restore.experiments.results import learning_curve
from restore.experiments.runs import run_folder

__all__ = ["draw_pictures"]

_DPI = 80
_INSET = 64  # px from the top left corner
_TITLES = {
    BASE: "clipping (ALRC)",
    "squared_error_weighted": "running means",
    "alrc_weighted": "both",
    "adversarial": "adversarial",
}
_PAIRS = ((BASE, "squared_error"), ("quartic_alrc", "quartic"))


def draw_pictures(out: Path, seeds: tuple[int, ...]) -> list[Path]:
    """Every figure for which the runs kept enough; pictures are of the first seed, spikes of that with the most."""
    kept = {name: [look for seed in seeds if (look := read_look(run_folder(out, name, seed)))] for name in LOOKED}
    looks = {name: found for name, found in kept.items() if found}
    made = []
    if BASE in looks and "adversarial" in looks:
        made.append(_adversarial(out / "poster-pictures.png", looks[BASE][0], looks["adversarial"][0]))
    if looks:
        made.append(_spectra(out / "poster-spectra.png", looks))
        made.append(_errors(out / "poster-errors.png", looks))
    names = [name for pair in _PAIRS for name in pair]
    curves = [{name: learning_curve(run_folder(out, name, seed)) for name in names} for seed in seeds]
    if any(any(one.values()) for one in curves):
        made.append(_spikes(out / "poster-spikes.png", max(curves, key=_spike_count)))
    return made


def _spike_count(curves: Mapping[str, list[dict[str, float]]]) -> int:
    """Of all runs of a seed: that with the most is worth a picture."""
    return sum(len(spike_steps([row["rmse_pct"] for row in rows])) for rows in curves.values())


def _plain(axes: Any, image: NDArray[Any], title: str, **how: Any) -> None:
    axes.imshow(image, interpolation="nearest", **{"cmap": "gray", **how})
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _adversarial(path: Path, plain: Look, adversarial: Look, rows: int = 2) -> Path:
    """Truth, scan, both restorations; below each the 64² from its top left corner, enlarged."""
    from matplotlib.figure import Figure

    most_to_see = np.argsort(-plain.truth.std((1, 2)))[:rows]
    rows = len(most_to_see)
    figure = Figure(figsize=(7.2, 3.9 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, 4, squeeze=False)
    for row, crop in enumerate(most_to_see):
        truth = plain.truth[crop]
        how = {"vmin": float(np.percentile(truth, 0.5)), "vmax": float(np.percentile(truth, 99.5))}
        images = {
            "truth": truth,
            "scan, 1/20": np.nan_to_num(plain.partial[crop], nan=how["vmin"]),
            "squared errors": plain.estimate[crop],
            "adversarial": adversarial.estimate[crop],
        }
        for column, (title, image) in enumerate(images.items()):
            _plain(axes[2 * row, column], image, title, **how)
            _plain(axes[2 * row + 1, column], image[:_INSET, :_INSET], f"{_INSET}² enlarged", **how)
    figure.savefig(path, dpi=_DPI)
    return path


def _spectra(path: Path, looks: Mapping[str, list[Look]]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    first = next(iter(looks.values()))[0]
    shown = first.frequency > first.frequency[0]  # the taper takes the mean away
    axes.semilogy(first.frequency[shown], first.power_truth[shown], color="black", label="truth", linewidth=1.3)
    for number, (name, found) in enumerate(looks.items()):
        powers = np.array([look.power[shown] for look in found])
        at = first.frequency[shown]
        axes.semilogy(at, powers.mean(0), color=f"C{number}", label=_TITLES[name], linewidth=1.3)
        axes.fill_between(at, powers.min(0), powers.max(0), color=f"C{number}", alpha=0.18, linewidth=0)
    axes.set(xlabel="spatial frequency (cycles a pixel)", ylabel="radial power a pixel")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=_DPI)
    return path


def _errors(path: Path, looks: Mapping[str, list[Look]]) -> Path:
    """Each experiment's map of squared errors, all at the first one's mean and variance; errors against distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * len(looks), 7.6), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=(2, 1.1), squeeze=False)[:, 0]
    panels = parts[0].subplots(2, len(looks), squeeze=False)
    maps = {name: np.mean([look.raw_square for look in found], 0) for name, found in looks.items()}
    like = next(iter(maps.values()))
    centre, spread = float(like.mean()), float(like.std())
    how = {"cmap": "inferno", "vmin": centre - 2 * spread, "vmax": centre + 3 * spread}
    for column, (name, square) in enumerate(maps.items()):
        shown = transformed(square, like)
        _plain(panels[0, column], shown, _TITLES[name], **how)
        _plain(panels[1, column], shown[:_INSET, :_INSET], f"{_INSET}² enlarged", **how)
    kinds = (("raw_square", "as they are"), ("square", "both low-passed"))
    for axes, (kind, title) in zip(parts[1].subplots(1, 2), kinds, strict=True):
        for number, (name, found) in enumerate(looks.items()):
            curves = [by_distance(getattr(look, kind), look.distance_px) for look in found]
            mean = np.mean([100 * np.sqrt(values) for _, values, _ in curves], 0)
            axes.plot(curves[0][0], mean, "o-", markersize=3, color=f"C{number}", label=_TITLES[name])
        axes.set_title(title, fontsize=8)
        axes.set(xlabel="distance to the path (px)", ylabel="RMSE of the mean (%)")
        axes.legend(fontsize=6)
    figure.savefig(path, dpi=_DPI)
    return path


def _spikes(path: Path, curves: Mapping[str, list[dict[str, float]]]) -> Path:
    """Training errors step by step, squared and quartic loss, with clipping and without; spikes and clips marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    for axes, pair in zip(figure.subplots(2, 1), _PAIRS, strict=True):
        for number, name in enumerate(pair):
            rows = curves[name]
            errors = np.array([row["rmse_pct"] for row in rows])
            steps = np.array([row["step"] for row in rows])
            axes.plot(steps, errors, color=f"C{1 - number}", linewidth=0.6, label=name, alpha=0.8, zorder=2 - number)
            high = spike_steps(errors.tolist())
            if len(high):
                axes.plot(
                    steps[high],
                    errors[high],
                    "v",
                    color=f"C{1 - number}",
                    markersize=4,
                    label=f"{len(high)} spikes",
                    zorder=3,
                )
            clipped = np.flatnonzero([row["clipped"] > 0 for row in rows])
            if len(clipped):
                label = f"{len(clipped)} clipped steps"
                axes.plot(steps[clipped], np.zeros(len(clipped)), "|", color="black", markersize=8, label=label)
        axes.set(xlabel="step", ylabel="training RMSE (%)")
        axes.legend(fontsize=6, ncols=3)
    figure.savefig(path, dpi=_DPI)
    return path
