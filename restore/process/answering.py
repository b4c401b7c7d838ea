"""Who does the jobs: what every one of them can do, and the engine of this process."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from restore.engine import Engine
from restore.process.conversation import Job
from restore.process.restoring import registered, restored, unknown_path, wanted
from restore.under_way import UnderWay
from scancontrol.errors import ScanControlError
from scancontrol.wire import restoring as wire

__all__ = ["Answer", "Answering", "OwnEngine", "RestorerGone"]

log = logging.getLogger(__name__)

Answer = tuple[wire.RestorerMessage, list[Any]]

_LOOK_EVERY_S = 0.0005  # whether the device is done, or another frame has come meanwhile


class RestorerGone(ScanControlError):
    """The process that was to do a job ended, or says nothing any more."""


class Answering(Protocol):
    """Does jobs, in a thread of its own.

    Attributes:
        room: jobs that are worth being in its hands at a time.
    """

    room: int

    def take(self, job: Job) -> None:
        """Take a job in hand.

        Raises:
            RestorerGone: as of :meth:`go_on`.
        """
        ...  # pragma: no cover

    def go_on(self) -> list[tuple[Job, Answer]]:
        """Go on with what is in hand; the jobs that are done, each with its answer: a message and its images.

        Raises:
            RestorerGone: whoever did them is gone, and all jobs in hand with it; :meth:`revive` comes next.
        """
        ...  # pragma: no cover

    def revive(self) -> bool:
        """Get whoever does the jobs back; False if that did not work yet."""
        ...  # pragma: no cover

    def close(self) -> None:
        """End it. From any thread, once no job is being done."""
        ...  # pragma: no cover


class OwnEngine:
    """The engine of this process.

    Args:
        engine: that nobody else uses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: deque[Job] = deque()
        self._frames: UnderWay[Job] = UnderWay(engine)
        self.room = engine.room

    def take(self, job: Job) -> None:
        """See :class:`Answering`; an engine is never gone."""
        self._jobs.append(job)

    def go_on(self) -> list[tuple[Job, Answer]]:
        """See :class:`Answering`. A path is prepared when the frames before it are done."""
        done = list(self._begin_frames())
        if done:
            return done
        if len(self._frames):
            if self._frames.would_wait:
                time.sleep(_LOOK_EVERY_S)
                return []
            return [(ended.key, restored(_frame(ended.key), ended.key, ended)) for ended in self._frames.step()]
        if self._jobs:
            job = self._jobs.popleft()
            assert isinstance(job.message, wire.Register)  # noqa: S101 - else it were a frame that began
            return [(job, registered(self._engine, job.message))]
        return []

    def _begin_frames(self) -> Iterator[tuple[Job, Answer]]:
        """Hand over the frames before the next path; those of a path that nobody knows are answered."""
        while self._jobs and isinstance(message := self._jobs[0].message, wire.Restore):
            job = self._jobs.popleft()
            if job.samples is None or message.path_id not in self._engine:
                yield job, unknown_path(message)
            else:
                self._frames.add(job, wanted(message, job.samples))

    def revive(self) -> bool:
        """It was never gone."""
        return True

    def close(self) -> None:
        """It ends with the process."""


def _frame(job: Job) -> wire.Restore:
    assert isinstance(job.message, wire.Restore)  # noqa: S101 - nothing else is under way
    return job.message
