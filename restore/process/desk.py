"""Which of several restorers does which job. No sockets, clocks, threads or torch.

Frames of one stream go to one restorer, which remembers those before; a new stream to the one with the fewest. Paths
are told to all, so that any can take over. A restorer that died gives its streams and the job in its hands to the
others. Each has several jobs in hand if it says so, that it may do some of them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from restore.process.conversation import Conversations, Job
from scancontrol.recent import Recent
from scancontrol.wire import restoring as wire

__all__ = ["NOBODY", "Desk"]

NOBODY = b""
"""The client of a job that nobody waits for: a path that one restorer has prepared, told to another."""

_PATHS_KEPT = 64  # as many as an engine keeps
_STREAMS_KEPT = 1024
_TRIALS = 2
"""Restorers that a job may kill before it is refused: one that kills each would end them all."""


class Desk:
    """Hands the jobs of ``conversations`` to restorers, which are numbered from 0.

    Args:
        rooms: how many jobs each may have in hand at a time.
    """

    def __init__(self, conversations: Conversations, rooms: Sequence[int]) -> None:
        restorers = len(rooms)
        self._conversations = conversations
        self._alive = set(range(restorers))
        self._rooms = tuple(rooms)
        self._in_hand: list[list[Job]] = [[] for _ in rooms]
        self._streams: Recent[tuple[bytes, str], int] = Recent(_STREAMS_KEPT)
        self._paths: Recent[str, wire.Register] = Recent(_PATHS_KEPT)
        self._to_learn: list[dict[str, wire.Register]] = [{} for _ in range(restorers)]
        self._preparing: Counter[bytes] = Counter()  # paths of each client: its frames wait until all know them

    def next(self) -> tuple[int, Job] | None:
        """A restorer and a job for it, to be ended with :meth:`done` or :meth:`lost`; None if none can begin."""
        for restorer in sorted(self._alive):
            if self._to_learn[restorer] and self._has_room(restorer):
                _, message = self._to_learn[restorer].popitem()
                job = Job(NOBODY, message, None, 0)
                self._in_hand[restorer].append(job)
                return restorer, job
        kept_free: set[int] = set()  # for a job that killed one: it is done with no other that it could take along

        def can_begin(job: Job) -> bool:
            whose = self._restorer_for(job)
            if whose is None or whose in kept_free:
                return False
            if job.trials and self._in_hand[whose]:
                kept_free.add(whose)
                return False
            return self._has_room(whose)

        job_or_none = self._conversations.next_job(can_begin)
        if job_or_none is None:
            return None
        job, whose = job_or_none, self._restorer_for(job_or_none)
        assert whose is not None  # noqa: S101 - asked just before
        return self._handed(job, whose)

    def _handed(self, job: Job, restorer: int) -> tuple[int, Job]:
        self._in_hand[restorer].append(job)
        if isinstance(job.message, wire.Restore):
            self._streams[job.client, job.message.stream] = restorer
        else:
            self._preparing[job.client] += 1
        return restorer, job

    def _has_room(self, restorer: int) -> bool:
        in_hand = self._in_hand[restorer]
        return len(in_hand) < self._rooms[restorer] and not any(job.trials for job in in_hand)

    def _restorer_for(self, job: Job) -> int | None:
        """Whose job it is; None while nobody's."""
        if isinstance(job.message, wire.Register):
            return min(self._alive, key=lambda restorer: (len(self._in_hand[restorer]), restorer), default=None)
        if self._preparing[job.client]:
            return None
        known = self._streams.get((job.client, job.message.stream))
        if known in self._alive:
            return known
        streams = list(self._streams.values())
        return min(self._alive, key=lambda restorer: (streams.count(restorer), restorer), default=None)

    def done(self, restorer: int, job: Job, answer: wire.RestorerMessage) -> None:
        """A restorer has done a job."""
        self._in_hand[restorer].remove(job)
        self._prepared(job)
        if isinstance(answer, wire.Registered) and isinstance(job.message, wire.Register) and job.client != NOBODY:
            self._paths[job.message.path_id] = job.message
            for other in self._alive - {restorer}:
                self._to_learn[other][job.message.path_id] = job.message

    def lost(self, restorer: int) -> None:
        """A restorer died over what it had in hand: others do it, each job by itself, unless it killed one before."""
        self._alive.discard(restorer)
        for stream in [stream for stream, kept_by in self._streams.items() if kept_by == restorer]:
            del self._streams[stream]
        jobs, self._in_hand[restorer] = self._in_hand[restorer], []
        for job in reversed(jobs):  # the first one is to be the first again
            self._prepared(job)
            if job.client != NOBODY:
                self._again(job)

    def _prepared(self, job: Job) -> None:
        if isinstance(job.message, wire.Register) and self._preparing[job.client]:
            self._preparing[job.client] -= 1

    def _again(self, job: Job) -> None:
        if job.trials + 1 < _TRIALS:
            self._conversations.again(replace(job, trials=job.trials + 1))
            return
        text = f"{_TRIALS} restorers ended over it"
        message = job.message
        if isinstance(message, wire.Register):
            self._conversations.done(job, wire.Refused(code="failed", text=text, path_id=message.path_id))
        else:
            self._conversations.done(job, wire.Refused(code="failed", text=text, request=message.request))

    def back(self, restorer: int) -> None:
        """A restorer lives again; it knows no path, and is told those that the others were."""
        self._alive.add(restorer)
        self._to_learn[restorer] = dict(self._paths)
