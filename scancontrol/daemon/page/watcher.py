"""One browser or script that is connected: what it is sent, what it asks for, and the answers it gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from scancontrol.daemon.page.access import Role
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.messages import (
    PAGE_PROTOCOL,
    Acknowledge,
    Alive,
    Answer,
    EmergencyBlank,
    GetFrame,
    GetMicroscope,
    Hello,
    Inquiry,
    ListPlans,
    Refusal,
    decode_from_page,
    encode_text,
)
from scancontrol.daemon.page.outbox import Outbox, Outgoing
from scancontrol.errors import RemoteProtocolError

__all__ = ["LOOK_INTERVAL_S", "Watcher"]

LOOK_INTERVAL_S: Final = 0.02  # how often there is something new looked for
_MOST_INQUIRIES: Final = 8  # that wait for their answer, for each connection
_MOST_ANSWERS: Final = 64  # that somebody leaves unread


class Watcher:
    """Serves one open websocket. Implements :class:`scancontrol.daemon.page.hub.Client`.

    Args:
        hub: where its commands go and its pictures come from.
        connection: open, and known to be of somebody with ``role``.
        version: of the software, for the greeting.
        wire_form: encodes what the outbox chose.
        inquire: answers an inquiry.
    """

    def __init__(
        self,
        hub: LiveHub,
        connection: ServerConnection,
        role: Role,
        version: str,
        wire_form: Callable[[Outgoing], Awaitable[str | bytes]],
        inquire: Callable[[Inquiry], Awaitable[Answer | bytes]],
    ) -> None:
        self._hub, self._connection, self._role, self._version = hub, connection, role, version
        self._wire_form, self._inquire = wire_form, inquire
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._inquiries: asyncio.Queue[Inquiry] = asyncio.Queue(_MOST_INQUIRIES)
        self._frames: asyncio.Queue[GetFrame] = asyncio.Queue(_MOST_INQUIRIES)
        self._answers: set[asyncio.Task[None]] = set()  # on their way

    async def serve(self) -> None:
        """Until it goes, in whatever way."""
        work = [asyncio.create_task(one) for one in (self._send(), self._answer_inquiries(), self._answer_frames())]
        try:
            async for text in self._connection:
                refusal = self._take(text)
                if refusal is not None:
                    await self._connection.send(encode_text(refusal))
        except ConnectionClosed:
            pass
        finally:
            self._hub.clients.left(self)
            for task in (*work, *self._answers):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await task

    def answer(self, message: Answer) -> None:
        """See :class:`~scancontrol.daemon.page.hub.Client`."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(self._begin_answer, message)

    def _begin_answer(self, message: Answer) -> None:
        if len(self._answers) >= _MOST_ANSWERS:
            self._connection.transport.abort()
            return
        task = self._loop.create_task(self._send_answer(message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _send_answer(self, message: Answer | bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(message if isinstance(message, bytes) else encode_text(message))

    async def _send(self) -> None:
        hello = Hello(protocol=PAGE_PROTOCOL, server=self._version, role=self._role)
        await self._connection.send(encode_text(hello))
        while True:
            outgoing = self._outbox.next(self._hub, self._loop.time())
            if outgoing is None:
                await asyncio.sleep(LOOK_INTERVAL_S)
            else:
                await self._connection.send(await self._wire_form(outgoing))

    async def _answer_inquiries(self) -> None:
        while True:
            await self._send_answer(await self._inquire(await self._inquiries.get()))

    async def _answer_frames(self) -> None:
        """Frames that are waited for hold up no other inquiry."""
        while True:
            wanted = await self._frames.get()
            until = self._loop.time() + wanted.wait_s
            while not self._hub.desk.ready(wanted) and self._loop.time() < until:
                await asyncio.sleep(LOOK_INTERVAL_S)
            await self._send_answer(await self._inquire(wanted))

    def _take(self, text: str | bytes) -> Refusal | None:
        """Act on one message; return what to answer at once if it cannot be."""
        try:
            message = decode_from_page(text)
        except RemoteProtocolError as error:
            return Refusal(code="malformed", text=str(error))
        if isinstance(message, Acknowledge):
            self._outbox.acknowledge(message.seq)
            return None
        if isinstance(message, Alive):
            self._hub.clients.heard(self)
            return None
        if self._role == "observer" and not isinstance(message, EmergencyBlank | ListPlans | GetFrame | GetMicroscope):
            told = "this link can watch and blank the beam, and nothing else"
            return Refusal(code="read_only", text=told, request=message.request)
        told = "the daemon has not taken the last commands yet; try again"
        busy = Refusal(code="busy", text=told, request=message.request)
        if isinstance(message, Inquiry):
            queue: asyncio.Queue[Any] = self._frames if isinstance(message, GetFrame) else self._inquiries
            if queue.full():
                return busy
            queue.put_nowait(message)
            return None
        return None if self._hub.take(message, self) else busy
