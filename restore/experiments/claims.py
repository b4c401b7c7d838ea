"""What all runs say of the poster's claims: paired differences between experiments, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

from restore.experiments.looks import read_look
from restore.experiments.measures import error_growth, explained_by_distance, fine_power, spike_steps
from restore.experiments.plans import CLAIMS, Claim, Measure
from restore.experiments.results import Point, final, learning_curve, seeds_of
from restore.experiments.runs import run_folder

__all__ = ["Verdict", "measured", "verdict", "verdicts_table"]

_LOOKED = {"growth": error_growth, "explained": explained_by_distance, "fine_power": fine_power}
_UNITS: Mapping[Measure, str] = {
    "error": "held-out RMSE (%)",
    "growth": "squared error far from the path / near it",
    "explained": "share of the error map that distance explains",
    "fine_power": "power above 1/4 cycle a pixel / the truth's",
    "spikes": "spikes in 1,000 steps",
}


@dataclass(frozen=True)
class Verdict:
    """How a claim fared: mean difference (higher less lower) over paired seeds, its 95 % half-width, and the word."""

    claim: Claim
    seeds: int
    difference: float
    half_width: float
    word: Literal["held", "not held", "cannot be told", "not run"]


def measured(out: Path, points: Sequence[Point], measure: Measure, experiment: str) -> dict[int, float]:
    """Each finished seed's value of a measure."""
    found = {point.seed: point.lowpass_pct for point in final(points, experiment)}
    if measure == "error":
        return found
    if measure == "spikes":
        return {seed: _spikes(run_folder(out, experiment, seed)) for seed in found}
    looks = {seed: read_look(run_folder(out, experiment, seed)) for seed in found}
    return {seed: _LOOKED[measure](look) for seed, look in looks.items() if look is not None}


def _spikes(folder: Path) -> float:
    errors = [row["rmse_pct"] for row in learning_curve(folder)]
    return 1000 * len(spike_steps(errors)) / max(1, len(errors))


def verdict(claim: Claim, lower: Mapping[int, float], higher: Mapping[int, float]) -> Verdict:
    """Student's interval of the paired differences: held if above 0, not held if below, else it cannot be told.

    A claim of little effect is held if the interval lies within its margin, not held if it lies wholly outside.
    """
    paired = sorted(lower.keys() & higher.keys())
    differences = np.array([higher[seed] - lower[seed] for seed in paired])
    if len(differences) < 2:
        return Verdict(claim, len(differences), math.nan, math.nan, "not run")
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    low, high = mean - half, mean + half
    word: Literal["held", "not held", "cannot be told"] = "cannot be told"
    if claim.little_pct is not None:
        margin = claim.little_pct / 100 * float(np.mean([higher[seed] for seed in paired]))
        if -margin < low and high < margin:
            word = "held"
        elif low > margin or high < -margin:
            word = "not held"
    elif low > 0:
        word = "held"
    elif high < 0:
        word = "not held"
    return Verdict(claim, len(differences), mean, half, word)


def verdicts_table(out: Path, points: Sequence[Point]) -> str:
    """Markdown: every claim, the two values, their paired difference, and how it fared here."""
    lines = ["| the poster says | measure | lower | higher | difference | here |", "|---|---|---|---|---|---|"]
    for claim in CLAIMS:
        higher = measured(out, points, claim.measure, claim.higher)
        if isinstance(claim.lower, str):
            lower = measured(out, points, claim.measure, claim.lower)
            first = _cell(claim.lower, lower)
        else:
            lower, first = dict.fromkeys(seeds_of(points), claim.lower), f"{claim.lower:g}"
        found = verdict(claim, lower, higher)
        shown = "–" if math.isnan(found.difference) else f"{found.difference:+.2f} ± {found.half_width:.2f}"
        lines.append(
            f"| {claim.text} | {_UNITS[claim.measure]} | {first} | {_cell(claim.higher, higher)} "
            f"| {shown} ({found.seeds} seeds) | {found.word} |"
        )
    return "\n".join(lines) + "\n"


def _cell(name: str, values: Mapping[int, float]) -> str:
    return f"`{name}` " + (f"{np.mean(list(values.values())):.2f}" if values else "–")
