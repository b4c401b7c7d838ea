"""Frames on their way through an engine: several at once where they wait, and two batches where the device lets them.

Nobody waits for a fuller batch: what is there when the device is free is restored together, if it is of one size. On a
GPU the next batch is got ready while one is computed. A frame that fails takes no other with it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from restore.engine import Begun, Engine, Launched
from restore.restorer import Restoration

__all__ = ["Ended", "UnderWay", "Wanted"]

log = logging.getLogger(__name__)

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Wanted:
    """A frame to restore, see :meth:`restore.engine.Engine.restore`.

    ``stream`` is whose frames keep their order; ``alone``, nothing is remembered of those before.
    """

    samples: np.ndarray
    path_id: str
    stream: str | None = None
    frame: int = 0
    complete: bool = True
    lattice: bool = True
    alone: bool = False


@dataclass(frozen=True)
class Ended(Generic[Key]):
    """What became of a frame, and when it was begun (monotonic ns)."""

    key: Key
    found: Restoration | Exception
    began_ns: int


@dataclass(frozen=True)
class _Flying(Generic[Key]):
    key: Key
    wanted: Wanted
    began_ns: int
    launched: Launched


class UnderWay(Generic[Key]):
    """The frames that one engine has in hand, each under a key of whoever asked. For the engine's own thread.

    Args:
        engine: what restores.
        clock_ns: tells when frames are begun.
    """

    def __init__(self, engine: Engine, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._engine, self._clock_ns = engine, clock_ns
        self._waiting: deque[tuple[Key, Wanted]] = deque()
        self._flying: deque[list[_Flying[Key]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._flying))

    def add(self, key: Key, wanted: Wanted) -> None:
        """Take a frame in hand."""
        self._waiting.append((key, wanted))

    @property
    def would_wait(self) -> bool:
        """Whether :meth:`step` would only wait for the device."""
        if not self._flying or self._flying[0][0].launched.computed.past:
            return False
        return len(self._flying) >= self._engine.feeder.under_way or not self._next()

    def step(self) -> list[Ended[Key]]:
        """Begin what can be begun, or else wait for the batch that was begun first; the frames that ended."""
        ended: list[Ended[Key]] = []
        if len(self._flying) < self._engine.feeder.under_way and (batch := self._next()):
            self._waiting = deque(one for one in self._waiting if one not in batch)
            if flying := self._launched(self._begun(batch, ended), ended):
                self._flying.append(flying)
            if self._engine.feeder.under_way > 1:
                return ended
        if self._flying:
            ended += [self._finished(one) for one in self._flying.popleft()]
        return ended

    def _next(self) -> list[tuple[Key, Wanted]]:
        """The frames that are begun next: the first that can be, and those of its size, streams in their order."""
        flying = {one.wanted.stream for batch in self._flying for one in batch}
        found: list[tuple[Key, Wanted]] = []
        held_up: set[str | None] = set()  # streams that a frame of is not among them
        for key, wanted in self._waiting:
            stream = wanted.stream
            of_before = self._engine.remembers(stream) and not wanted.alone
            taken = flying | {one.stream for _, one in found}
            if (stream is not None and stream in held_up) or (of_before and stream in taken):
                held_up.add(stream)
            elif not found:
                found.append((key, wanted))
                if wanted.path_id not in self._engine:
                    break  # it fails by itself
                most, shape = self._engine.together(wanted.path_id), self._engine.path(wanted.path_id).path.shape
            elif wanted.path_id in self._engine and self._engine.path(wanted.path_id).path.shape == shape:
                found.append((key, wanted))
            else:
                held_up.add(stream)
            if found and len(found) >= most:
                break
        return found

    def _begun(self, batch: list[tuple[Key, Wanted]], ended: list[Ended[Key]]) -> list[tuple[Key, Wanted, int, Begun]]:
        found = []
        for key, wanted in batch:
            began_ns = self._clock_ns()
            try:
                begun = self._engine.begin(
                    wanted.samples,
                    wanted.path_id,
                    stream=None if wanted.alone else wanted.stream,
                    frame=wanted.frame,
                    complete=wanted.complete,
                    lattice=wanted.lattice,
                )
            except Exception as error:
                ended.append(Ended(key, error, began_ns))
            else:
                found.append((key, wanted, began_ns, begun))
        return found

    def _launched(self, frames: list[tuple[Key, Wanted, int, Begun]], ended: list[Ended[Key]]) -> list[_Flying[Key]]:
        if not frames:
            return []
        try:
            launched = self._engine.launch([begun for *_, begun in frames])
        except Exception as error:
            if len(frames) > 1:
                log.warning("%d frames at once failed (%s), each is tried by itself", len(frames), error)
                return [one for frame in frames for one in self._launched([frame], ended)]
            key, _, began_ns, _ = frames[0]
            ended.append(Ended(key, error, began_ns))
            return []
        return [_Flying(*frame[:3], one) for frame, one in zip(frames, launched, strict=True)]

    def _finished(self, one: _Flying[Key]) -> Ended[Key]:
        try:
            return Ended(one.key, self._engine.finish(one.launched), one.began_ns)
        except Exception as error:
            return Ended(one.key, error, one.began_ns)
