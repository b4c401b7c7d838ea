"""What the restorer says to its clients: messages in, jobs and messages out. No sockets, clocks, threads or torch.

After :meth:`Conversations.receive` or :meth:`Conversations.done` take jobs with :meth:`Conversations.next_job` and send
what :meth:`Conversations.data_to_send` gives. Jobs are done first come, first served; whoever sends more than it was
told may wait is refused as ``overrun`` and not heard again until its next hello.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scancontrol.errors import RemoteProtocolError
from scancontrol.recent import Recent
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import Part, encode

__all__ = ["BACKLOG", "Conversations", "Job"]

log = logging.getLogger(__name__)

BACKLOG = 4  # jobs of one client that may wait
_JOBS_LIMIT = 64  # of all clients
_CLOSED_KEPT = 1024
_ANY = ""  # stream


@dataclass(frozen=True, eq=False)
class Job:
    """A path to prepare or a frame to restore: for whom, and when it came (monotonic ns)."""

    client: bytes
    message: wire.Register | wire.Restore
    samples: np.ndarray | None  # (n,), of a frame
    received_ns: int
    trials: int = 0  # restorers that ended over it


class Conversations:
    """The conversations with all clients.

    Args:
        welcome: what each client is told of who restores.
    """

    def __init__(self, welcome: wire.Welcome) -> None:
        self._welcome = welcome
        self._jobs: deque[Job] = deque()
        self._out: list[tuple[bytes, list[Any]]] = []
        self._closed: Recent[bytes, None] = Recent(_CLOSED_KEPT)  # clients who are not heard
        self._restored = 0

    def receive(self, client: bytes, parts: Sequence[Part], now_ns: int) -> None:
        """One multipart message from a client."""
        try:
            message, payload = wire.FROM_DAEMON.decode(parts)
        except RemoteProtocolError as error:
            log.warning("%s", error)
            self._say(client, wire.Refused(code="malformed", text=str(error)[:4000]))
            return
        if isinstance(message, wire.Hello):
            self._hello(client, message)
        elif client in self._closed:
            return
        elif isinstance(message, wire.Ping):
            waiting = len(self._jobs)
            self._say(client, wire.Pong(sequence=message.sequence, waiting=waiting, restored=self._restored))
        else:
            samples = wire.read_samples(message, payload) if isinstance(message, wire.Restore) else None
            self._queue(Job(client, message, samples, now_ns))

    def next_job(self, can_begin: Callable[[Job], bool] = lambda _: True) -> Job | None:
        """The first job that can begin, to be answered with :meth:`done`; None if there is none.

        A path comes before what its client asks after it, and frames of a stream begin in their order: a job that
        cannot begin holds those up.
        """
        held_up: set[tuple[bytes, str]] = set()
        for job in self._jobs:
            stream = (job.client, job.message.stream if isinstance(job.message, wire.Restore) else _ANY)
            if not held_up & {stream, (job.client, _ANY)} and can_begin(job):
                self._jobs.remove(job)
                return job
            held_up.add(stream)
        return None

    def again(self, job: Job) -> None:
        """A job that was taken and could not be done is the first to be taken next."""
        self._jobs.appendleft(job)

    def done(self, job: Job, answer: wire.RestorerMessage, *images: np.ndarray) -> None:
        """What became of a job; ``images`` are those that belong to a ``Restored``."""
        self._restored += isinstance(answer, wire.Restored)
        self._say(job.client, answer, *images)

    def data_to_send(self) -> list[tuple[bytes, list[Any]]]:
        """The messages to send now, each with its client and as its parts."""
        out, self._out = self._out, []
        return out

    def _say(self, client: bytes, message: wire.RestorerMessage, *images: np.ndarray) -> None:
        self._out.append((client, encode(message, *images)))

    def _hello(self, client: bytes, hello: wire.Hello) -> None:
        self._forget(client)  # what it asked before it began anew
        self._closed.pop(client, None)
        if hello.version == wire.VERSION:
            self._say(client, self._welcome)
            return
        text = f"version {hello.version} of the restorer's protocol; this end speaks {wire.VERSION}: "
        self._say(client, wire.Refused(code="version", text=text + "install the same release on both"))

    def _queue(self, job: Job) -> None:
        if sum(waiting.client == job.client for waiting in self._jobs) < BACKLOG and len(self._jobs) < _JOBS_LIMIT:
            self._jobs.append(job)
            return
        self._forget(job.client)
        self._closed[job.client] = None
        text = f"more than {BACKLOG} paths and frames wait; wait for answers, and begin anew with hello"
        self._say(job.client, wire.Refused(code="overrun", text=text))

    def _forget(self, client: bytes) -> None:
        self._jobs = deque(job for job in self._jobs if job.client != client)
