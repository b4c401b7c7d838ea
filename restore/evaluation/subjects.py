"""What is scanned in an evaluation: micrographs, whose pixels are their truth, and specimens, wholly known."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.files import read_csv
from scancontrol.micrographs import SUFFIXES, find_images, read_each
from simulators.specimens.truths.draws import KINDS, STANDARD, named
from simulators.specimens.truths.readings import draw_reading
from simulators.specimens.truths.truth import Truth

__all__ = ["SPECIMEN_KINDS", "STANDARD_SPECIMENS", "Subject", "read_micrographs", "read_specimens"]

log = logging.getLogger(__name__)

_MIN_SIDE = 64
_COUNTING = DetectorChannel(name="counting", counts_per_electron=100.0, adc_bits=32)  # its rounding is no noise
SPECIMEN_KINDS = tuple(KINDS)
STANDARD_SPECIMENS = STANDARD


@dataclass(frozen=True)
class Subject:
    """One frame to scan.

    Attributes:
        name: of the file or the specimen.
        modality: what made it, in words.
        pixels: the truth, float32 (rows, cols).
        specimen: what is known of it beside its pixels; None for a micrograph.
        electrons_per_sample: that a signal of 1 counts; None reads the pixels as they are.
        noise_is_stated: whether the restorer is told of its detector, :attr:`detector`.
    """

    name: str
    modality: str
    pixels: NDArray[np.float32]
    specimen: Truth | None = None
    electrons_per_sample: float | None = None
    noise_is_stated: bool = False

    @property
    def detector(self) -> DetectorChannel | None:
        """What the restorer is told of the detector; None if nothing."""
        return _COUNTING if self.noise_is_stated and self.electrons_per_sample is not None else None

    @property
    def counts_per_signal(self) -> float:
        """What the restorer reads where the signal is 1."""
        if self.detector is None or self.electrons_per_sample is None:
            return 1.0
        return self.detector.counts_per_electron * self.electrons_per_sample

    def read(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """A reading at each flat pixel ``index`` (n,): the pixel's value, or electrons counted on it, ever the same."""
        values = np.ascontiguousarray(self.pixels).ravel()[index]
        if self.electrons_per_sample is None:
            return values
        seed = (zlib.crc32(self.name.encode()), len(index))
        return draw_reading(values, self.electrons_per_sample, np.random.default_rng(seed))


def read_specimens(
    names: Sequence[str],
    shape: tuple[int, int],
    draws: int,
    electrons_per_sample: float | None,
    *,
    noise_is_stated: bool = False,
) -> dict[str, list[Subject]]:
    """``draws`` specimens of each name, which differ in their seed, by their name.

    Raises:
        InvalidInput: a name is none, see :func:`simulators.specimens.truths.draws.named`.
    """
    found: dict[str, list[Subject]] = {}
    for name in names:
        marks = [name] if "#" in name else [name, *(f"{name}#{seed}" for seed in range(1, draws))]
        truths = [(mark, named(mark, shape)) for mark in marks]
        found[name] = [
            Subject(mark, truth.kind, truth.image, truth, electrons_per_sample, noise_is_stated)
            for mark, truth in truths
        ]
    return found


def read_micrographs(folder: Path, limit: int | None = None, *, skip_unreadable: bool = False) -> list[Subject]:
    """Every image under ``folder``, by name; modalities from a ``manifest.csv`` in it or beside it.

    With ``limit``, so many images, spread evenly over the specimen groups of the manifest, or over the names. Files
    that are hidden or no images are counted in the log.

    Raises:
        InvalidInput: there is no image, or one of them cannot be used and ``skip_unreadable`` is not set.
    """
    known = _manifest(folder)
    files, passed_over = find_images(folder)
    if passed_over:
        log.info("%s: %d files passed over, hidden or of no kind that is read", folder, passed_over)
    if not files:
        raise InvalidInput("images", folder, f"holds no image ({', '.join(SUFFIXES)})", "name another folder")
    if limit is not None and limit < len(files):
        files = _spread(files, [known.get(path.name, {}).get("group", "") for path in files], limit)
    modalities = [known.get(path.name, {}).get("modality") or "not stated" for path in files]
    found = read_each(files, lambda image: image.pixels, _MIN_SIDE, skip_unreadable=skip_unreadable)
    return [
        Subject(path.name, what, pixels)
        for path, what, pixels in zip(files, modalities, found, strict=True)
        if pixels is not None
    ]


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    for path in (folder / "manifest.csv", folder.parent / "manifest.csv"):
        if path.is_file():
            return {Path(row["file"]).name: row for row in read_csv(path, "manifest", ["file"]) if row["file"]}
    return {}


def _spread(files: Sequence[Path], groups: Sequence[str], limit: int) -> list[Path]:
    """Round robin over the groups, so that a short run sees every specimen."""
    rank: dict[str, int] = {}
    keyed = []
    for path, group in zip(files, groups, strict=True):
        rank[group] = rank.get(group, -1) + 1
        keyed.append((rank[group], group, path))
    return sorted(path for _, _, path in sorted(keyed)[:limit])
