"""Starts the restorer, hands it frames, and starts it again when it dies. Nothing that is asked of it ever waits.

One thread of its own owns the socket and the child. Callers only put frames into the queue and ring a bell, so the
acquisition cannot be held up by a restorer that is slow, hung or gone; the callbacks run on that thread.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import LinkError, LocalProtocolError, RemoteProtocolError, ScanControlError
from scancontrol.paths import PathRecipe
from scancontrol.processes.backoff import Backoff
from scancontrol.processes.parent import ChildFailed
from scancontrol.recent import Recent
from scancontrol.restoration import Look
from scancontrol.restorer.conversation import Conversation, Event
from scancontrol.restorer.launching import Child, launch_own, restorer_arguments
from scancontrol.restorer.requests import Asked, MissedFrame, ReadAgain, Requests, RestoredFrame
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.keys import ClientSecurity
from scancontrol.transport.sockets import dealer as connected
from scancontrol.wire import restoring as wire

__all__ = ["RestorerProcess", "RestorerStatus"]

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0  # torch alone takes seconds to import on a cold disk
BACKOFF_S = (0.1, 10.0)
HEALTHY_AFTER_S = 30.0
PATHS_LIMIT = 64


@dataclass(frozen=True)
class RestorerStatus:
    """The restorer as its supervisor sees it. ``state`` is as the live page names it; counts are of complete frames."""

    state: Literal["off", "starting", "ready", "dead", "restarting"] = "off"
    restarts: int = 0
    queue: int = 0
    restored: int = 0
    dropped: int = 0
    missed: int = 0  # dropped ones included
    method: str | None = None
    device: str | None = None
    weights_hash: str = ""
    pid: int | None = None
    error: str | None = None  # why it is not ready


class RestorerProcess:
    """A restorer that is kept alive.

    Args:
        on_restored, on_missed, on_status: called from this object's own thread; they must not block.
        arguments: the child's command line, see :func:`restorer_arguments`.
        address: of a restorer that somebody else started; then no child is.
        security: keys for an address that is not loopback.
        launch: starts the child; replaced only where another program stands for it.

    :meth:`restore` and :meth:`register` may be called from any thread and return at once.
    """

    def __init__(
        self,
        on_restored: Callable[[RestoredFrame], None],
        on_missed: Callable[[MissedFrame], None] = lambda missed: None,
        on_status: Callable[[RestorerStatus], None] = lambda status: None,
        *,
        arguments: list[str] | None = None,
        address: str | None = None,
        security: ClientSecurity | None = None,
        launch: Callable[[list[str]], Child] | None = None,
    ) -> None:
        if address is not None:
            check_address(address, security)
        self._on_restored, self._on_missed, self._on_status = on_restored, on_missed, on_status
        self._arguments = restorer_arguments() if arguments is None else arguments
        self._address = address
        self._security = security
        self._launch = launch or launch_own
        self._child: Child | None = None  # of the present life
        self._lock = threading.Lock()  # of what follows, but the thread's own
        self._requests = Requests()
        self._paths: Recent[str, wire.Register] = Recent(PATHS_LIMIT)  # as they were registered, for every new life
        self._restore_s: Recent[str, float] = Recent(PATHS_LIMIT)  # that it says a frame of each path takes
        self._status = RestorerStatus()
        self._settled = threading.Condition(self._lock)  # told whenever the state changes
        self._stopping = threading.Event()
        self._bell, self._ears = socket.socketpair()  # wakes the thread, which sleeps on its sockets
        self._bell.setblocking(False)
        self._ears.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="restorer", daemon=True)

    # -- for any thread ----------------------------------------------------------------------------------

    @property
    def status(self) -> RestorerStatus:
        """The present state and counts."""
        with self._lock:
            return replace(self._status, queue=len(self._requests))

    def start(self) -> None:
        """Start the process (or connect); returns at once."""
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> RestorerStatus:
        """Wait until it is ready.

        Raises:
            LinkError: it is not ready in time, or did not start; says why.
        """
        with self._settled:
            self._settled.wait_for(lambda: self._status.state in ("ready", "dead"), timeout_s)
            status = self._status
        if status.state != "ready":
            raise LinkError(status.error or f"the restorer is not ready after {timeout_s:g} s")
        return status

    def register(
        self, recipe: PathRecipe, coil: CoilModel | None = None, detector: DetectorChannel | None = None
    ) -> str:
        """Make a path known, to be prepared once the restorer has nothing better to do; returns its id."""
        path_id = recipe.path_id
        with self._lock:
            known = self._paths.get(path_id)
            if known is None or (known.coil, known.detector) != (coil, detector):
                content = msgspec.msgpack.decode(msgspec.msgpack.encode(recipe))
                self._paths[path_id] = wire.Register(path_id=path_id, recipe=content, coil=coil, detector=detector)
            self._requests.prepare(self._paths[path_id])
        self._ring()
        return path_id

    def restore_s(self, path_id: str) -> float | None:
        """How long a frame of a path takes to restore, in seconds; None until the path is prepared."""
        with self._lock:
            return self._restore_s.get(path_id)

    def restore(
        self,
        frame: int,
        path_id: str,
        samples: NDArray[Any],
        *,
        stream: str = "live",
        complete: bool = True,
        read_again: ReadAgain | None = None,
        look: Look | None = None,
    ) -> None:
        """Hand in the samples (n,) of a frame so far; they must not be written to again. Never waits.

        The newest complete frame is restored next. A frame that cannot be read again gives way to a newer one; one
        that can is restored in its turn. Another ``look`` at a frame comes after the frame itself.

        Raises:
            LocalProtocolError: the path was not registered, or the samples are not (n,) of ``<u2`` or ``<f4``.
        """
        if samples.ndim != 1 or samples.dtype.str not in ("<u2", "<f4"):
            raise LocalProtocolError(f"samples {samples.dtype.str} {samples.shape}; the restorer takes (n,) <u2 or <f4")
        with self._lock:
            path = self._paths.get(path_id)
            if path is None:
                raise LocalProtocolError(f"path {path_id} was not registered with the restorer")
            gone = self._requests.ask(
                stream,
                frame,
                path,
                samples,
                complete=complete,
                read_again=read_again,
                look=look,
                now_ns=time.monotonic_ns(),
            )
        self._ring()
        self._missed(gone)

    def waiting(self, stream: str) -> int:
        """Complete frames of a stream that are not restored yet."""
        with self._lock:
            return self._requests.waiting(stream)

    def forget(self, stream: str) -> int:
        """Let go of a stream; returns how many complete frames of it are left unrestored."""
        with self._lock:
            return self._requests.forget(stream)

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the process and the thread; what was not restored is missed. Idempotent."""
        self._stopping.set()
        self._ring()
        child = self._child
        if child is not None:
            child.stop(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(timeout_s + 1.0)
        else:
            self._ears.close()
        with self._lock:
            left = self._requests.close("stopped")
        self._missed(left)
        self._bell.close()

    def __enter__(self) -> RestorerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # enough rings wait already, or it has stopped
            self._bell.send(b"\0")

    def _missed(self, frames: list[MissedFrame]) -> None:
        if not frames:
            return
        with self._lock:
            self._status = replace(
                self._status,
                missed=self._status.missed + len(frames),
                dropped=self._status.dropped + sum(frame.reason == "dropped" for frame in frames),
            )
        for frame in frames:
            self._tell(self._on_missed, frame)

    def _tell(self, callback: Callable[[Any], None], value: Any) -> None:
        try:
            callback(value)
        except Exception:  # a listener's mistake must not end the supervision
            log.exception("a listener to the restorer failed")

    # -- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff(*BACKOFF_S)
        context = zmq.Context()
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                reason = self._live_once(context)
                with self._lock:
                    lost = self._requests.lost("died")
                self._missed(lost)
                if self._stopping.is_set():
                    break
                log.warning("restorer: %s", reason)
                self._set(state="dead", error=reason, pid=None)
                if time.monotonic() - began > HEALTHY_AFTER_S:
                    backoff.reset()
                if self._stopping.wait(backoff.next_s()):
                    break
                self._set(state="restarting", restarts=self._status.restarts + 1)
        finally:
            self._set(state="off", pid=None)
            context.destroy(linger=0)
            self._ears.close()

    def _set(self, **changes: Any) -> None:
        with self._settled:
            self._status = replace(self._status, **changes)
            status = replace(self._status, queue=len(self._requests))
            self._settled.notify_all()
        self._tell(self._on_status, status)

    def _live_once(self, context: zmq.Context[Any]) -> str:
        """One life of the restorer, from its start to its end; returns why it ended."""
        child: Child | None = None
        try:
            address = self._address
            if self._status.restarts == 0:
                self._set(state="starting")
            if address is None:
                child = self._child = self._launch(self._arguments)
                if self._stopping.is_set():  # stop() came before there was a child to stop
                    return "stopped"
                self._set(pid=child.pid)
                address = str(child.wait_ready(START_TIMEOUT_S)["address"])
            with connected(context, address, self._security, max_message_bytes=16 * wire.MAX_SAMPLE_BYTES) as dealer:
                return self._talk(dealer, child)
        except (ChildFailed, RemoteProtocolError, OSError, zmq.ZMQError) as error:
            return str(error)
        except Exception as error:  # the supervision itself must survive whatever one life of it meets
            log.exception("restorer")
            return f"{type(error).__name__}: {error}"
        finally:
            if child is not None:
                child.stop()
            self._child = None

    def _talk(self, dealer: zmq.Socket[Any], child: Child | None) -> str:
        poller = zmq.Poller()
        poller.register(dealer, zmq.POLLIN)
        poller.register(self._ears.fileno(), zmq.POLLIN)
        with self._lock:
            conversation = Conversation(self._requests, time.monotonic_ns())
        while not self._stopping.is_set():
            if not self._send(dealer, conversation):
                return "the restorer takes nothing"
            ready = dict(poller.poll(100 if conversation.ready else 20))
            if self._ears.fileno() in ready:
                self._ears.recv(4096)
            if dealer in ready:
                self._receive(dealer, conversation)
            if child is not None and child.poll() is not None:
                return f"the restorer ended with exit code {child.poll()}"
            problem = conversation.problem(time.monotonic_ns())
            if problem is not None:
                return problem
        return "stopped"

    def _send(self, dealer: zmq.Socket[Any], conversation: Conversation) -> bool:
        """Send what is to be sent; False if the peer takes nothing."""
        while True:
            with self._lock:
                messages = conversation.data_to_send(time.monotonic_ns())
            for parts in messages:
                try:
                    dealer.send_multipart(parts, zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    return False
            if conversation.to_read is None:
                return True
            samples = _read_again(conversation.to_read)  # from a disk, so not while others wait for the lock
            with self._lock:
                events = conversation.was_read(samples)
            self._tell_of(events)

    def _receive(self, dealer: zmq.Socket[Any], conversation: Conversation) -> None:
        while True:
            try:
                frames = dealer.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            with self._lock:
                events = conversation.receive(
                    [frames[0].bytes, *(frame.buffer for frame in frames[1:])], time.monotonic_ns()
                )
            self._tell_of(events)

    def _tell_of(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case RestoredFrame():
                    if event.complete:
                        with self._lock:
                            self._status = replace(self._status, restored=self._status.restored + 1)
                    self._tell(self._on_restored, event)
                case MissedFrame():
                    self._missed([event])
                case wire.Registered():
                    with self._lock:
                        self._restore_s[event.path_id] = event.restore_ms / 1e3
                case wire.Welcome():
                    self._set(
                        state="ready",
                        method=event.method,
                        device=event.device,
                        weights_hash=event.weights_hash,
                        error=None,
                    )


def _read_again(asked: Asked) -> NDArray[Any] | str:
    try:
        return np.ascontiguousarray(asked.read_again()) if asked.read_again is not None else "was not kept"
    except ScanControlError as error:
        return str(error)
