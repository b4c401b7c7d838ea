"""Which of several restorers does which job. No sockets, clocks, threads or torch.

Frames of one stream go to one restorer, which remembers those before; a new stream to the one with the fewest. Paths
are told to all, so that any can take over. A restorer that died gives its streams and the job in its hands to the
others.
"""

from __future__ import annotations

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
    """Hands the jobs of ``conversations`` to ``restorers``, which are numbered from 0."""

    def __init__(self, conversations: Conversations, restorers: int) -> None:
        self._conversations = conversations
        self._alive = set(range(restorers))
        self._idle = set(range(restorers))
        self._streams: Recent[tuple[bytes, str], int] = Recent(_STREAMS_KEPT)
        self._paths: Recent[str, wire.Register] = Recent(_PATHS_KEPT)
        self._to_learn: list[dict[str, wire.Register]] = [{} for _ in range(restorers)]
        self._preparing: set[bytes] = set()  # clients a path of whom is being prepared: frames wait until all know it

    def next(self) -> tuple[int, Job] | None:
        """A restorer and the job that it does now, to be ended with :meth:`done` or :meth:`lost`; None if none can."""
        for idle in sorted(self._idle):
            if self._to_learn[idle]:
                _, message = self._to_learn[idle].popitem()
                self._idle.discard(idle)
                return idle, Job(NOBODY, message, None, 0)
        job = self._conversations.next_job(lambda job: self._restorer_for(job) in self._idle)
        if job is None:
            return None
        restorer = self._restorer_for(job)
        assert restorer is not None  # noqa: S101 - asked just before
        self._idle.discard(restorer)
        if isinstance(job.message, wire.Restore):
            self._streams[job.client, job.message.stream] = restorer
        else:
            self._preparing.add(job.client)
        return restorer, job

    def _restorer_for(self, job: Job) -> int | None:
        """Whose job it is; None while nobody's."""
        if isinstance(job.message, wire.Register):
            return min(self._idle, default=None)
        if job.client in self._preparing:
            return None
        known = self._streams.get((job.client, job.message.stream))
        if known in self._alive:
            return known
        streams = list(self._streams.values())
        return min(self._alive, key=lambda restorer: (streams.count(restorer), restorer), default=None)

    def done(self, restorer: int, job: Job, answer: wire.RestorerMessage) -> None:
        """A restorer has done its job and waits for another."""
        self._idle.add(restorer)
        if isinstance(job.message, wire.Register):
            self._preparing.discard(job.client)
        if isinstance(answer, wire.Registered) and isinstance(job.message, wire.Register) and job.client != NOBODY:
            self._paths[job.message.path_id] = job.message
            for other in self._alive - {restorer}:
                self._to_learn[other][job.message.path_id] = job.message

    def lost(self, restorer: int, job: Job) -> None:
        """A restorer died over its job: another one does it, unless it killed one before."""
        self._alive.discard(restorer)
        self._idle.discard(restorer)
        for stream in [stream for stream, kept_by in self._streams.items() if kept_by == restorer]:
            del self._streams[stream]
        self._preparing.discard(job.client)
        if job.client == NOBODY:
            return
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
        self._idle.add(restorer)
        self._to_learn[restorer] = dict(self._paths)
