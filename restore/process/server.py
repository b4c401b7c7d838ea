"""The restorer's server: one thread owns the sockets, another the engine.

The first never computes, so a ping is answered while a frame is being restored. What is said is in
:mod:`restore.process.conversation`; here are the sockets, the threads, and the pair of sockets that wakes the first.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import zmq

from restore.engine import Engine
from restore.process.conversation import Conversations, Job
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.transport.endpoints import bind, check_address
from scancontrol.transport.keys import Gatekeeper, ServerSecurity, secure_server
from scancontrol.wire import restoring as wire
from scancontrol.wire.messages import software
from scancontrol.wire.registry import expand_recipe

__all__ = ["RestorerServer", "answer"]

log = logging.getLogger(__name__)

SAMPLES_LIMIT = wire.MAX_SAMPLE_BYTES // 2
_TURN_MS = 100

_Answer = tuple[wire.RestorerMessage, list[Any]]


def answer(engine: Engine, job: Job) -> _Answer:
    """Do a job; returns the message that answers it and its images."""
    message = job.message
    return _registered(engine, message) if isinstance(message, wire.Register) else _restored(engine, message, job)


def _registered(engine: Engine, message: wire.Register) -> _Answer:
    try:
        path = expand_recipe(message.path_id, message.recipe, SAMPLES_LIMIT)
        prepared = engine.register(path, message.coil, message.detector)
    except (ScanControlError, RuntimeError, MemoryError) as error:
        return wire.Refused(code="bad_path", text=str(error)[:4000], path_id=message.path_id), []
    told = wire.Registered(
        path_id=message.path_id,
        count=path.count,
        rows=path.shape[0],
        cols=path.shape[1],
        method=prepared.method,
        restore_ms=prepared.restore_ms,
        beam_ms=path.duration_us / 1e3,
    )
    return told, []


def _restored(engine: Engine, request: wire.Restore, job: Job) -> _Answer:
    logs.set_scan(request.stream)
    log.info("frame %d: %d samples to restore from", request.frame, request.count)
    started_ns = time.monotonic_ns()

    def refused(code: Any, text: str) -> _Answer:
        return wire.Refused(code=code, text=text[:4000], request=request.request), []

    try:
        if request.path_id not in engine or job.samples is None:
            return refused("unknown_path", f"path {request.path_id} is not registered; register its recipe")
        result = engine.restore(
            job.samples, request.path_id, stream=request.stream, frame=request.frame, complete=request.complete
        )
    except InvalidInput as error:
        return refused("bad_samples", str(error))
    except Exception as error:  # whatever one frame throws, the next one must still be restored
        log.exception("frame %d of %s failed", request.frame, request.stream)
        return refused("failed", f"{type(error).__name__}: {error}")
    found = [result.estimate] + ([] if result.interval is None else [result.interval])
    images = [image.float().numpy() for image in found]
    told = wire.Restored(
        request=request.request,
        stream=request.stream,
        frame=request.frame,
        path_id=request.path_id,
        complete=request.complete,
        rows=images[0].shape[0],
        cols=images[0].shape[1],
        has_interval=result.interval is not None,
        made_by=result.made_by,
        compute_ms=(time.monotonic_ns() - started_ns) / 1e6,
        waited_ms=(started_ns - job.received_ns) / 1e6,
    )
    return told, images


class _Worker(threading.Thread):
    """Owns the engine: does one job at a time, and hands the answer over from its own thread."""

    def __init__(self, engine: Engine, hand_over: Callable[[Job, _Answer], None]) -> None:
        super().__init__(name="restore", daemon=True)
        self._engine, self._hand_over = engine, hand_over
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None ends it

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            self._hand_over(job, answer(self._engine, job))


class RestorerServer:
    """Binds, and serves in :meth:`run`. ``address`` is where it listens, with the port that was found."""

    def __init__(
        self, engine: Engine, address: str = "tcp://127.0.0.1:0", security: ServerSecurity | None = None
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
        self._waker = self._stack.enter_context(self._context.socket(zmq.PUSH))
        self._waker.linger = 0
        self._waker.connect("inproc://answers")
        restorer = engine.restorer
        self._conversations = Conversations(
            method=restorer.name, device=str(engine.device), weights_hash=restorer.weights_hash, software=software()
        )
        self._answers: queue.SimpleQueue[tuple[Job, _Answer]] = queue.SimpleQueue()
        self._worker = _Worker(engine, self._answered)
        self._idle = True  # whether the worker waits for a job

    def _answered(self, job: Job, told: _Answer) -> None:
        self._answers.put((job, told))
        self._waker.send(b"")  # from the worker's thread alone

    def run(self, shutdown: Callable[[], bool]) -> bool:
        """Serve until ``shutdown()``, then close everything; False if a frame is still being computed after 1 s."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        self._worker.start()
        try:
            while not shutdown():
                ready = dict(poller.poll(_TURN_MS))
                if self._woken in ready:
                    self._woken.recv()
                    job, (message, images) = self._answers.get()
                    self._conversations.done(job, message, *images)
                    self._idle = True
                if self._socket in ready:
                    self._receive()
                if self._idle and (waiting := self._conversations.next_job()) is not None:
                    self._idle = False
                    self._worker.jobs.put(waiting)
                self._send()
        finally:
            self._worker.jobs.put(None)
            self._worker.join(timeout=1.0)
            finished = not self._worker.is_alive()
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
