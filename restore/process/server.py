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


class _Worker(threading.Thread):
    """Does the jobs of one restorer, one at a time, and hands each answer over from its own thread.

    Args:
        number: of the restorer.
        answering: who does them.
        hand_over: called with the number, the job and its answer; without an answer when the restorer was lost over
            it; without a job when it is back.
    """

    def __init__(
        self, number: int, answering: Answering, hand_over: Callable[[int, Job | None, Answer | None], None]
    ) -> None:
        super().__init__(name=f"restore-{number}", daemon=True)
        self._number, self._answering, self._hand_over = number, answering, hand_over
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None ends it
        self.ends = threading.Event()

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            try:
                found = self._answering.answer(job)
            except RestorerGone as error:
                log.warning("restorer %d: %s; its frames go to another", self._number, error)
                self._hand_over(self._number, job, None)
                while not (self.ends.is_set() or self._answering.revive()):
                    pass
                self._hand_over(self._number, None, None)
            else:
                self._hand_over(self._number, job, found)


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
        self._desk = Desk(self._conversations, len(restorers))
        self._answers: queue.SimpleQueue[tuple[int, Job | None, Answer | None]] = queue.SimpleQueue()
        self._restorers = list(restorers)
        self._workers = [_Worker(number, one, self._answered) for number, one in enumerate(restorers)]

    def _answered(self, number: int, job: Job | None, answer: Answer | None) -> None:
        self._answers.put((number, job, answer))
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
                    self._ended(*self._answers.get())
                if self._socket in ready:
                    self._receive()
                while (begun := self._desk.next()) is not None:
                    number, job = begun
                    self._workers[number].jobs.put(job)
                self._send()
        finally:
            finished = self._end()
        return finished

    def _ended(self, number: int, job: Job | None, answer: Answer | None) -> None:
        if job is None:
            self._desk.back(number)
        elif answer is None:
            self._desk.lost(number, job)
        else:
            message, images = answer
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
