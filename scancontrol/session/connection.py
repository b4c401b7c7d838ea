"""One websocket to a daemon: what is asked and its answers, its newest status, the pictures that it shows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Origin, Subprotocol

from scancontrol.daemon.page.arrays import decode_binary
from scancontrol.daemon.page.messages import (
    PAGE_PROTOCOL,
    Acknowledge,
    Alive,
    Command,
    Done,
    Hello,
    Inquiry,
    MicroscopeTold,
    Notice,
    PlanChecked,
    Plans,
    Refusal,
)
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError, OrderRefused, RemoteProtocolError, VersionMismatch
from scancontrol.session.finding import Door
from scancontrol.session.frame import Frame, Picture, frame_of, picture_of

__all__ = ["Connection", "Reply"]

log = logging.getLogger(__name__)

Reply: TypeAlias = Done | PlanChecked | Plans | MicroscopeTold | Frame
_Text: TypeAlias = Hello | Notice | Refusal | Snapshot | Done | PlanChecked | Plans | MicroscopeTold

_KEPT_NOTICES = 64
_LAST_STATUSES = 5  # that come after the end of what pictures were of, while the last picture may be on its way
_MOST_BYTES = 1 << 31  # of one message; a frame of 8192² with interval is 1 GiB


class Connection:
    """An open connection. Everything happens in one event loop.

    Attributes:
        role: what the daemon lets this end do, ``operator`` or ``observer``.
        told: how many statuses have come.
        notices: what the daemon said last, the newest at the end.
    """

    def __init__(self, socket: ClientConnection, door: Door) -> None:
        self._socket, self._door = socket, door
        self._decoder = msgspec.json.Decoder(_Text)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._changed = asyncio.Condition()
        self._status: Snapshot | None = None
        self.told = 0  # how many statuses came
        self._pictures: dict[str, Picture] = {}  # the newest of each kind that was not given yet
        self._shown = 0  # sequence number of the last picture that came
        self._acknowledged = 0  # and of the last one that the daemon was told to have come
        self._failure: Exception | None = None
        self.role = ""
        self.notices: deque[Notice] = deque(maxlen=_KEPT_NOTICES)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, door: Door, timeout_s: float) -> Self:
        """Connect, and wait until the daemon has said who it is and how it is.

        Raises:
            LinkError: nobody answers there, or does not let us in.
            VersionMismatch: a daemon with another protocol does.
        """
        try:
            socket = await connect(
                door.url,
                origin=Origin(door.origin),
                subprotocols=[Subprotocol(PAGE_PROTOCOL), Subprotocol(f"token.{door.token}")],
                ssl=door.tls(),
                proxy=None,
                compression=None,
                max_size=_MOST_BYTES,
                open_timeout=timeout_s,
            )
        except InvalidStatus as error:
            said = (error.response.body or b"").decode("utf-8", "replace").strip()
            raise LinkError(f"the daemon at {door.authority} does not let us in: {said or error}") from error
        except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as error:
            raise LinkError(f"no daemon answers at {door.authority} ({error}); see whether it runs") from error
        connection = cls(socket, door)
        if socket.subprotocol != PAGE_PROTOCOL:
            await connection.close()
            raise VersionMismatch(f"what answers at {door.authority} does not speak {PAGE_PROTOCOL}")
        try:
            await connection.until(lambda status: bool(connection.role), timeout_s)
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def status(self) -> Snapshot:
        """The newest that the daemon told of itself.

        Raises:
            LinkError: the connection is gone.
        """
        if self._failure is not None:
            raise LinkError(f"the connection to the daemon is gone: {self._failure}") from self._failure
        if self._status is None:
            raise LinkError("the daemon has said nothing of itself yet")
        return self._status

    async def ask(self, message: Command | Inquiry) -> Reply:
        """Send ``message`` and wait for its answer.

        Raises:
            InvalidInput: a quantity is refused, with its limit and the remedy.
            OrderRefused: it is refused otherwise.
            LinkError: the connection is gone.
        """
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send(msgspec.structs.replace(message, request=number))
            return await answer
        finally:
            del self._waiting[number]

    async def alive(self) -> None:
        """Say that this end is there."""
        await self._send(Alive())

    async def until(self, condition: Callable[[Snapshot], bool], timeout_s: float | None = None) -> Snapshot:
        """Wait for a status that meets ``condition``; returns it.

        Raises:
            LinkError: the connection is gone, or none came in time.
        """
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while self._failure is None and not (self._status is not None and condition(self._status)):
                    await self._changed.wait()
        except TimeoutError:
            told = "told nothing of itself" if self._status is None else "did not come to what was waited for"
            raise LinkError(f"the daemon {told} within {timeout_s:g} s") from None
        return self.status

    async def next_picture(self, done: Callable[[Snapshot], bool]) -> Picture | None:
        """The newest picture of a kind that was not given before; None once ``done`` is, and no more have come.

        The kinds take turns: a restoration is not lost because more samples came right behind it.

        A daemon sends no more than two pictures to who acknowledges none, so they cost nothing until asked for here.

        Raises:
            LinkError: the connection is gone.
        """
        until: int | None = None  # the status after which no picture is waited for
        async with self._changed:
            while not self._pictures and (until is None or self.told < until):
                status = self.status  # or the connection is gone
                if self._acknowledged != self._shown:  # all that came was given, or taken back
                    self._acknowledged = self._shown
                    await self._send(Acknowledge(seq=self._shown))
                if until is None and done(status):
                    until = self.told + _LAST_STATUSES
                await self._changed.wait()
        return self._pictures.pop(next(iter(self._pictures))) if self._pictures else None

    async def close(self) -> None:
        """Let go of the daemon. Idempotent."""
        self._failure = self._failure or ConnectionError("this end closed it")
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await self._socket.close()

    async def _send(self, message: msgspec.Struct) -> None:
        try:
            await self._socket.send(msgspec.json.encode(message).decode())
        except WebSocketException as error:
            raise LinkError(f"the connection to the daemon is gone ({error})") from error

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if isinstance(message, str):
                    self._take_text(self._decoder.decode(message))
                else:
                    self._take_binary(*decode_binary(message))
                async with self._changed:
                    self._changed.notify_all()
            raise LinkError("the daemon ended it")
        except (WebSocketException, LinkError, RemoteProtocolError, msgspec.DecodeError) as error:
            self._failure = self._failure or error
        except Exception as error:  # a mistake of ours: whoever waits is told of it, and waits no longer
            log.exception("what the daemon sent could not be taken")
            self._failure = self._failure or error
        finally:
            failure = LinkError(f"the connection to the daemon is gone: {self._failure or 'this end closed it'}")
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(failure)
            async with self._changed:
                self._changed.notify_all()

    def _take_text(self, message: _Text) -> None:
        match message:
            case Snapshot():
                self._status = message
                self.told += 1
            case Hello():
                self.role = message.role
            case Notice():
                self.notices.append(message)
                log.info("daemon: %s", message.text)
            case Refusal(request=None):
                log.warning("the daemon refused a message: %s", message.text)
            case Refusal():
                self._answer(message.request, _error_of(message))
            case _:
                self._answer(message.request, message)

    def _take_binary(self, header: dict[str, Any], arrays: dict[str, Any]) -> None:
        if header.get("type") == "frame":
            self._answer(header.get("request"), frame_of(header, arrays))
            return
        self._shown = int(header.get("seq", 0))
        picture = picture_of(header, arrays)
        if picture is None:  # it takes back the one of its kind
            self._pictures.pop(str(header["type"]), None)
        else:
            self._pictures[picture.kind] = picture

    def _answer(self, request: int | None, answer: Reply | Exception) -> None:
        waiting = self._waiting.get(request or 0)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)


def _error_of(refusal: Refusal) -> Exception:
    if refusal.quantity:
        return InvalidInput(refusal.quantity, refusal.value, refusal.limit, refusal.remedy)
    return OrderRefused(refusal.text)
