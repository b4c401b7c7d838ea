"""Every method on the same paths and frames: a row of figures for each method, set of frames, pattern and coverage.

Everything runs through the resident engine as it does live, so the same share of samples is withheld from every
method. The same settings give the same numbers, but for the seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
import numpy as np
import torch

from restore.engine import Engine
from restore.estimate.lattice.following import CrystalSearch
from restore.evaluation.metrics import scale_to_truth
from restore.evaluation.scoring import ImageScore, score_image, summarise
from restore.evaluation.specimens import SpecimenScore, mean_score, score_specimen
from restore.evaluation.subjects import Subject
from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from restore.generator.resident import Precision
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import shipped
from restore.loading import generator_ships, weights_file
from restore.restorer import Restoration, Restorer
from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, Crossed, Fermat, JitteredGrid, PathRecipe, ScanPath, expand
from scancontrol.paths.recipe import AnyPattern

__all__ = ["PATTERNS", "Remaining", "evaluate", "names_of", "restorers_named", "scan_path"]

PATTERNS: dict[str, Callable[[CoverageGoal], AnyPattern]] = {
    "spiral": lambda goal: Archimedean(coverage=goal),
    "crossed_spiral": lambda goal: Crossed(pattern=Archimedean(coverage=goal)),
    "jittered_grid": lambda goal: JitteredGrid(coverage=goal, seed=1),
    "crossed_grid": lambda goal: Crossed(pattern=JitteredGrid(coverage=goal, seed=1)),
    "turned_spirals": lambda goal: Archimedean(coverage=goal, turn_deg="golden", mirrored="eighth"),
    "spiral_angular": lambda goal: Archimedean(coverage=goal, speed="angular"),
    "fermat": lambda goal: Fermat(coverage=goal),
}


def restorers_named(
    names: Sequence[str] | None,
    weights: Sequence[Any],
    device: torch.device,
    share: float,
    precision: Precision,
    crystals: CrystalSearch = "off",
) -> list[Restorer]:
    """Fills and generators by name; all fills and the generator, where one is given or ships, without names.

    Args:
        names: of fills, of weights that ship, or ``generator`` for every one of ``weights``.
        weights: files or names; the device's preset if there are none.
        device: on which they restore.
        share: of the samples, withheld.
        precision: of generators.
        crystals: whether generators look for a lattice: ``each`` or ``off``.

    Raises:
        InvalidInput: a name is unknown, or weights cannot be used.
    """
    found: list[Restorer] = []
    for name in names_of(names, weights):
        if name in FILLS:
            found.append(FillRestorer(name, share))
            continue
        files = [weights_file(file, device) for file in weights or (None,)] if name == "generator" else [_shipped(name)]
        found += [GeneratorRestorer.load(file, device, share, precision, crystals) for file in files]
    return found


def names_of(names: Sequence[str] | None, weights: Sequence[Any]) -> list[str]:
    """The names that are meant: without any, all fills and the generator, where one is given or ships."""
    if names is not None:
        return list(names)
    return [*FILLS, "generator"] if weights or generator_ships() else list(FILLS)


def _shipped(name: str) -> Any:
    try:
        return shipped(name)
    except InvalidInput as error:
        known = f"choose from {', '.join(FILLS)}, generator, or weights that ship"
        raise InvalidInput("method", repr(name), "is not a known one", known) from error


def scan_path(pattern: str, coverage: float, shape: tuple[int, int], frame: int = 0) -> ScanPath:
    """The path of a known pattern over a frame; coverage is of pixels touched.

    Raises:
        InvalidInput: there is no such pattern.
    """
    if pattern not in PATTERNS:
        raise InvalidInput("pattern", repr(pattern), "is not a known one", f"choose from {', '.join(PATTERNS)}")
    asked = PATTERNS[pattern](CoverageGoal(value=coverage)).for_frame(frame)
    return expand(PathRecipe(pattern=asked, shape=shape, fov_nm=float(shape[1]), dwell_us=1.0))


class Remaining:
    """How long a run will still take, from what each method has taken so far."""

    def __init__(self, methods: Sequence[str], rows_each: int) -> None:
        self.rows = rows_each * len(methods)
        self.done = 0
        self._left = dict.fromkeys(methods, rows_each)
        self._seconds: dict[str, list[float]] = {name: [] for name in methods}

    def after(self, method: str, seconds: float) -> float:
        """Seconds left after a row of ``method`` that took ``seconds``; methods without a row yet count as average."""
        self.done += 1
        self._left[method] -= 1
        self._seconds[method].append(seconds)
        measured = {name: float(np.mean(took)) for name, took in self._seconds.items() if took}
        usual = float(np.mean(list(measured.values())))
        return sum(count * measured.get(name, usual) for name, count in self._left.items())


@dataclass(frozen=True)
class _Scored:
    """One frame's scores and pictures."""

    score: ImageScore
    specimen: SpecimenScore | None
    pictures: dict[str, np.ndarray]


