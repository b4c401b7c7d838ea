"""Starts the restorer, hands it frames, and starts it again when it dies. Nothing that is asked of it ever waits.

One thread of its own owns the socket and the child. Callers only put frames into a ledger and ring a bell, so the
acquisition cannot be held up by a restorer that is slow, hung or gone; the callbacks run on that thread.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from scancontrol.capabilities import CoilModel
from scancontrol.errors import LinkError, LocalProtocolError, RemoteProtocolError
from scancontrol.paths import PathRecipe
from scancontrol.processes.parent import ChildFailed, ChildProcess
from scancontrol.restorer.channel import receive_now, request_parts, send_now
from scancontrol.restorer.ledger import Asked, Ledger, MissedFrame, RestoredFrame
from scancontrol.restorer.status import Child, RestorerStatus, local_address, restorer_arguments
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.keys import ClientSecurity, secure_client
from scancontrol.wire import restoring as wire
from scancontrol.wire.messages import software

__all__ = ["RestorerProcess", "RestorerStatus", "restorer_arguments"]

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0  # torch alone takes seconds to import on a cold disk
HELLO_TIMEOUT_S = 10.0
PING_EVERY_S = 1.0
SILENCE_LIMIT_S = 10.0  # pings are answered while a frame is computed, so silence means that it hangs
BACKOFF_S = (0.1, 10.0)
HEALTHY_AFTER_S = 30.0
BUSY_PAUSE_S = 0.05
PATHS_LIMIT = 64
RECORDED_LIMIT = 8
RESTORE_MODULE = "restore.serve"


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
        self._launch = launch or _launch
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._ledger = Ledger(RECORDED_LIMIT)
        self._paths: OrderedDict[str, wire.Register] = OrderedDict()
        self._unregistered: list[str] = []
        self._status = RestorerStatus()
        self._hold_until = 0.0
        self._settled = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._bell, self._ears = socket.socketpair()
        self._bell.setblocking(False)
        self._ears.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="restorer", daemon=True)

    # -- for any thread ----------------------------------------------------------------------------------

    @property
    def status(self) -> RestorerStatus:
        """The present state and counts."""
        with self._lock:
            return replace(self._status, queue=len(self._ledger))

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

    def register(self, recipe: PathRecipe, coil: CoilModel | None = None) -> str:
        """Make a path known to this and every later restorer process; returns its id."""
        path_id = recipe.path_id
        with self._lock:
            if path_id not in self._paths or self._paths[path_id].coil != coil:
                content = msgspec.msgpack.decode(msgspec.msgpack.encode(recipe))
                self._paths[path_id] = wire.Register(path_id=path_id, recipe=content, coil=coil)
                self._unregistered.append(path_id)
            self._paths.move_to_end(path_id)
            while len(self._paths) > PATHS_LIMIT:
                self._paths.popitem(last=False)
        self._ring()
        return path_id

    def restore(
        self,
        frame: int,
        path_id: str,
        samples: NDArray[Any],
        *,
        stream: str = "live",
        live: bool = True,
        complete: bool = True,
    ) -> bool:
        """Hand in the samples (n,) of a frame so far; they must not be written to again. Never waits.

        Live frames give way to newer ones. Others are never dropped: False means that no more can be taken now,
        and the frame must be handed in again later.

        Raises:
            LocalProtocolError: the path was not registered, or the samples are not (n,) of ``<u2`` or ``<f4``.
        """
        if samples.ndim != 1 or samples.dtype.str not in ("<u2", "<f4"):
            raise LocalProtocolError(f"samples {samples.dtype.str} {samples.shape}; the restorer takes (n,) <u2 or <f4")
        with self._lock:
            if path_id not in self._paths:
                raise LocalProtocolError(f"path {path_id} was not registered with the restorer")
            gone = self._ledger.ask(
                stream,
                frame,
                path_id,
                np.ascontiguousarray(samples),
                live=live,
                complete=complete,
                now_ns=time.monotonic_ns(),
            )
        if gone is None:
            return False
        self._ring()
        self._missed(gone)
        return True

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
            left = self._ledger.close("stopped")
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
        backoff_s = BACKOFF_S[0]
        context = zmq.Context()
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                reason = self._live_once(context)
                with self._lock:
                    lost = self._ledger.lost("died")
                self._missed(lost)
                if self._stopping.is_set():
                    break
                log.warning("restorer: %s", reason)
                self._set(state="dead", error=reason, pid=None)
                if time.monotonic() - began > HEALTHY_AFTER_S:
                    backoff_s = BACKOFF_S[0]
                if self._stopping.wait(backoff_s):
                    break
                backoff_s = min(2 * backoff_s, BACKOFF_S[1])
                self._set(state="restarting", restarts=self._status.restarts + 1)
        finally:
            self._set(state="off", pid=None)
            context.destroy(linger=0)
            self._ears.close()

    def _set(self, **changes: Any) -> None:
        with self._settled:
            self._status = replace(self._status, **changes)
            status = replace(self._status, queue=len(self._ledger))
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
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger = 0
                dealer.maxmsgsize = wire.MAX_SAMPLE_BYTES * 16
                secure_client(dealer, self._security)
                dealer.connect(address)
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
        dealer.send_multipart(wire.encode(wire.Hello(version=wire.VERSION, software=software())))
        welcomed = False
        heard = pinged = time.monotonic()
        while not self._stopping.is_set():
            ready = dict(poller.poll(100 if welcomed else 20))
            if self._ears.fileno() in ready:
                self._ears.recv(4096)
            now = time.monotonic()
            if dealer in ready:
                heard = now
                while (message := receive_now(dealer)) is not None:
                    if isinstance(message[0], wire.Welcome):
                        welcomed = self._welcome(message[0])
                    elif isinstance(message[0], wire.Refused) and not welcomed:
                        return message[0].text
                    else:
                        self._hear(message[0], message[1])
            if child is not None and child.poll() is not None:
                return f"the restorer ended with exit code {child.poll()}"
            if now - heard > (SILENCE_LIMIT_S if welcomed else HELLO_TIMEOUT_S):
                return f"the restorer said nothing for {now - heard:.0f} s"
            if welcomed:
                if now - pinged > PING_EVERY_S:
                    pinged = now
                    send_now(dealer, wire.encode(wire.Ping(sequence=int(now))))
                self._send_waiting(dealer)
        return "stopped"

    def _welcome(self, message: wire.Welcome) -> bool:
        with self._lock:
            self._unregistered = list(self._paths)
        self._set(
            state="ready", method=message.method, device=message.device, weights_hash=message.weights_hash, error=None
        )
        return True

    def _send_waiting(self, dealer: zmq.Socket[Any]) -> None:
        while time.monotonic() >= self._hold_until:
            with self._lock:
                path = self._paths.get(self._unregistered[0]) if self._unregistered else None
                asked = self._ledger.next() if not self._unregistered else None
            if path is not None:
                if not send_now(dealer, wire.encode(path)):
                    return
            elif asked is not None:
                if not send_now(dealer, request_parts(asked)):
                    with self._lock:
                        self._ledger.put_back(asked)
                    return
            elif not self._unregistered:
                return
            if asked is None:
                with self._lock:
                    del self._unregistered[0]

    def _hear(self, message: wire.RestorerMessage, payload: list[Any]) -> None:
        request = message.request if isinstance(message, wire.Restored | wire.Dropped | wire.Refused) else None
        with self._lock:
            asked = self._ledger.answered(request)
        if isinstance(message, wire.Restored) and asked is not None:
            estimate, interval = wire.read_images(message, payload)
            if asked.complete:
                with self._lock:
                    self._status = replace(self._status, restored=self._status.restored + 1)
            frame = RestoredFrame(
                stream=asked.stream,
                frame=asked.frame,
                path_id=asked.path_id,
                complete=asked.complete,
                estimate=estimate,
                interval=interval,
                made_by=message.made_by,
                compute_ms=message.compute_ms,
                waited_ms=message.waited_ms,
                turnaround_ms=(time.monotonic_ns() - asked.asked_ns) / 1e6,
            )
            self._tell(self._on_restored, frame)
        elif isinstance(message, wire.Refused):
            self._refused(message, asked)
        elif isinstance(message, wire.Dropped) and asked is not None and asked.complete:
            self._missed([MissedFrame(asked.stream, asked.frame, "dropped")])
        elif isinstance(message, wire.Registered):
            log.info(
                "path %s: %s takes %.1f ms, the beam %.1f ms",
                message.path_id[:8],
                message.method,
                message.restore_ms,
                message.beam_ms,
            )

    def _refused(self, message: wire.Refused, asked: Asked | None) -> None:
        log.warning("restorer refused: %s", message.text)
        if asked is None:
            return
        if message.code == "busy" and not asked.live:
            self._hold_until = time.monotonic() + BUSY_PAUSE_S
            with self._lock:
                self._ledger.put_back(asked)
            return
        if message.code == "unknown_path":
            with self._lock:  # it let the path go for others; the next frame along it finds it again
                self._unregistered.append(asked.path_id)
        if asked.complete:
            self._missed([MissedFrame(asked.stream, asked.frame, message.text)])


def _launch(arguments: list[str]) -> Child:
    return ChildProcess("restorer", RESTORE_MODULE, ["--address", local_address(), *arguments])
