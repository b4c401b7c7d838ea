"""Which numbers were seen, all of them, in little memory: requests are numbered upwards, so they are few stretches."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["SeenNumbers"]

_STRETCHES = 1024


class SeenNumbers:
    """A set of numbers that can only grow. With very many gaps the lowest ones count as seen, too."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def add(self, number: int) -> None:
        """It was seen."""
        if number in self:
            return
        at = bisect_right(self._starts, number)
        self._starts.insert(at, number)
        self._stops.insert(at, number + 1)
        for left in (at, at - 1):  # join with the stretch after it, then with the one before
            if 0 <= left < len(self._starts) - 1 and self._stops[left] == self._starts[left + 1]:
                self._stops[left] = self._stops.pop(left + 1)
                self._starts.pop(left + 1)
        if len(self._starts) > _STRETCHES:
            self._stops[0] = self._stops.pop(1)
            self._starts.pop(1)
