"""The frames of a recording that is being written: how far each has come, and which are complete and let go."""

from __future__ import annotations

from collections.abc import Iterator

from scancontrol.recording.progress import FrameProgress, FrameRows

__all__ = ["OpenFrames"]


class OpenFrames:
    """Progress of every frame that is not complete; of the complete ones only the row and the count of samples.

    Whatever is told of a complete frame is in its row of the file: a long run has very many of them.
    """

    def __init__(self) -> None:
        self._rows = FrameRows()
        self._progress: dict[int, FrameProgress] = {}
        self._samples = 0  # of complete frames

    def __len__(self) -> int:
        """Frames that have begun, the complete ones included."""
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, FrameProgress]]:
        """(frame, progress) of those that are not complete; frames may complete meanwhile."""
        return iter(list(self._progress.items()))

    @property
    def samples(self) -> int:
        """Of all frames, on the disk."""
        return self._samples + sum(progress.next_index for _, progress in self)

    def row(self, frame: int) -> int | None:
        """The frame's row in the table; None if it has not begun."""
        return self._rows.get(frame)

    def get(self, frame: int) -> FrameProgress | None:
        """How far a frame has come; None if it has not begun, or is complete."""
        return self._progress.get(frame)

    def add(self, frame: int, progress: FrameProgress) -> None:
        """A frame begins in the next row of the table."""
        self._rows.add(frame)
        self._progress[frame] = progress

    def add_complete(self, frame: int, count: int) -> None:
        """The frame in the next row of the table has been complete since before."""
        self._rows.add(frame)
        self._samples += count

    def complete(self, frame: int) -> None:
        """All samples of a frame are on the disk, and its end is noted."""
        progress = self._progress.pop(frame, None)
        if progress is not None:
            self._samples += progress.count
