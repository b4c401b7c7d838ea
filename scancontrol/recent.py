"""A mapping that keeps what was used last: bounded, so that a long run keeps no more than a short one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V], Generic[K, V]):
    """At most ``limit`` entries; the one that was neither set nor asked for the longest goes first.

    Entries are asked for with :meth:`get`, :meth:`made` or ``[]``; looking with ``in`` changes no order. Not
    safe between threads by itself.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __getitem__(self, key: K) -> V:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def get(self, key: K, default: V | None = None) -> V | None:  # type: ignore[override]
        """The value of ``key``, which counts as used now; ``default`` where there is none."""
        if key not in self:
            return default
        return self[key]

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._limit:
            del self[next(iter(self))]

    def made(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``, made and kept if there is none."""
        if key not in self:
            self[key] = make()
        return self[key]
