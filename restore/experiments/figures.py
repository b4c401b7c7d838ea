"""Learning curves with their bands, drawn from the table alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restore.experiments.plans import BASE, EXPERIMENTS, WARM
from restore.experiments.results import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curves"]


def draw_curves(out: Path, points: Sequence[Point]) -> list[Path]:
    """One picture for each of the poster's comparisons; the base stands in every one. Bands go from seed to seed."""
    from matplotlib.figure import Figure

    made = []
    for name in dict.fromkeys(experiment.figure for experiment in EXPERIMENTS):
        members = [e.name for e in EXPERIMENTS if e.figure == name]
        if not any(point.experiment in members for point in points):
            continue
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        others = [e.as_long_as for e in EXPERIMENTS if e.figure == name and e.as_long_as is not None]
        for number, member in enumerate(dict.fromkeys([BASE, *others, *members])):
            _draw_band(axes, _from_nothing(points, member), f"C{number}", member, by_time=name == "ours")
        axes.set(xlabel="processor seconds" if name == "ours" else "step", ylabel="held-out RMSE, low-passed truth (%)")
        axes.legend(fontsize=7)
        path = out / f"poster-{name}.png"
        figure.savefig(path, dpi=80)
        made.append(path)
    return made


def _from_nothing(points: Sequence[Point], name: str) -> list[Point]:
    """An experiment's measurements, before them those of the steps that it shares."""
    mine = [point for point in points if point.experiment == name]
    (experiment,) = (e for e in EXPERIMENTS if e.name == name)
    first = min((point.step for point in mine), default=0)
    shared = [p for p in points if p.experiment == WARM.name and p.step < first] if experiment.warm else []
    return shared + mine


def _draw_band(axes: Axes, points: Sequence[Point], colour: str, label: str, *, by_time: bool) -> None:
    """Mean of the seeds over the share of the run that is done, and a band from the lowest to the highest."""
    together: dict[int, list[Point]] = {}
    for point in points:
        # Runs that end after so many minutes are measured at steps of their own; their shares agree.
        key = round(point.done_pct) if by_time and label.startswith("ours") else point.step
        together.setdefault(key, []).append(point)
    if not together:
        return
    groups = [together[key] for key in sorted(together)]
    at = [float(np.mean([p.processor_s if by_time else p.step for p in group])) for group in groups]
    errors = [[p.lowpass_pct for p in group] for group in groups]
    axes.plot(at, [np.mean(values) for values in errors], color=colour, label=label, linewidth=1.3)
    axes.fill_between(at, [min(v) for v in errors], [max(v) for v in errors], color=colour, alpha=0.18, linewidth=0)
