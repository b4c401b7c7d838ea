"""The one table of all runs: what each measured as it went, what it came to, and what that cost."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec
import numpy as np

from scancontrol.files import read_csv, write_text

__all__ = [
    "Point",
    "append_point",
    "experiments_table",
    "final",
    "finished",
    "forget_after",
    "gather",
    "learning_curve",
    "points_of",
    "seeds_of",
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


def final(points: Sequence[Point], experiment: str) -> list[Point]:
    """The last measurements of the seeds that came to their end."""
    return [point for point in points if point.experiment == experiment and finished([point]) is not None]


def seeds_of(points: Sequence[Point]) -> tuple[int, ...]:
    """All seeds of which there are measurements."""
    return tuple(sorted({point.seed for point in points}))


def learning_curve(folder: Path) -> list[dict[str, float]]:
    """Every training step of a run's stages, in order: ``rmse_pct``, ``clipped`` and the rest of ``curve.csv``."""
    rows = [row for path in sorted(folder.glob("stage-*/curve.csv")) for row in read_csv(path, "learning curve")]
    return [{name: float(value) for name, value in row.items()} for row in rows]


def experiments_table(points: Sequence[Point], out: Path) -> str:
    """Markdown: what every experiment came to, means over the seeds that came to their end, and what it cost."""
    lines = [
        "| experiment | seeds | steps | low-passed truth (%) | both low-passed (%) | truth (%) | clipped (%) "
        "| ms a step | parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(point.experiment for point in points):
        ends = final(points, name)
        if not ends:
            continue
        seeds = [point.lowpass_pct for point in ends]
        rows = [row for end in ends for row in learning_curve(out / name / f"seed-{end.seed}")]
        means = (np.mean([getattr(end, of) for end in ends]) for of in ("both_lowpass_pct", "rmse_pct"))
        cells = [
            f"`{name}`",
            str(len(ends)),
            f"{np.mean([end.step for end in ends]):.0f}",
            f"{np.mean(seeds):.2f} ({min(seeds):.2f} to {max(seeds):.2f})",
            *(f"{mean:.2f}" for mean in means),
            f"{100 * np.mean([row['clipped'] for row in rows]) if rows else 0:.1f}",
            f"{np.mean([1000 * end.processor_s / end.step for end in ends]):.0f}",
            f"{ends[0].parameters:,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
