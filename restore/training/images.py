"""Micrographs for training: any folder or manifest, any common format, sampled and split by specimen group.

Images are held as they are stored (8 or 16 bit, or float32); a crop becomes float32 in [0, 1] on the training
device. Nothing is cached to disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scancontrol.errors import InvalidInput
from scancontrol.files import beside, read_csv
from scancontrol.micrographs import SUFFIXES, find_images, read_each

__all__ = ["MIN_SIDE", "ImageSet", "epoch_order"]

log = logging.getLogger(__name__)

MIN_SIDE = 64
"""Of an image to train on."""


@dataclass(frozen=True)
class ImageSet:
    """Images in memory, scaled so that 0.1 and 99.9 percentiles are 0 and 255 of 8 bits, and their groups."""

    images: tuple[Tensor, ...]  # uint8 (rows, cols) each
    groups: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def read(cls, source: Path, split: str | None = None, *, skip_unreadable: bool = False) -> ImageSet:
        """Read a manifest (CSV with ``file`` and optionally ``group`` and ``split``), or every image under a folder.

        In a folder, the first directory level below it names the group; loose files are a group each.

        Raises:
            InvalidInput: nothing readable is there, or an image cannot be used and ``skip_unreadable`` is not set.
        """
        rows = _manifest(source, split) if source.is_file() else _folder(source)
        if not rows:
            raise InvalidInput("images", source, f"holds no image ({', '.join(SUFFIXES)})", "name another folder")
        found = read_each(
            [path for path, _ in rows],
            lambda image: _in_8_bits(image.pixels),
            MIN_SIDE,
            skip_unreadable=skip_unreadable,
        )
        kept = [
            (image, group, path.name) for image, (path, group) in zip(found, rows, strict=True) if image is not None
        ]
        return cls(*(tuple(column) for column in zip(*kept, strict=True)))

    @classmethod
    def of(cls, items: Iterator[tuple[np.ndarray, str, str]]) -> ImageSet:
        """From (image, group, name) triples."""
        images, groups, names = [], [], []
        for image, group, name in items:
            images.append(_in_8_bits(image))
            groups.append(group)
            names.append(name)
        return cls(tuple(images), tuple(groups), tuple(names))

    def without(self, groups: Sequence[str]) -> tuple[ImageSet, ImageSet]:
        """(the rest, the images of the named groups): a split that no specimen crosses."""
        missing = set(groups) - set(self.groups)
        if missing:
            raise InvalidInput("holdout_groups", sorted(missing), "are not in the data", "name groups that exist")
        return self._where([g not in groups for g in self.groups]), self._where([g in groups for g in self.groups])

    def some_groups(self, share: float) -> tuple[str, ...]:
        """About a share of the groups, spread evenly over their names; of two or more at least one, never all."""
        groups = sorted(set(self.groups))
        count = min(len(groups) - 1, max(1, round(share * len(groups)))) if share else 0
        return tuple(groups[int((at + 0.5) * len(groups) / count)] for at in range(count))

    def __add__(self, other: ImageSet) -> ImageSet:
        """Both sets."""
        return ImageSet(self.images + other.images, self.groups + other.groups, self.names + other.names)

    def _where(self, keep: Sequence[bool]) -> ImageSet:
        def chosen(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(v for v, k in zip(values, keep, strict=True) if k)

        return ImageSet(chosen(self.images), chosen(self.groups), chosen(self.names))


def _in_8_bits(image: np.ndarray) -> Tensor:
    """From the 0.1 percentile to the 99.9th."""
    low, high = np.percentile(image, (0.1, 99.9))
    if high <= low:
        low, high = image.min(), image.max()
    scaled = np.clip((image - low) * (255.0 / (high - low)), 0, 255)
    return torch.from_numpy(np.round(scaled).astype(np.uint8))


def _manifest(path: Path, split: str | None) -> list[tuple[Path, str]]:
    return [
        (beside(path, row["file"]), row.get("group") or row["file"])
        for row in read_csv(path, "manifest", ["file"])
        if split is None or row.get("split") == split
    ]


def _folder(path: Path) -> list[tuple[Path, str]]:
    if not path.is_dir():
        raise InvalidInput("images", path, "does not exist", "name a folder or a manifest")
    files, passed_over = find_images(path)
    if passed_over:
        log.info("%s: %d files passed over, hidden or of no kind that is read", path, passed_over)
    return [(p, p.relative_to(path).parts[0]) for p in files]


def epoch_order(groups: Sequence[str], seed: int, epoch: int, exponent: float) -> list[int]:
    """The images of one epoch in order: about size**exponent images of each group, none of them twice.

    ``exponent`` 0 draws one image of every group, 1 every image; in between, large groups count for more without
    drowning the small ones. Every process computes the same order and takes its own stride of it.
    """
    rng = np.random.default_rng((seed, epoch))
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    order: list[int] = []
    for indices in members.values():
        take = max(1, round(len(indices) ** exponent))
        order.extend(int(i) for i in rng.permutation(indices)[:take])
    return [order[i] for i in rng.permutation(len(order))]
