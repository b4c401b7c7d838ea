"""What is remembered, beside each frame, of the frames after it: for restoring offline.

Frames are recalled in reverse, block by block, each block begun with so many frames after it as are remembered: what is
kept at a time is of one block, however long the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from restore.estimate.stream import Recalled

__all__ = ["Later"]

_BLOCK = 16  # frames; a memory's length more are recalled for each


class Later:
    """What is recalled of later frames at each of a sequence of frames, which are asked for in their order.

    Args:
        frames: their numbers.
        memory: how many frames are remembered at most, each frame itself included.
        recall: restores a frame as the given place of a block's stream in reverse, and tells what was recalled; None:
            it was passed over.
    """

    def __init__(self, frames: Sequence[int], memory: int, recall: Callable[[int, int, int], Recalled | None]) -> None:
        self._frames, self._memory, self._recall = frames, memory, recall
        self._block: dict[int, Recalled | None] = {}

    def of(self, index: int) -> Recalled | None:
        """What was recalled at ``frames[index]`` of those after it."""
        if index not in self._block:
            self._look_ahead(index)
        return self._block.pop(index)

    def _look_ahead(self, first: int) -> None:
        end = min(first + _BLOCK, len(self._frames))
        last = min(end + self._memory - 1, len(self._frames)) - 1
        for index in range(last, first - 1, -1):
            frame = self._frames[index]
            recalled = self._recall(frame, self._frames[last] - frame, first // _BLOCK)
            if index < end:
                self._block[index] = recalled
