"""The restorer's process: ``python -m restore.serve``. Loads, warms up, says so, then serves until it is told to end.

Two threads. The main one owns the socket and never computes, so a ping is answered and a newer frame takes an older
one's place while a frame is being restored. The other owns the engine. Between them a bounded backlog, and a pair of
sockets to wake the main thread by.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import zmq

from restore.engine import Engine
from restore.generator.resident import PRECISIONS
from restore.loading import load_restorer, pick_device
from restore.process.backlog import Backlog, Job
from restore.process.memory import keep_freed_memory
from scancontrol.errors import InvalidInput, RemoteProtocolError, ScanControlError
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, announce
from scancontrol.transport.endpoints import bind, check_address
from scancontrol.transport.keys import Gatekeeper, ServerSecurity, secure_server
from scancontrol.wire import restoring as wire
from scancontrol.wire.messages import software
from scancontrol.wire.registry import expand_recipe

__all__ = ["RestorerServer", "main"]

log = logging.getLogger(__name__)

SAMPLES_LIMIT = wire.MAX_SAMPLE_BYTES // 2
RECORDED_LIMIT = 8
_TURN_MS = 100
_SWITCH_S = 0.0005  # ten times oftener than usual: who owns the socket must not wait for who computes


@dataclass(frozen=True)
class _Registration:
    client: bytes
    message: wire.Register


_Reply = tuple[bytes, list[Any]]


class _Worker(threading.Thread):
    """Owns the engine. Takes registrations first, then frames; replies through ``reply``, from its own thread."""

    def __init__(self, engine: Engine, backlog: Backlog, reply: Callable[[_Reply], None]) -> None:
        super().__init__(name="restore", daemon=True)
        self._engine = engine
        self._backlog = backlog
        self._reply = reply
        self._paths: queue.SimpleQueue[_Registration] = queue.SimpleQueue()
        self._wake = threading.Condition()
        self._ended = False
        self.restored = 0

    def put(self, job: Job) -> list[Job] | None:
        with self._wake:
            dropped = self._backlog.put(job)
            self._wake.notify()
        return dropped

    def register(self, registration: _Registration) -> None:
        with self._wake:
            self._paths.put(registration)
            self._wake.notify()

    def waiting(self) -> int:
        return len(self._backlog)

    def end(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify()

    def run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._ended or len(self._backlog) or not self._paths.empty())
                if self._ended:
                    return
                registration = None if self._paths.empty() else self._paths.get()
                job = self._backlog.take() if registration is None else None
            if registration is not None:
                self._reply(self._registered(registration))
            elif job is not None:
                self._reply(self._restored(job))

    def _registered(self, registration: _Registration) -> _Reply:
        message = registration.message
        try:
            path = expand_recipe(message.path_id, message.recipe, SAMPLES_LIMIT)
            prepared = self._engine.register(path, message.coil)
        except (ScanControlError, RuntimeError, MemoryError) as error:
            return registration.client, wire.encode(
                wire.Refused(code="bad_path", text=str(error)[:4000], path_id=message.path_id)
            )
        answer = wire.Registered(
            path_id=message.path_id,
            count=path.count,
            rows=path.shape[0],
            cols=path.shape[1],
            method=prepared.method,
            restore_ms=prepared.restore_ms,
            beam_ms=path.duration_us / 1e3,
        )
        return registration.client, wire.encode(answer)

    def _restored(self, job: Job) -> _Reply:
        request = job.request
        started_ns = time.monotonic_ns()
        try:
            if request.path_id not in self._engine:
                return _refuse(job, "unknown_path", f"path {request.path_id} is not registered; register its recipe")
            result = self._engine.restore(job.samples, request.path_id)
        except InvalidInput as error:
            return _refuse(job, "bad_samples", str(error))
        except Exception as error:  # whatever one frame throws, the next one must still be restored
            log.exception("frame %d of %s failed", request.frame, request.stream)
            return _refuse(job, "failed", f"{type(error).__name__}: {error}")
        self.restored += 1
        images = [result.estimate.numpy()] + ([] if result.interval is None else [result.interval.numpy()])
        answer = wire.Restored(
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
        return job.client, wire.encode(answer, *images)


def _refuse(job: Job, code: Any, text: str) -> _Reply:
    return job.client, wire.encode(wire.Refused(code=code, text=text[:4000], request=job.request.request))


class RestorerServer:
    """Binds, and serves in :meth:`run`. ``address`` is where it listens, with the port that was found."""

    def __init__(
        self, engine: Engine, address: str = "tcp://127.0.0.1:0", security: ServerSecurity | None = None
    ) -> None:
        check_address(address, security)
        self._engine = engine
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
        self._results: queue.SimpleQueue[_Reply] = queue.SimpleQueue()
        self._woken = self._stack.enter_context(self._context.socket(zmq.PULL))
        self._woken.bind("inproc://results")
        self._waker = self._stack.enter_context(self._context.socket(zmq.PUSH))
        self._waker.linger = 0
        self._waker.connect("inproc://results")
        self._worker = _Worker(engine, Backlog(RECORDED_LIMIT), self._done)
        self._dropped = 0

    def _done(self, reply: _Reply) -> None:
        self._results.put(reply)
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
                    self._send(*self._results.get())
                if self._socket in ready:
                    self._receive()
        finally:
            self._worker.end()
            self._worker.join(timeout=1.0)
            finished = not self._worker.is_alive()
            if finished:  # its sockets must not be closed under a thread that may still use them
                self._stack.close()
        return finished

    def _send(self, client: bytes, parts: list[Any]) -> None:
        try:
            self._socket.send_multipart([client, *parts], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:  # the client is gone, or takes nothing: it will ask again
            log.debug("a reply did not leave: %s", error)

    def _receive(self) -> None:
        received_ns = time.monotonic_ns()
        client, *frames = self._socket.recv_multipart(copy=False)
        identity = client.bytes
        parts: list[bytes | memoryview] = [frames[0].bytes if frames else b""]
        parts += [memoryview(frame.buffer) for frame in frames[1:]]
        try:
            message, payload = wire.FROM_DAEMON.decode(parts)
        except RemoteProtocolError as error:
            log.warning("%s", error)
            self._send(identity, wire.encode(wire.Refused(code="malformed", text=str(error)[:4000])))
            return
        if isinstance(message, wire.Restore):
            logs.set_scan(message.stream)
            log.info("frame %d: %d samples to restore from", message.frame, message.count)
            self._queue(Job(identity, message, wire.read_samples(message, payload), received_ns))
        elif isinstance(message, wire.Ping):
            pong = wire.Pong(
                sequence=message.sequence,
                waiting=self._worker.waiting(),
                restored=self._worker.restored,
                dropped=self._dropped,
            )
            self._send(identity, wire.encode(pong))
        elif isinstance(message, wire.Register):
            self._worker.register(_Registration(identity, message))
        else:
            self._send(identity, wire.encode(self._answer(message)))

    def _answer(self, hello: wire.Hello) -> wire.Welcome | wire.Refused:
        if hello.version != wire.VERSION:
            return wire.Refused(
                code="version",
                text=f"version {hello.version} of the restorer's protocol; this end speaks {wire.VERSION}: "
                "install the same release on both",
            )
        restorer = self._engine.restorer
        return wire.Welcome(
            version=wire.VERSION,
            software=software(),
            method=restorer.name,
            device=str(self._engine.device),
            weights_hash=restorer.weights_hash,
            backlog=RECORDED_LIMIT,
        )

    def _queue(self, job: Job) -> None:
        dropped = self._worker.put(job)
        if dropped is None:
            self._send(*_refuse(job, "busy", f"{RECORDED_LIMIT} recorded frames wait already; send it again"))
            return
        for old in dropped:
            self._dropped += 1
            told = wire.Dropped(
                request=old.request.request, stream=old.request.stream, frame=old.request.frame, total=self._dropped
            )
            self._send(old.client, wire.encode(told))


def _spare_cores() -> int:
    """All cores but one, which the acquisition needs: a thread that must wait for a core holds up all the others."""
    return min(8, max(1, len(os.sched_getaffinity(0)) - 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.serve", description=__doc__)
    parser.add_argument("--address", default="tcp://127.0.0.1:0", help="where to listen; port 0 takes a free one")
    parser.add_argument("--method", "--fill", default="auto", help="auto, generator, or the name of a classical fill")
    parser.add_argument("--weights", type=Path, help="weights of the generator, in place of those that ship")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    parser.add_argument("--secret-key", type=Path, help="this server's CURVE secret key file")
    parser.add_argument("--allow", type=Path, help="folder of the public keys of clients to let in")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the generator; single gives the same frame on every machine, auto is the fastest here",
    )
    parser.add_argument("--follow-stdin", action="store_true", help="end when standard input ends")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    shutdown = Shutdown(follow_stdin=options.follow_stdin)
    try:
        logs.configure("restorer", verbose=options.verbose)
        threads = _spare_cores() if options.threads is None else options.threads
        if not 1 <= threads <= 1024:
            raise InvalidInput("threads", threads, "is outside 1 to 1024", "give the cores to use")
        torch.set_num_threads(threads)
        keep_freed_memory()
        sys.setswitchinterval(_SWITCH_S)
        if (options.secret_key is None) != (options.allow is None):
            raise InvalidInput("keys", "one of two", "is half of what CURVE needs", "give --secret-key and --allow")
        security = None if options.secret_key is None else ServerSecurity(options.secret_key, options.allow)
        device = pick_device(options.device)
        restorer = load_restorer(options.method, options.weights, device, options.precision)
        server = RestorerServer(Engine(restorer, device), options.address, security)
    except ScanControlError as error:
        sys.stderr.write(f"restorer: {error}\n")
        return 2
    announce(
        "restorer", address=server.address, method=restorer.name, device=str(device), weights_hash=restorer.weights_hash
    )
    if not server.run(shutdown.requested):
        os._exit(0)  # a frame of many seconds is being computed for nobody; it ends with the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
