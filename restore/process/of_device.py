"""A restorer in a process of its own that has a device for itself, spoken to as any client speaks to it."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq

from restore.process.answering import Answer, RestorerGone
from restore.process.conversation import BACKLOG, Job
from scancontrol.errors import LinkError, RemoteProtocolError
from scancontrol.processes.parent import ChildProcess
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode
from scancontrol.wire.messages import software

__all__ = ["RestorerOfDevice"]

log = logging.getLogger(__name__)

_READY_S = 120.0
_SILENT_S = 5.0  # a restorer answers a ping at once, whatever it computes
_PING_EVERY_S = 1.0
_LISTEN_MS = 2  # then it is asked again whether there is another job
_AGAIN_S = 2.0  # between two starts of one that ends at once


class RestorerOfDevice:
    """A restorer's process for one device, ``python -m restore.serve``, started here and started again when it ends.

    Args:
        context: of this process's sockets.
        arguments: its command line, with the device.

    Attributes:
        welcome: who it is, as it said last.
        room: as many jobs as it lets wait.

    Raises:
        LinkError: it does not start.
    """

    room = BACKLOG

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], arguments: Sequence[str]) -> None:
        self._context, self._arguments = context, list(arguments)
        self._folder = tempfile.mkdtemp(prefix="scancontrol-")  # mode 0700: nobody else can connect
        self._process: ChildProcess | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._pings = self._sent = 0
        self._heard = self._pinged = 0.0
        self._in_hand: dict[int, Job] = {}
        self._start()

    def _start(self) -> None:
        address = f"ipc://{Path(self._folder) / 'restorer'}"
        self._process = ChildProcess("restorer", "restore.serve", ["--address", address, *self._arguments])
        facts = self._process.wait_ready(_READY_S)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(str(facts["address"]))
        self._socket.send_multipart(encode(wire.Hello(version=wire.VERSION, software=software())))
        self._heard = time.monotonic()
        while (said := self._listen(_LISTEN_MS)) is None or not isinstance(said[0], wire.Welcome):
            pass
        self.welcome = said[0]

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None  # noqa: S101 - set when it starts
        return self._process.pid

    def take(self, job: Job) -> None:
        """See :class:`Answering`. It is sent on at once, under a number of its own: clients number theirs alike."""
        assert self._socket is not None  # noqa: S101 - set when it starts
        self._sent += 1
        message = job.message
        if isinstance(message, wire.Restore):
            message = msgspec.structs.replace(message, request=self._sent)
        if not self._in_hand:
            self._heard = time.monotonic()
        self._in_hand[self._sent] = job
        images = [] if job.samples is None else [job.samples.view("u1").data]
        self._socket.send_multipart(encode(message, *images), copy=False)

    def go_on(self) -> list[tuple[Job, Answer]]:
        """See :class:`Answering`."""
        said = self._listen(_LISTEN_MS)
        if said is None:
            return []
        message, payload = said
        if not isinstance(message, wire.Registered | wire.Restored | wire.Refused):
            return []
        job = self._job_of(message)
        if job is None:
            return []
        images = []
        if isinstance(message, wire.Restored):
            images = [image for image in wire.read_images(message, payload) if image is not None]
        if not isinstance(message, wire.Registered) and isinstance(job.message, wire.Restore):
            message = msgspec.structs.replace(message, request=job.message.request)
        return [(job, (message, images))]

    def _job_of(self, message: wire.Registered | wire.Restored | wire.Refused) -> Job | None:
        """The job in hand that a message answers; one that names none is taken to answer the first."""
        request = None if isinstance(message, wire.Registered) else message.request
        path_id = message.path_id if request is None else None
        names_none = request is None and path_id is None
        for number, job in self._in_hand.items():
            asked_path = job.message.path_id if isinstance(job.message, wire.Register) else None
            if names_none or number == request or (path_id is not None and path_id == asked_path):
                return self._in_hand.pop(number)
        return None

    def _listen(self, wait_ms: int) -> tuple[wire.RestorerMessage, Sequence[Any]] | None:
        """The next message, if one comes within so many ms.

        Raises:
            RestorerGone: the process ended, or answers no ping.
        """
        assert self._socket is not None  # noqa: S101 - set when it starts
        assert self._process is not None  # noqa: S101 - likewise
        if self._socket.poll(wait_ms):
            self._heard = self._pinged = time.monotonic()
            try:
                return wire.FROM_RESTORER.decode(self._socket.recv_multipart())
            except RemoteProtocolError as error:
                raise RestorerGone(f"the restorer of this release is not understood: {error}") from error
        if self._process.poll() is not None:
            raise RestorerGone(f"the restorer ended: {self._process.last_words()}")
        now = time.monotonic()
        if now - self._heard > _SILENT_S:
            raise RestorerGone(f"the restorer has said nothing for {_SILENT_S:g} s")
        if now - max(self._heard, self._pinged) > _PING_EVERY_S:
            self._pinged = now
            self._pings += 1
            self._socket.send_multipart(encode(wire.Ping(sequence=self._pings)))
        return None

    def revive(self) -> bool:
        """Start it anew; see :class:`Answering`."""
        self._in_hand.clear()
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
