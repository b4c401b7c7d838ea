"""``python -m restore.evaluate --specimens --images DIR --out DIR``: every method on the same frames, in one table.

Frames are noise-free specimens, of which electrons are counted, or micrographs, whose pixels are read as they are; each
is scanned along paths of the planner with fixed seeds. OUT/table.md and OUT/rows.json grow with every row.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from restore.evaluation.faults import evaluate_faults, format_faults
from restore.evaluation.figures import draw_all
from restore.evaluation.run import PATTERNS, Remaining, evaluate, names_of, restorers_named
from restore.evaluation.shared import Asked, Frames, evaluate_shared, read_sets
from restore.evaluation.subjects import SPECIMEN_KINDS, STANDARD_SPECIMENS, Subject
from restore.evaluation.tables import format_table
from restore.fills.registry import FILLS
from restore.generator.resident import PRECISIONS
from restore.loading import pick_device
from restore.process.cluster import add_crew_options, crew
from restore.process.memory import keep_freed_memory
from restore.restorer import Restorer
from restore.training.card import with_evaluation
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.files import read_text, write_text
from scancontrol.processes import logs
from scancontrol.processes.progress import progress, say_beside

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restore.evaluate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    known = f"names such as two_species-7px, comma-separated, of the kinds {', '.join(SPECIMEN_KINDS)}; or standard"
    parser.add_argument("--specimens", nargs="?", const="standard", help=f"evaluate on specimens: {known}")
    parser.add_argument("--images", type=Path, help="evaluate on a folder of micrographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table, the rows and the figures")
    parser.add_argument("--electrons", default="60", help="of specimens, for a sample of signal 1; none for no noise")
    parser.add_argument("--state-noise", action="store_true", help="tell restorers of the specimens' counting noise")
    parser.add_argument("--size", type=int, default=512, help="of specimens, in pixels")
    parser.add_argument("--draws", type=int, default=1, help="of each specimen, with different seeds")
    parser.add_argument(
        "--methods", help=f"of {', '.join(FILLS)}, generator, names of shipped weights; all if not given"
    )
    parser.add_argument("--weights", help="files, comma-separated, in place of those that ship, for generator")
    parser.add_argument("--patterns", default="spiral,jittered_grid", help=f"of {', '.join(PATTERNS)}")
    parser.add_argument("--coverages", default="1/20,1/100", help="of pixels touched")
    parser.add_argument(
        "--limit", type=int, help="use so many images, spread over the specimen groups; all if not given"
    )
    parser.add_argument("--skip-unreadable", action="store_true", help="go on without images that cannot be used")
    parser.add_argument("--json", type=Path, help="where to write the rows; OUT/rows.json if not given")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--share", type=float, default=0.04, help="of the samples, withheld to measure the error")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the generator")
    parser.add_argument(
        "--crystals", choices=("each", "off"), default="each", help="whether the generator looks for one"
    )
    parser.add_argument("--card", type=Path, help="a model card to end with the tables")
    parser.add_argument(
        "--faults", action="store_true", help="what faults of the readings do, at the first coverage; OUT/faults.md"
    )
    add_crew_options(parser)
    parser.add_argument("--no-figures", action="store_true", help="write no figures")
    return parser


def _fraction(text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise InvalidInput("coverage", text, "is not a number", "write it like 1/20 or 0.05") from None
    if not 0 < value <= 1:
        raise InvalidInput("coverage", text, "is outside 0 to 1", "write it like 1/20 or 0.05")
    return value


def _electrons(text: str) -> float | None:
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        raise InvalidInput("electrons", text, "is not a number", "write it like 60, or none for no noise") from None
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput("electrons", text, "is not above 0", "write it like 60, or none for no noise")
    return value


def _frames(options: argparse.Namespace) -> Frames:
    """What is evaluated on."""
    if options.specimens is None and options.images is None:
        raise InvalidInput("frames", "none", "were asked for", "give --specimens, --images, or both")
    for name, least in (("size", 64), ("draws", 1)):
        if getattr(options, name) < least:
            raise InvalidInput(name, getattr(options, name), f"is below {least}", "leave it out for the usual")
    if options.limit is not None and options.limit < 1:
        raise InvalidInput("limit", options.limit, "is below 1", "leave it out to use every image")
    names: tuple[str, ...] = ()
    if options.specimens is not None:
        names = STANDARD_SPECIMENS if options.specimens == "standard" else tuple(options.specimens.split(","))
    electrons = _electrons(options.electrons)
    told = (options.skip_unreadable, options.state_noise)
    return Frames(names, options.size, options.draws, electrons, options.images, options.limit, *told)


def _pieces(options: argparse.Namespace, patterns: Sequence[str], coverages: Sequence[float]) -> list[Asked]:
    """What workers are asked for, in the order of the rows."""
    names = options.methods.split(",") if options.methods else None
    files = [Path(text) for text in options.weights.split(",")] if options.weights else []
    files = [file.resolve() if file.suffix else file for file in files]  # a name is one that ships
    methods: list[tuple[str, Path | None]] = []
    for name in names_of(names, files):
        methods += [(name, file) for file in files] if name == "generator" and files else [(name, None)]
    frames = _frames(options)
    if frames.images is not None:
        frames = replace(frames, images=frames.images.resolve())
    chosen = (options.device, options.share, options.precision, options.crystals)
    return [
        Asked(frames, name, file, pattern, coverage, *chosen)
        for pattern in patterns
        for coverage in coverages
        for name, file in methods
    ]


def _described(options: argparse.Namespace, sets: dict[str, list[Subject]]) -> str:
    """What was evaluated on, in words."""
    parts = []
    if options.images is not None:
        parts.append(f"{len(sets['micrographs'])} images of {options.images.name}")
    if options.specimens is not None:
        count = sum(len(subjects) for name, subjects in sets.items() if name != "micrographs")
        stated = ", their noise stated" if options.state_noise else ""
        parts.append(f"{count} specimens at {options.electrons} electrons a sample{stated}")
    return f"{' and '.join(parts)}, {100 * options.share:g} % of the samples withheld"


def run(options: argparse.Namespace) -> None:
    """Evaluate as the options say, and write everything.

    Raises:
        ScanControlError: an option, an image or weights cannot be used.
    """
    coverages = [_fraction(text) for text in options.coverages.split(",")]
    patterns = options.patterns.split(",")
    sets = read_sets(_frames(options))
    device = pick_device(options.device)
    keep_freed_memory()
    names = options.methods.split(",") if options.methods else None
    weights = [Path(text) for text in options.weights.split(",")] if options.weights else []
    restorers = restorers_named(names, weights, device, options.share, options.precision, options.crystals)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.faults:
        _faults(options, sets, restorers, patterns, coverages[0], device)
        return
    rows, pictures = [], {}
    remaining = Remaining([r.name for r in restorers], len(sets) * len(patterns) * len(coverages))
    since = time.monotonic()
    with ExitStack() as stack:
        found = evaluate(sets, restorers, patterns, coverages, device)
        if options.workers is not None or options.scheduler is not None:
            workers = stack.enter_context(crew(options.workers, options.scheduler))
            found = evaluate_shared(_pieces(options, patterns, coverages), workers)
        bar = stack.enter_context(progress(remaining.rows, "rows"))
        for row, drawn in found:
            rows.append(row)
            if not options.no_figures:
                pictures[row["set"], row["pattern"], row["coverage"], row["method"]] = drawn
            now = time.monotonic()
            left_s, since = remaining.after(row["method"], now - since), now
            say_beside(
                bar,
                f"{row['pattern']} 1/{1 / row['coverage']:.4g}, {row['set']}, {row['method']}: "
                f"rmse {row['rmse_pct']:.2f} %, {row['seconds_per_frame']:.3f} s",
            )
            bar.set_postfix_str(f"by method about {left_s / 60:.1f} min", refresh=False)
            bar.update()
            # After every row, so that a long run that is stopped has said what it knows.
            write_text(options.json or options.out / "rows.json", json.dumps(rows, indent=1) + "\n")
            write_text(options.out / "table.md", format_table(rows))
    table = format_table(rows)
    sys.stdout.write(table)
    if options.card is not None:
        card = read_text(options.card, "model card")
        write_text(options.card, with_evaluation(card, _described(options, sets), table))
    if not options.no_figures:
        draw_all(options.out, rows, pictures)


def _faults(
    options: argparse.Namespace,
    sets: dict[str, list[Subject]],
    restorers: Sequence[Restorer],
    patterns: Sequence[str],
    coverage: float,
    device: torch.device,
) -> None:
    rows = []
    specimens = [subject for name, subjects in sets.items() if name != "micrographs" for subject in subjects]
    sets = {key: found for key, found in (("micrographs", sets.get("micrographs")), ("specimens", specimens)) if found}
    for row in evaluate_faults(sets, restorers, patterns, coverage, device):
        rows.append(row)
        say_beside(None, f"{row['pattern']}, {row['method']}, {row['set']}, {row['fault']}")
        (options.out / "faults.json").write_text(json.dumps(rows, indent=1) + "\n")
        (options.out / "faults.md").write_text(format_faults(rows))
    sys.stdout.write(format_faults(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        logs.configure("restore.evaluate", verbose=True)
        run(options)
    except (ScanControlError, OSError) as error:
        sys.stderr.write(f"restore.evaluate: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
