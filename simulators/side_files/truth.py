"""The ground truth of a dry run, for tests and reports only: a side file that no part of the live path reads.

``truth.npz`` holds ``expected`` (channels, rows, cols): the noise-free counts at the middles of the pixels at the
beginning of the first frame; ``names`` of the channels; ``fov_nm``, ``dwell_us``, ``frame``, ``clock_us``. When the
frame is over, ``achieved`` (n, 2), where the beam really was, comes into ``truth-achieved.npz`` beside it, unless the
path is long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.files import writing
from scancontrol.paths import ScanPath
from simulators.exposure import Exposed, Exposure

__all__ = ["TruthFile", "save"]

_LONGEST_PATH = 1 << 21


class TruthFile:
    """Writes the truth of the first frame, and with ``every`` above 0 that of each ``every``-th one after it.

    The pixel grid is that of the scan unless ``shape`` (rows, cols) says otherwise. Later frames go to
    ``NAME-000012.npz``. Each file appears whole or not at all.

    Raises:
        InvalidInput: the folder does not exist or cannot be written.
    """

    def __init__(self, path: Path, every: int = 0, shape: tuple[int, int] | None = None) -> None:
        self._path = path
        self._every = every
        self._shape = shape
        self._begun: set[int] = set()
        self._achieved: NDArray[np.float64] | None = None
        self._left = 0
        self._target = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            probe = path.with_name(path.name + ".probe")
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InvalidInput(
                "truth", path, f"cannot be written ({error.strerror})", "give a file in a writable folder"
            ) from error

    def frame_begins(self, exposure: Exposure, path: ScanPath, frame: int, first_index: int = 0) -> None:
        """Write the expected counts of this frame, if it is one of those wanted; it goes on from ``first_index``."""
        wanted = not self._begun or (self._every > 0 and frame % self._every == 0)
        if not wanted or frame in self._begun:
            return
        self._target = self._path if not self._begun else self._path.with_name(f"{self._path.stem}-{frame:06d}.npz")
        self._begun.add(frame)
        dwell_us = path.dwell_per_pixel_us
        save(
            self._target,
            expected=exposure.expected_counts(self._shape or path.shape, path.fov_nm, dwell_us, frame),
            names=np.array([detector.name for detector in exposure.config.detectors]),
            fov_nm=path.fov_nm,
            dwell_us=dwell_us,
            frame=frame,
            clock_us=exposure.clock_us,
            path_id=path.path_id,
        )
        self._achieved = np.full((path.count, 2), np.nan) if path.count <= _LONGEST_PATH else None
        self._left = path.count

    def exposed(self, block: Exposed, start: int, stop: int) -> None:
        """Take note of where the beam was for samples ``start`` to ``stop`` of a block."""
        if self._achieved is None:
            return
        self._achieved[block.first_index + start : block.first_index + stop] = block.achieved[start:stop]
        self._left -= stop - start
        if self._left <= 0:
            save(self._target.with_name(f"{self._target.stem}-achieved.npz"), achieved=self._achieved)
            self._achieved = None


def save(path: Path, **arrays: Any) -> None:
    """Write an archive of arrays, whole or not at all."""
    with writing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
