"""What a plan's recording takes, said before it is made: room on the disk and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.data_sets import PICTURES, data_sets
from scancontrol.recording.planned import header_of
from scancontrol.recording.regions import check_room
from scancontrol.recording.tree import pictures_in_block

__all__ = ["RecordingNeed"]

_POSITIONS = ("nominal", "achieved", "dwell_us")  # of every path that differs from the others
_BLOCK_S = 17e-6  # about what HDF5 takes to note where one block of pictures lies


@dataclass(frozen=True)
class RecordingNeed:
    """Room and time that a recording takes.

    Attributes:
        frames: of the plan.
        samples_bytes: set aside before the first electron: raw samples of all detectors, and their tables.
        pictures_bytes: what is taken beyond that, if every picture is stored: these, and the positions of every path.
        making_s: about how long it takes to make the file.
    """

    frames: int
    samples_bytes: int
    pictures_bytes: int
    making_s: float

    @classmethod
    def of(
        cls,
        planned: PlannedScan,
        keep_restorations: int | Literal["all", "last", "none"] = "all",
        *,
        paths_vary: bool = False,
    ) -> RecordingNeed:
        """What the recording of a plan on its microscope takes; with ``paths_vary`` each frame may be shifted."""
        header = header_of(planned, keep_restorations=keep_restorations, paths_vary=paths_vary)
        large = [one for one in data_sets(header) if one.kind in (*PICTURES, *_POSITIONS)]
        pictures = [one for one in large if one.kind in PICTURES and one.shape[0]]
        blocks = sum(-(-one.shape[0] // pictures_in_block(one.shape)) for one in pictures)
        return cls(
            planned.plan.frames,
            header.reserved_bytes,
            sum(one.dtype.itemsize * math.prod(one.shape if one.kind in PICTURES else one.shape[:1]) for one in large),
            _BLOCK_S * blocks,
        )

    def check(self, folder: Path) -> None:
        """Raise :class:`~scancontrol.errors.RecordingError` where the samples do not fit on the disk of ``folder``."""
        check_room(folder, self.samples_bytes, self.frames)

    def __str__(self) -> str:
        made = f", made in about {self.making_s:.0f} s" if self.making_s >= 1 else ""
        return (
            f"{size(self.samples_bytes)} for the samples of all detectors{made}; "
            f"up to {size(self.pictures_bytes)} more for pictures and positions"
        )


def size(count: float) -> str:
    """Bytes as a person reads them, such as ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
