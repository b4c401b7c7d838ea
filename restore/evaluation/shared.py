"""An evaluation as pieces of work for many processes: a method along one pattern at one coverage each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from restore.evaluation.run import evaluate, restorers_named
from restore.evaluation.subjects import Subject, read_micrographs, read_specimens
from restore.generator.resident import Precision
from restore.loading import pick_device
from restore.process.cluster import Crew
from restore.process.memory import keep_freed_memory

__all__ = ["Asked", "Frames", "evaluate_shared", "read_sets"]

Row = tuple[dict[str, Any], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Frames:
    """Which frames are scanned, in words that another process reads alike.

    Attributes:
        specimens: their names.
        size, draws, electrons_per_sample: of the specimens, see :func:`restore.evaluation.subjects.read_specimens`.
        images: folder of micrographs; None for none.
        limit: on their number; None for all.
        noise_is_stated: whether restorers are told of the specimens' noise.
        skip_unreadable: whether a micrograph that cannot be used is left out, and not the end of it.
    """

    specimens: tuple[str, ...]
    size: int
    draws: int
    electrons_per_sample: float | None
    images: Path | None
    limit: int | None
    skip_unreadable: bool = False
    noise_is_stated: bool = False


@dataclass(frozen=True)
class Asked:
    """A piece: one method (``weights`` for ``generator``) along one pattern at one coverage, on all frames."""

    frames: Frames
    method: str
    weights: Path | None
    pattern: str
    coverage: float
    device: str
    share: float
    precision: Precision
    crystals: Any


@lru_cache(maxsize=1)  # a worker is given many pieces with the same frames
def read_sets(frames: Frames) -> dict[str, list[Subject]]:
    """The frames by the name of their set.

    Raises:
        InvalidInput: as of the readers of :mod:`restore.evaluation.subjects`.
    """
    shape = (frames.size, frames.size)
    sets: dict[str, list[Subject]] = {}
    if frames.specimens:
        drawn = (frames.draws, frames.electrons_per_sample)
        sets |= read_specimens(frames.specimens, shape, *drawn, noise_is_stated=frames.noise_is_stated)
    if frames.images is not None:
        sets["micrographs"] = read_micrographs(frames.images, frames.limit, skip_unreadable=frames.skip_unreadable)
    return sets


def rows_of(asked: Asked) -> list[Row]:
    """The rows of one piece.

    Raises:
        ScanControlError: as of :func:`restore.evaluation.run.evaluate` and the readers.
    """
    device = pick_device(asked.device)
    keep_freed_memory()
    weights = [] if asked.weights is None else [asked.weights]
    restorers = restorers_named([asked.method], weights, device, asked.share, asked.precision, asked.crystals)
    return list(evaluate(read_sets(asked.frames), restorers, [asked.pattern], [asked.coverage], device))


def evaluate_shared(pieces: Sequence[Asked], workers: Crew) -> Iterator[Row]:
    """The rows in the order of ``pieces``, each as soon as those before it are there.

    Raises:
        Exception: the first that a piece ended with.
    """
    found: dict[int, list[Row]] = {}
    given = 0
    for index, outcome in workers.do(rows_of, pieces):
        if isinstance(outcome, Exception):
            raise outcome
        found[index] = outcome
        while given in found:
            yield from found.pop(given)
            given += 1
