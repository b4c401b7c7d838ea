"""The truth of every frame of a specimen that moves: one wide picture of it, and how far each frame has moved.

``truth-around-000000.npz`` beside ``truth.npz`` holds ``expected`` (channels, rows + 2 ``margin``, cols + 2 ``margin``)
as of the beginning of a frame; where the specimen has nearly left it, ``truth-around-000001.npz`` follows.
``truth-moves.jsonl`` has a line a frame: ``frame``; ``truth``, the name of that file; ``moved_px`` (y, x), how far the
specimen has moved since by the middle of the frame's beam time. Beam damage, and a specimen that changes by itself,
are not in it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.paths import ScanPath
from simulators.exposure import Exposure
from simulators.side_files.truth import TruthFile, save

__all__ = ["TrackedTruth"]

_MARGIN_PX = 64
_LEFT_PX = 16  # of the margin, where it is rendered again: what moves a picture needs some beyond it


@dataclass(frozen=True)
class _Around:
    """What was rendered last."""

    path: Path
    at_nm: NDArray[np.float64]  # (2,) where the specimen was


class TrackedTruth(TruthFile):
    """Writes the first frame's truth, and states how every frame of that field of view has moved.

    Args:
        path: of the first frame's truth; what else is written lies beside it.
        shape: rows and columns; those of the first scan without.
        kept: how many of the wide pictures are kept, the newest; 0: all.

    Raises:
        InvalidInput: the folder does not exist or cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int] | None = None, kept: int = 0) -> None:
        super().__init__(path, shape=shape)
        self._kept = kept
        self._moves = path.with_name(f"{path.stem}-moves.jsonl")
        self._moves.unlink(missing_ok=True)  # of a run before
        self._of: tuple[tuple[int, int], float, float] | None = None  # the first scan's shape, field of view and dwell
        self._around: deque[_Around] = deque()
        self._rendered = 0
        self._frame = -1  # whose move was stated last

    def frame_begins(self, exposure: Exposure, path: ScanPath, frame: int, first_index: int = 0) -> None:
        """State this frame's move, once; render the specimen where that is needed."""
        super().frame_begins(exposure, path, frame, first_index)
        if first_index > 0 and frame == self._frame:
            return  # it comes in pieces, or was paused
        self._frame = frame
        if self._of is None:
            self._of = (self._shape or path.shape, path.fov_nm, path.dwell_per_pixel_us)
        shape, fov_nm, _ = self._of
        if path.fov_nm != fov_nm:
            return
        px_nm = fov_nm / shape[1]
        now_nm = _moved_nm(exposure, exposure.clock_us)
        if not self._around or np.abs(now_nm - self._around[-1].at_nm).max() > (_MARGIN_PX - _LEFT_PX) * px_nm:
            self._render(exposure, frame, now_nm)
        middle_nm = _moved_nm(exposure, exposure.clock_us + path.duration_us / 2)
        newest = self._around[-1]
        line = {
            "frame": frame,
            "truth": newest.path.name,
            "moved_px": [round(float(v), 5) for v in (middle_nm - newest.at_nm) / px_nm],
        }
        with self._moves.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def _render(self, exposure: Exposure, frame: int, now_nm: NDArray[np.float64]) -> None:
        assert self._of is not None  # noqa: S101 - set by who calls
        (rows, cols), fov_nm, dwell_us = self._of
        wide = (rows + 2 * _MARGIN_PX, cols + 2 * _MARGIN_PX)
        file = self._path.with_name(f"{self._path.stem}-around-{self._rendered:06d}.npz")
        self._rendered += 1
        expected = exposure.expected_counts(wide, fov_nm * wide[1] / cols, dwell_us, frame)
        save(file, expected=expected, margin=_MARGIN_PX)
        self._around.append(_Around(file, now_nm))
        while self._kept and len(self._around) > self._kept:
            self._around.popleft().path.unlink(missing_ok=True)


def _moved_nm(exposure: Exposure, time_us: float) -> NDArray[np.float64]:
    y, x = exposure.config.motion.displacement_nm(np.array([time_us]))
    return np.array([float(y[0]), float(x[0])])