def evaluate(
    sets: Mapping[str, Sequence[Subject]],
    restorers: Sequence[Restorer],
    patterns: Sequence[str],
    coverages: Sequence[float],
    device: torch.device,
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """A row for each pattern, coverage, method and set; for figures the first frame's pictures and mean squared errors.

    Rows hold the keys of :func:`restore.evaluation.scoring.summarise`, ``set``, ``of_specimens``, ``method``,
    ``pattern``, ``coverage`` (asked for), ``touched`` and ``dose`` (of the path on the first frame); those of
    specimens also ``electrons_per_sample`` and the fields of :class:`restore.evaluation.specimens.SpecimenScore`.

    Raises:
        InvalidInput: there is no such pattern.
    """
    shapes = sorted({subject.pixels.shape for subjects in sets.values() for subject in subjects})
    for pattern in patterns:
        for coverage in coverages:
            paths = {shape: scan_path(pattern, coverage, shape) for shape in shapes}
            for restorer in restorers:
                engines: dict[DetectorChannel | None, Engine] = {}
                for name, subjects in sets.items():
                    detector = subjects[0].detector
                    if detector not in engines:
                        engines[detector] = engine = Engine(restorer, device)
                        for path in paths.values():
                            engine.register(path, detector=detector)
                    engine = engines[detector]
                    found = [_one(engine, paths[subject.pixels.shape], subject) for subject in subjects]
                    first = paths[subjects[0].pixels.shape].coverage
                    row = {
                        "set": name,
                        "method": restorer.name,
                        "pattern": pattern,
                        "coverage": coverage,
                        "touched": first.touched,
                        "dose": first.dose,
                        **summarise([one.score for one in found]),
                        **_specimen_keys(subjects, found),
                    }
                    alike = [one for one, s in zip(found, subjects, strict=True) if _alike(s, subjects[0])]
                    squares = np.mean([one.pictures["square"] for one in alike], 0)
                    yield row, {**found[0].pictures, "mean_square": squares}


def _alike(one: Subject, other: Subject) -> bool:
    return one.pixels.shape == other.pixels.shape


def _specimen_keys(subjects: Sequence[Subject], found: Sequence[_Scored]) -> dict[str, Any]:
    scores = [one.specimen for one in found if one.specimen is not None]
    if not scores:
        return {"of_specimens": False}
    return {
        "of_specimens": True,
        "electrons_per_sample": subjects[0].electrons_per_sample,
        **asdict(mean_score(scores)),
    }


def _per_signal(found: Restoration, counts_per_signal: float) -> Restoration:
    """A restoration of counts in the units of the truth."""

    def scaled(error: float | None) -> float | None:
        return None if error is None else error / counts_per_signal

    made_by = found.made_by
    return replace(
        found,
        estimate=found.estimate / counts_per_signal,
        interval=None if found.interval is None else found.interval / counts_per_signal,
        made_by=msgspec.structs.replace(
            made_by, withheld_rmse=scaled(made_by.withheld_rmse), expected_rmse=scaled(made_by.expected_rmse)
        ),
    )


def _one(engine: Engine, path: ScanPath, subject: Subject) -> _Scored:
    geometry = engine.path(path.path_id).geometry
    index = geometry.index.cpu().numpy()
    samples = subject.read(index)
    counts = samples * np.float32(subject.counts_per_signal)
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    found = engine.restore(counts, path.path_id)
    seconds = time.perf_counter() - started
    found = _per_signal(found, subject.counts_per_signal)
    distance = geometry.distance.cpu().numpy()
    score = score_image(subject.name, subject.modality, subject.pixels, distance, found, seconds)
    estimate = found.estimate.numpy()
    specimen = None
    if subject.specimen is not None:
        half_width = None if found.interval is None else found.interval.numpy().astype(np.float64)
        sampled_px = np.stack(np.unravel_index(np.unique(index), subject.pixels.shape), -1)
        specimen = score_specimen(subject.specimen, estimate.astype(np.float64), half_width, sampled_px)
    partial = np.full(subject.pixels.size, np.nan, dtype=np.float32)
    partial[index] = samples
    truth, scaled = scale_to_truth(subject.pixels, estimate)
    pictures = {
        "truth": subject.pixels,
        "partial": partial.reshape(subject.pixels.shape),
        "estimate": estimate,
        "square": np.square(scaled - truth),
    }
    return _Scored(score, specimen, pictures)
