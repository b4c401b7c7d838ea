"""Who does the jobs: an engine in this process, or a restorer in a process of its own that has a device for itself."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import zmq

from restore.engine import Engine
from restore.process.conversation import Job
from restore.process.restoring import registered, restored
from scancontrol.errors import LinkError, RemoteProtocolError, ScanControlError
from scancontrol.processes.parent import ChildProcess
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode
from scancontrol.wire.messages import software

__all__ = ["Answer", "Answering", "OwnEngine", "RestorerGone", "RestorerOfDevice"]

log = logging.getLogger(__name__)

Answer = tuple[wire.RestorerMessage, list[Any]]

_READY_S = 120.0
_SILENT_S = 5.0  # a restorer answers a ping at once, whatever it computes
_PING_EVERY_MS = 1000
_AGAIN_S = 2.0  # between two starts of one that ends at once


class RestorerGone(ScanControlError):
    """The process that was to do a job ended, or says nothing any more."""


class Answering(Protocol):
    """Does one job at a time, in a thread of its own."""

    def answer(self, job: Job) -> Answer:
        """The message that answers a job, and its images.

        Raises:
            RestorerGone: whoever did it is gone; :meth:`revive` comes next.
        """
        ...  # pragma: no cover

    def revive(self) -> bool:
        """Get whoever does the jobs back; False if that did not work yet."""
        ...  # pragma: no cover

    def close(self) -> None:
        """End it. From any thread, once no job is being done."""
        ...  # pragma: no cover


class OwnEngine:
    """The engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answer(self, job: Job) -> Answer:
        """See :class:`Answering`; an engine is never gone."""
        message = job.message
        if isinstance(message, wire.Register):
            return registered(self._engine, message)
        return restored(self._engine, message, job)

    def revive(self) -> bool:
        """It was never gone."""
        return True

    def close(self) -> None:
        """It ends with the process."""


class RestorerOfDevice:
    """A restorer's process for one device, ``python -m restore.serve``, started here and started again when it ends.

    Args:
        context: of this process's sockets.
        arguments: its command line, with the device.

    Attributes:
        welcome: who it is, as it said last.

    Raises:
        LinkError: it does not start.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], arguments: Sequence[str]) -> None:
        self._context, self._arguments = context, list(arguments)
        self._folder = tempfile.mkdtemp(prefix="scancontrol-")  # mode 0700: nobody else can connect
        self._process: ChildProcess | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._pings = 0
        self._start()

    def _start(self) -> None:
        address = f"ipc://{Path(self._folder) / 'restorer'}"
        self._process = ChildProcess("restorer", "restore.serve", ["--address", address, *self._arguments])
        facts = self._process.wait_ready(_READY_S)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(str(facts["address"]))
        self._socket.send_multipart(encode(wire.Hello(version=wire.VERSION, software=software())))
        answer, _ = self._hear(wire.Welcome)
        assert isinstance(answer, wire.Welcome)  # noqa: S101 - it was waited for
        self.welcome = answer

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None  # noqa: S101 - set when it starts
        return self._process.pid

    def answer(self, job: Job) -> Answer:
        """See :class:`Answering`."""
        assert self._socket is not None  # noqa: S101 - set when it starts
        images = [] if job.samples is None else [job.samples.view("u1").data]
        self._socket.send_multipart(encode(job.message, *images), copy=False)
        message, payload = self._hear(wire.Registered, wire.Restored, wire.Refused)
        if isinstance(message, wire.Restored):
            return message, [image for image in wire.read_images(message, payload) if image is not None]
        return message, []

    def _hear(self, *kinds: type) -> tuple[wire.RestorerMessage, Sequence[Any]]:
        """The next message of one of these kinds.

        Raises:
            RestorerGone: the process ended, or answers no ping.
        """
        assert self._socket is not None  # noqa: S101 - set when it starts
        assert self._process is not None  # noqa: S101 - likewise
        heard = time.monotonic()
        while True:
            if self._socket.poll(_PING_EVERY_MS):
                heard = time.monotonic()
                try:
                    message, payload = wire.FROM_RESTORER.decode(self._socket.recv_multipart())
                except RemoteProtocolError as error:
                    raise RestorerGone(f"the restorer of this release is not understood: {error}") from error
                if isinstance(message, kinds):
                    return message, payload
                continue
            if self._process.poll() is not None:
                raise RestorerGone(f"the restorer ended: {self._process.last_words()}")
            if time.monotonic() - heard > _SILENT_S:
                raise RestorerGone(f"the restorer has said nothing for {_SILENT_S:g} s")
            self._pings += 1
            self._socket.send_multipart(encode(wire.Ping(sequence=self._pings)))

    def revive(self) -> bool:
        """Start it anew; see :class:`Answering`."""
        self._end()
        try:
            self._start()
        except (LinkError, RestorerGone) as error:
            log.warning("%s", error)
            time.sleep(_AGAIN_S)
            return False
        return True

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.stop()

    def close(self) -> None:
        """End its process."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)
