"""``python -m restore.evaluate --images DIR --out DIR``: every method on the same paths and images, in one table.

Each image is scanned along paths of the planner with fixed seeds: a sample is the value of the pixel that it falls
into. Everything runs through the resident engine as it does live, so the same share of samples is withheld from
every method. The same command gives the same numbers, but for the seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore.engine import Engine, FillRestorer, Restorer
from restore.evaluation.figures import draw_all
from restore.evaluation.metrics import scale_to_truth
from restore.evaluation.scoring import ImageScore, score_image, summarise
from restore.fills.registry import FILLS
from restore.generator.resident import PRECISIONS, Precision
from restore.generator.restorer import GeneratorRestorer
from restore.loading import generator_ships, pick_device, weights_file
from restore.process.memory import keep_freed_memory
from restore.training.card import with_evaluation
from restore.training.images import SUFFIXES, load_image
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.paths import Archimedean, CoverageGoal, Fermat, JitteredGrid, PathRecipe, ScanPath
from scancontrol.paths.pattern import Pattern

__all__ = ["PATTERNS", "Micrograph", "evaluate", "main", "read_micrographs"]

log = logging.getLogger(__name__)

PATTERNS: dict[str, Pattern] = {
    "spiral": Archimedean(),
    "jittered_grid": JitteredGrid(seed=1),
    "spiral_angular": Archimedean(speed="angular"),
    "fermat": Fermat(),
}
_DEFAULT_PATTERNS = "spiral,jittered_grid"
_DEFAULT_COVERAGES = "1/20,1/100"


@dataclass(frozen=True)
class Micrograph:
    """One image to scan: float32 (rows, cols), and what it is."""

    name: str
    modality: str
    pixels: np.ndarray


def read_micrographs(folder: Path, limit: int | None = None) -> list[Micrograph]:
    """Every image under ``folder``, by name; modalities from a ``manifest.csv`` in it or beside it.

    With ``limit``, so many images, spread evenly over the specimen groups of the manifest, or over the names.

    Raises:
        InvalidInput: there is no image, or one of them cannot be used.
    """
    known = _manifest(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InvalidInput("images", folder, f"holds no image ({', '.join(SUFFIXES)})", "name another folder")
    if limit is not None and limit < len(files):
        files = _spread(files, [known.get(path.name, {}).get("group", "") for path in files], limit)
    modalities = [known.get(path.name, {}).get("modality") or "not stated" for path in files]
    return [Micrograph(path.name, what, load_image(path)) for path, what in zip(files, modalities, strict=True)]


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    for path in (folder / "manifest.csv", folder.parent / "manifest.csv"):
        if path.is_file():
            with path.open(newline="") as file:
                return {Path(row["file"]).name: row for row in csv.DictReader(file) if row.get("file")}
    return {}


def _spread(files: Sequence[Path], groups: Sequence[str], limit: int) -> list[Path]:
    """Round robin over the groups, so that a short run sees every specimen."""
    rank: dict[str, int] = {}
    keyed = []
    for path, group in zip(files, groups, strict=True):
        rank[group] = rank.get(group, -1) + 1
        keyed.append((rank[group], group, path))
    return sorted(path for _, _, path in sorted(keyed)[:limit])


def _fraction(text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise InvalidInput("coverage", text, "is not a number", "write it like 1/20 or 0.05") from None
    if not 0 < value <= 1:
        raise InvalidInput("coverage", text, "is outside 0 to 1", "write it like 1/20 or 0.05")
    return value


def _path(pattern: str, coverage: float, shape: tuple[int, int]) -> ScanPath:
    if pattern not in PATTERNS:
        raise InvalidInput("pattern", repr(pattern), "is not a known one", f"choose from {', '.join(PATTERNS)}")
    laid: Any = PATTERNS[pattern]
    laid = type(laid)(
        **{**{name: getattr(laid, name) for name in laid.__struct_fields__}, "coverage": CoverageGoal(value=coverage)}
    )
    return PathRecipe(pattern=laid, shape=shape, fov_nm=float(shape[1]), dwell_us=1.0).expand()


def _methods(
    names: Sequence[str] | None, weights: Path | None, device: torch.device, share: float, precision: Precision
) -> list[Restorer]:
    """The fills, and the generator where weights are given or ship."""
    chosen = list(FILLS) if names is None else list(names)
    if names is None and (weights is not None or generator_ships()):
        chosen.append("generator")
    found: list[Restorer] = []
    for name in chosen:
        if name == "generator":
            found.append(GeneratorRestorer.load(weights_file(weights, device), device, share, precision))
        elif name in FILLS:
            found.append(FillRestorer(name, share))
        else:
            raise InvalidInput("method", repr(name), "is not a known one", f"choose from {', '.join(FILLS)}, generator")
    return found


def evaluate(
    images: Sequence[Micrograph],
    restorers: Sequence[Restorer],
    patterns: Sequence[str],
    coverages: Sequence[float],
    device: torch.device,
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """A row for each pattern, coverage and method; for figures the first image's estimate and the mean squared errors.

    Rows hold the keys of :func:`restore.evaluation.scoring.summarise`, ``method``, ``pattern``, ``coverage`` (asked
    for), ``touched`` and ``dose`` (of the path on the first image).
    """
    shapes = sorted({image.pixels.shape for image in images})
    for pattern in patterns:
        for coverage in coverages:
            paths = {shape: _path(pattern, coverage, shape) for shape in shapes}
            first = paths[images[0].pixels.shape].coverage
            for restorer in restorers:
                engine = Engine(restorer, device)
                for path in paths.values():
                    engine.register(path)
                scores: list[ImageScore] = []
                pictures: dict[str, np.ndarray] = {}
                squares: list[np.ndarray] = []
                for image in images:
                    score, drawn = _one(engine, paths[image.pixels.shape], image)
                    scores.append(score)
                    pictures = pictures or drawn
                    if image.pixels.shape == images[0].pixels.shape:
                        squares.append(drawn["square"])
                pictures["mean_square"] = np.mean(squares, 0)
                row = {
                    "method": restorer.name,
                    "pattern": pattern,
                    "coverage": coverage,
                    "touched": first.touched,
                    "dose": first.dose,
                    **summarise(scores),
                }
                yield row, pictures


def _one(engine: Engine, path: ScanPath, image: Micrograph) -> tuple[ImageScore, dict[str, np.ndarray]]:
    geometry = engine.path(path.path_id).geometry
    index = geometry.index.cpu().numpy()
    samples = np.ascontiguousarray(image.pixels).ravel()[index]
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    found = engine.restore(samples, path.path_id)
    seconds = time.perf_counter() - started
    distance = geometry.distance.cpu().numpy()
    score = score_image(image.name, image.modality, image.pixels, distance, found, seconds)
    partial = np.full(image.pixels.size, np.nan, dtype=np.float32)
    partial[index] = samples
    drawn = {"truth": image.pixels, "partial": partial.reshape(image.pixels.shape), "estimate": found.estimate.numpy()}
    truth, estimate = scale_to_truth(image.pixels, drawn["estimate"])
    drawn["square"] = np.square(estimate - truth)
    return score, drawn


_COLUMNS = (
    ("method", "method", "{}"),
    ("rmse_pct", "rmse %", "{:.2f}"),
    ("rmse_lowpass_pct", "low-passed %", "{:.2f}"),
    ("rmse_lowpass_median_pct", "median %", "{:.2f}"),
    ("psnr_db", "psnr dB", "{:.2f}"),
    ("ssim", "ssim", "{:.3f}"),
    ("interval_coverage_pct", "interval %", "{:.1f}"),
    ("withheld_correlation", "withheld r", "{:.2f}"),
    ("expected_correlation", "expected r", "{:.2f}"),
    ("seconds_per_frame", "s/frame", "{:.3f}"),
)


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown, one table for each pattern and coverage, best method first."""
    out: list[str] = []
    for key in dict.fromkeys((row["pattern"], row["coverage"]) for row in rows):
        group = [row for row in rows if (row["pattern"], row["coverage"]) == key]
        head = group[0]
        out.append(
            f"\n### {key[0]}, nominal 1/{1 / key[1]:.4g}, touched 1/{1 / head['touched']:.2f}, "
            f"dose 1/{1 / head['dose']:.2f}, {head['images']} images\n"
        )
        out.append("| " + " | ".join(title for _, title, _ in _COLUMNS) + " |")
        out.append("|" + "---|" * len(_COLUMNS))
        for row in sorted(group, key=lambda row: row["rmse_lowpass_pct"]):
            cells = ["–" if row[name] is None else form.format(row[name]) for name, _, form in _COLUMNS]
            out.append("| " + " | ".join(cells) + " |")
        out.append("\nlow-passed %, by modality:\n")
        names = sorted(head["by_modality"])
        out.append("| method | " + " | ".join(f"{n} ({head['by_modality'][n]['images']})" for n in names) + " |")
        out.append("|" + "---|" * (len(names) + 1))
        for row in sorted(group, key=lambda row: row["rmse_lowpass_pct"]):
            cells = [f"{row['by_modality'][n]['rmse_lowpass_pct']:.2f}" for n in names]
            out.append("| " + " | ".join([row["method"], *cells]) + " |")
    return "\n".join(out) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.evaluate", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of micrographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table, the rows and the figures")
    parser.add_argument("--weights", type=Path, help="weights of the generator, in place of those that ship")
    parser.add_argument("--methods", help=f"of {', '.join(FILLS)}, generator (default: all)")
    parser.add_argument("--patterns", default=_DEFAULT_PATTERNS, help=f"of {', '.join(PATTERNS)}")
    parser.add_argument("--coverages", default=_DEFAULT_COVERAGES, help="of pixels touched, such as 1/20,1/100")
    parser.add_argument("--limit", type=int, help="use so many images, spread over the specimen groups")
    parser.add_argument("--json", type=Path, help="where to write the rows (default: OUT/rows.json)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--share", type=float, default=0.04, help="of the samples, withheld to measure the error")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the generator")
    parser.add_argument("--card", type=Path, help="a model card to end with the tables")
    parser.add_argument("--no-figures", action="store_true")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if options.limit is not None and options.limit < 1:
            raise InvalidInput("limit", options.limit, "is below 1", "leave it out to use every image")
        device = pick_device(options.device)
        keep_freed_memory()
        names = options.methods.split(",") if options.methods else None
        restorers = _methods(names, options.weights, device, options.share, options.precision)
        images = read_micrographs(options.images, options.limit)
        options.out.mkdir(parents=True, exist_ok=True)
        rows, pictures = [], {}
        coverages = [_fraction(text) for text in options.coverages.split(",")]
        for row, drawn in evaluate(images, restorers, options.patterns.split(","), coverages, device):
            rows.append(row)
            pictures[row["pattern"], row["coverage"], row["method"]] = drawn
            log.info(
                "%s 1/%.4g %s: low-passed %.2f %%, %.3f s",
                row["pattern"],
                1 / row["coverage"],
                row["method"],
                row["rmse_lowpass_pct"],
                row["seconds_per_frame"],
            )
            # After every row, so that a long run that is stopped has said what it knows.
            (options.json or options.out / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")
        table = format_table(rows)
        (options.out / "table.md").write_text(table)
        sys.stdout.write(table)
        if options.card is not None:
            what = f"{len(images)} images of {options.images.name}, {100 * options.share:g} % of the samples withheld"
            options.card.write_text(with_evaluation(options.card.read_text(), what, table))
        if not options.no_figures:
            draw_all(options.out, rows, pictures)
    except (ScanControlError, OSError) as error:
        sys.stderr.write(f"restore.evaluate: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
