"""Learning curves with their bands, drawn from the table alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restore.experiments.plans import BASE, EXPERIMENTS
from restore.experiments.results import Point

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
        for number, member in enumerate(dict.fromkeys([BASE, *members])):
            mine = [point for point in points if point.experiment == member]
            steps = sorted({point.step for point in mine})
            if not steps:
                continue
            at = [[p.lowpass_pct for p in mine if p.step == step] for step in steps]
            axes.plot(steps, [np.mean(values) for values in at], color=f"C{number}", label=member, linewidth=1.3)
            axes.fill_between(
                steps, [min(v) for v in at], [max(v) for v in at], color=f"C{number}", alpha=0.18, linewidth=0
            )
        axes.set(xlabel="step", ylabel="held-out RMSE, low-passed truth (%)")
        axes.legend(fontsize=7)
        path = out / f"poster-{name}.png"
        figure.savefig(path, dpi=80)
        made.append(path)
    return made
