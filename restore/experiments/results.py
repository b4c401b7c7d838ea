"""The one table of all runs, and what it says of the poster's claims."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from scipy import stats

from restore.experiments.plans import CLAIMS, Claim
from scancontrol.files import read_csv, write_text

__all__ = [
    "Point",
    "Verdict",
    "append_point",
    "final",
    "finished",
    "forget_after",
    "gather",
    "points_of",
    "verdict",
    "verdicts_table",
]

_POINTS_FILE = "points.csv"


@dataclass(frozen=True)
class Point:
    """One measurement of one run."""

    experiment: str
    seed: int
    step: int
    done_pct: float  # of the run
    lowpass_pct: float  # held-out RMSE against the low-passed truth
    both_lowpass_pct: float  # with the restoration low-passed too
    rmse_pct: float  # against the truth
    processor_s: float  # of training from nothing to here
    parameters: int
    size_px: int


def append_point(folder: Path, point: Point) -> None:
    """Add a measurement to a run's own table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _POINTS_FILE
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)])
        if fresh:
            writer.writeheader()
        writer.writerow(asdict(point))


def points_of(folder: Path) -> list[Point]:
    """A run's measurements; none before it has any.

    Raises:
        InvalidInput: its table cannot be read.
    """
    path = folder / _POINTS_FILE
    if not path.exists():
        return []
    return [msgspec.convert(row, Point, strict=False) for row in read_csv(path, "results")]


def forget_after(folder: Path, step: int) -> None:
    """Drop what a killed run measured after the step from which it now goes on."""
    points = points_of(folder)
    kept = [point for point in points if point.step <= step]
    if len(kept) < len(points):
        (folder / _POINTS_FILE).unlink()
        for point in kept:
            append_point(folder, point)


def finished(points: Sequence[Point]) -> Point | None:
    """A run's last measurement, if the run came to its end."""
    return points[-1] if points and points[-1].done_pct >= 100 - 1e-6 else None


def gather(out: Path) -> list[Point]:
    """All runs' measurements, written to ``results.csv`` too."""
    points = [point for path in sorted(out.glob(f"*/seed-*/{_POINTS_FILE}")) for point in points_of(path.parent)]
    names = [field.name for field in fields(Point)]
    lines = [",".join(names), *(",".join(str(getattr(point, name)) for name in names) for point in points)]
    write_text(out / "results.csv", "\n".join(lines) + "\n")
    return points


def final(points: Sequence[Point], experiment: str) -> dict[int, float]:
    """Each seed's held-out error at the end, of the runs that came to it."""
    ends = (finished([point]) for point in points if point.experiment == experiment)
    return {point.seed: point.lowpass_pct for point in ends if point is not None}


@dataclass(frozen=True)
class Verdict:
    """How a claim fared: mean difference (higher less lower) over paired seeds, its 95 % half-width, and the word."""

    claim: Claim
    seeds: int
    difference_pct: float
    half_width_pct: float
    word: Literal["held", "not held", "not to be told", "not run"]


def verdict(points: Sequence[Point], claim: Claim) -> Verdict:
    """Student's interval of the paired differences: held if above 0, not held if below, else not to be told."""
    lower, higher = final(points, claim.lower), final(points, claim.higher)
    paired = sorted(lower.keys() & higher.keys())
    differences = np.array([higher[seed] - lower[seed] for seed in paired])
    if len(differences) < 2:
        return Verdict(claim, len(differences), math.nan, math.nan, "not run")
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    if mean - half > 0:
        return Verdict(claim, len(differences), mean, half, "held")
    return Verdict(claim, len(differences), mean, half, "not held" if mean + half < 0 else "not to be told")


def verdicts_table(points: Sequence[Point]) -> str:
    """Markdown: every claim, the two errors, their paired difference, and how it fared here."""
    lines = ["| the poster says | lower | higher | difference | here |", "|---|---|---|---|---|"]
    for claim in CLAIMS:
        found = verdict(points, claim)
        cells = []
        for name in (claim.lower, claim.higher):
            values = list(final(points, name).values())
            cells.append(f"`{name}` " + (f"{np.mean(values):.2f}" if values else "–"))
        shown = "–" if math.isnan(found.difference_pct) else f"{found.difference_pct:+.2f} ± {found.half_width_pct:.2f}"
        lines.append(f"| {claim.text} | {cells[0]} | {cells[1]} | {shown} ({found.seeds} seeds) | {found.word} |")
    return "\n".join(lines) + "\n"
