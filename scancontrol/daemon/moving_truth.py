"""The truth of each frame of a dry run: what the simulator rendered, moved to where it states that the specimen was.

The simulator renders more than the field once, and states for each frame how far the specimen has moved since. Between
pixels a Kaiser-windowed sinc of 16 taps moves it.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RecordingError

__all__ = ["MovingTruth"]

_REACH = 8  # pixels to each side that one moved pixel is made of
_KAISER = 8.0
_STRIP = 32  # rows at a time, which stay in the processor's cache

Image = NDArray[np.float32]


class _Move(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the simulator's moves; more may stand in it."""

    frame: int
    truth: str  # the file that it is relative to
    moved_px: tuple[float, float]


class MovingTruth:
    """Reads what the simulator wrote to ``path`` and beside it. ``shape`` (rows, cols) is that of the scan, if known.

    Every method raises :class:`RecordingError` where a file is no truth, or of another shape.
    """

    def __init__(self, path: Path, shape: tuple[int, int] | None = None) -> None:
        self._path, self._shape = path, shape
        self._moves_path = path.with_name(f"{path.stem}-moves.jsonl")
        self._moves: dict[int, _Move] = {}
        self._read = 0  # bytes of the moves
        self._still: Image | None = None
        self._around: tuple[str, Image] | None = None  # the wide picture that was needed last

    @property
    def still(self) -> Image | None:
        """The noise-free expectation of the first channel at the beginning of the first frame, (rows, cols), counts.

        None until the simulator has written it.
        """
        if self._still is None and self._path.exists():
            still = _first_channel(self._path)
            if self._shape is not None and still.shape != self._shape:
                raise RecordingError(
                    f"the truth in {self._path} is {still.shape} px; the recording holds {self._shape} px"
                )
            self._still = still
        return self._still

    def of(self, frame: int) -> Image | None:
        """The same in the middle of a frame's beam time; None where it is not known.

        Without moves beside the file the specimen is taken to stand still. Of a frame number that came again the last
        frame counts.
        """
        if self.still is None or not self._moves_path.exists():
            return self.still
        self._read_on()
        move = self._moves.get(frame)
        if move is None:
            return None
        if self._around is None or self._around[0] != move.truth:
            path = self._path.with_name(Path(move.truth).name)
            if not path.exists():
                return None
            self._around = move.truth, _first_channel(path)
        return _moved(self._around[1], self.still.shape, move.moved_px)

    def _read_on(self) -> None:
        try:
            with self._moves_path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            for line in whole.splitlines():
                move = msgspec.json.decode(line, type=_Move)
                self._moves[move.frame] = move
        except (OSError, msgspec.MsgspecError) as error:
            raise RecordingError(f"{self._moves_path} is not what the simulator wrote: {error}") from error
        self._read += len(whole)


def _first_channel(path: Path) -> Image:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return np.asarray(archive["expected"][0], dtype=np.float32)
    except (OSError, EOFError, KeyError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path} is not a truth that the simulator wrote: {error}") from error


def _moved(wide: Image, shape: tuple[int, ...], by_px: tuple[float, float]) -> Image | None:
    """The middle of ``wide`` with the specimen moved (y, x) pixels; None where that is farther than was rendered."""
    image = wide
    for axis in (0, 1):
        whole = math.floor(-by_px[axis])
        first = (wide.shape[axis] - shape[axis]) // 2 + whole - _REACH + 1
        if first < 0 or first + shape[axis] + 2 * _REACH - 1 > wide.shape[axis]:
            return None
        image = _between(image, first, shape[axis], -by_px[axis] - whole, axis)
    return image


def _between(image: Image, first: int, count: int, fraction: float, axis: int) -> Image:
    """``count`` rows (or columns) ``fraction`` of a pixel beyond those from ``first + _REACH - 1`` on."""
    taps = np.arange(1 - _REACH, _REACH + 1) - fraction
    kernel = np.sinc(taps) * np.i0(_KAISER * np.sqrt(np.maximum(0.0, 1 - (taps / _REACH) ** 2)))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    out = np.zeros((count, image.shape[1]) if axis == 0 else (image.shape[0], count), np.float32)
    for top in range(0, len(out), _STRIP):
        strip = out[top : top + _STRIP]
        part = np.empty_like(strip)
        for weight, start in zip(kernel, range(first, first + 2 * _REACH), strict=True):
            if axis == 0:
                taken = image[top + start : top + start + len(strip)]
            else:
                taken = image[top : top + len(strip), start : start + count]
            strip += np.multiply(taken, weight, out=part)
    return out
