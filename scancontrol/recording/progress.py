"""How far each frame of a recording has come, as its writer keeps it, and rows of the file's tables by name."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.recording.layout import CHUNK_ROW

__all__ = ["FrameProgress", "FrameRows", "fill_row", "new_row"]


@dataclass(slots=True)
class FrameProgress:
    """How far one frame has come. ``next_index`` is the first sample not yet on the disk.

    One that is complete is let go: its row in the file says the same, and a long run has very many.
    """

    row: int
    first: int
    count: int
    path_id: str
    values: NDArray[Any]  # its row of the frame table
    next_index: int = 0
    asked_of: str = ""
    chunk_row: int = -1
    chunk: NDArray[Any] = field(default_factory=lambda: np.zeros(1, dtype=CHUNK_ROW))


class FrameRows:
    """Which row of the frame table each frame has. Frames nearly always begin in order: 8 bytes each are enough."""

    def __init__(self) -> None:
        self._frames = array("Q")  # by row
        self._elsewhere: dict[int, int] = {}  # frames that are not in the row of their own number

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, frame: int) -> int | None:
        """The frame's row; None if it has not begun."""
        if 0 <= frame < len(self._frames) and self._frames[frame] == frame:
            return frame
        return self._elsewhere.get(frame)

    def add(self, frame: int) -> int:
        """Give a new frame the next row."""
        row = len(self._frames)
        self._frames.append(frame)
        if row != frame:
            self._elsewhere[frame] = row
        return row


def fill_row(row: NDArray[Any], **values: Any) -> None:
    """Set fields of a table row, shape (1,)."""
    for name, value in values.items():
        row[name] = value


def new_row(dtype: np.dtype[Any], **values: Any) -> NDArray[Any]:
    """A table row, shape (1,), with these fields set and all others 0."""
    row = np.zeros(1, dtype=dtype)
    fill_row(row, **values)
    return row
