"""How long to wait before what failed is tried again: twice as long each time, within bounds."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Waits of ``first_s``, then twice as long each time up to ``most_s``, until :meth:`reset`."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """How long to wait this time."""
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self._most_s)
        return wait_s

    def reset(self) -> None:
        """It went well: the next wait is short again."""
        self._next_s = self._first_s
