"""The restorer's server: one thread owns the sockets, another for each device has what restores on it.

The first never computes, so a ping is answered while a frame is being restored. What is said is in
:mod:`restore.process.conversation`, who does what in :mod:`restore.process.desk`; here are the sockets, the threads,
and the sockets that wake the first.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

import zmq

from restore.process.answering import Answer, Answering, RestorerGone
from restore.process.conversation import Conversations, Job
from restore.process.desk import NOBODY, Desk
from scancontrol.transport.endpoints import bind, check_address
from scancontrol.transport.keys import Gatekeeper, ServerSecurity, secure_server
from scancontrol.wire import restoring as wire

__all__ = ["RestorerServer"]

log = logging.getLogger(__name__)

_TURN_MS = 100

_News = tuple[Job, Answer] | Literal["lost", "back"]


class _Worker(threading.Thread):
    """Does the jobs of one restorer, and hands each answer over from its own thread.

    Args:
        number: of the restorer.
        answering: who does them.
        hand_over: called with the number and a job with its answer, or what became of the restorer: ``lost``, with all
            that it had in hand, or ``back``.
    """

    def __init__(self, number: int, answering: Answering, hand_over: Callable[[int, _News], None]) -> None:
        super().__init__(name=f"restore-{number}", daemon=True)
        self._number, self._answering, self._hand_over = number, answering, hand_over
        self.jobs: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()  # of which life; None ends it
        self.ends = threading.Event()
        self._life = 0  # what was given to an earlier one is done by others
        self._in_hand: list[Job] = []

    def run(self) -> None:
        while True:
            try:
                if not self._take():
                    return
                done = self._answering.go_on()
            except RestorerGone as error:
                log.warning("restorer %d: %s; its frames go to another", self._number, error)
                self._in_hand.clear()
                self._life += 1
                self._hand_over(self._number, "lost")
                while not (self.ends.is_set() or self._answering.revive()):
                    pass
                self._hand_over(self._number, "back")
            else:
                for job, answer in done:
                    self._in_hand.remove(job)
                    self._hand_over(self._number, (job, answer))

    def _take(self) -> bool:
        """Take what there is, at least one job if none is in hand; False at the end."""
        while not (self._in_hand and self.jobs.empty()):
            given = self.jobs.get()
            if given is None:
                return False
            life, job = given
            if life == self._life:
                self._in_hand.append(job)
                self._answering.take(job)
        return True


class RestorerServer:
    """Binds, and serves in :meth:`run`.

    Args:
        restorers: who does the jobs, at least one.
        welcome: who they are together.
        address: where to listen; port 0 takes a free one.
        security: keys, for others than loopback.

    Attributes:
        address: where it listens, with the port that was found.
    """

    def __init__(
        self,
        restorers: Sequence[Answering],
        welcome: wire.Welcome,
        address: str = "tcp://127.0.0.1:0",
        security: ServerSecurity | None = None,
    ) -> None:
        check_address(address, security)
        self._stack = ExitStack()
        self._context = self._stack.enter_context(zmq.Context())
        if security is not None:
            self._stack.enter_context(Gatekeeper(self._context, security))
        self._socket = self._stack.enter_context(self._context.socket(zmq.ROUTER))
        self._socket.linger = 0
        self._socket.maxmsgsize = wire.MAX_SAMPLE_BYTES
        self._socket.sndhwm = 64
        self._socket.router_handover = True
        secure_server(self._socket, security)
        try:
            self.address = bind(self._socket, address)
        except BaseException:
            self._stack.close()
            raise
        self._woken = self._stack.enter_context(self._context.socket(zmq.PULL))
        self._woken.bind("inproc://answers")
        self._wakers = []
        for _ in restorers:  # a socket for each thread
            waker = self._stack.enter_context(self._context.socket(zmq.PUSH))
            waker.linger = 0
            waker.connect("inproc://answers")
            self._wakers.append(waker)
        self._conversations = Conversations(welcome)
        self._desk = Desk(self._conversations, [one.room for one in restorers])
        self._news: queue.SimpleQueue[tuple[int, _News]] = queue.SimpleQueue()
        self._lives = [0] * len(restorers)
        self._restorers = list(restorers)
        self._workers = [_Worker(number, one, self._heard) for number, one in enumerate(restorers)]

    def _heard(self, number: int, news: _News) -> None:
        self._news.put((number, news))
        self._wakers[number].send(b"")  # from that worker's thread alone

    def run(self, shutdown: Callable[[], bool]) -> bool:
        """Serve until ``shutdown()``, then close everything; False if a frame is still being computed after 1 s."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        for worker in self._workers:
            worker.start()
        try:
            while not shutdown():
                ready = dict(poller.poll(_TURN_MS))
                if self._woken in ready:
                    self._woken.recv()
                    self._take_note(*self._news.get())
                if self._socket in ready:
                    self._receive()
                while (begun := self._desk.next()) is not None:
                    number, job = begun
                    self._workers[number].jobs.put((self._lives[number], job))
                self._send()
        finally:
            finished = self._end()
        return finished

    def _take_note(self, number: int, news: _News) -> None:
        if news == "back":
            self._desk.back(number)
        elif news == "lost":
            self._lives[number] += 1
            self._desk.lost(number)
        else:
            job, (message, images) = news
            self._desk.done(number, job, message)
            if job.client != NOBODY:
                self._conversations.done(job, message, *images)

    def _end(self) -> bool:
        for worker in self._workers:
            worker.ends.set()
            worker.jobs.put(None)
        deadline = time.monotonic() + 1.0
        for worker in self._workers:
            worker.join(timeout=max(0.0, deadline - time.monotonic()))
        finished = not any(worker.is_alive() for worker in self._workers)
        for worker, restorer in zip(self._workers, self._restorers, strict=True):
            if not worker.is_alive():
                restorer.close()
        if finished:  # its sockets must not be closed under a thread that may still use them
            self._stack.close()
        return finished

    def _send(self) -> None:
        for client, parts in self._conversations.data_to_send():
            try:
                self._socket.send_multipart([client, *parts], zmq.NOBLOCK, copy=False)
            except zmq.ZMQError as error:  # the client is gone, or takes nothing: it will ask again
                log.debug("an answer did not leave: %s", error)

    def _receive(self) -> None:
        client, *frames = self._socket.recv_multipart(copy=False)
        parts: list[bytes | memoryview] = [frames[0].bytes if frames else b""]
        parts += [memoryview(frame.buffer) for frame in frames[1:]]
        self._conversations.receive(client.bytes, parts, time.monotonic_ns())
