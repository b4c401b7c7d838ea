"""The page's server: a few static files over HTTP and one websocket, in a thread with its own event loop.

The thread shares with the daemon only the hub. Whatever a browser does, the daemon's cost is that of
:meth:`LiveHub.publish_partial <scancontrol.daemon.page.hub.LiveHub.publish_partial>`: a slow browser gets fewer
frames, one that stops reading is closed by the keepalive, and no more than a fixed number may connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from scancontrol.daemon.page.access import AccessPolicy, check_binding, check_token, is_loopback, new_token
from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView, Slot, TruthView
from scancontrol.daemon.page.messages import (
    MAX_COMMAND_BYTES,
    MAX_PLAN_BYTES,
    PAGE_PROTOCOL,
    Answer,
    EmergencyBlank,
    Inquiry,
    Notice,
    encode_text,
)
from scancontrol.daemon.page.outbox import Outgoing
from scancontrol.daemon.page.site import BLANK_PATH, Site
from scancontrol.daemon.page.watcher import Watcher
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LocalProtocolError

__all__ = ["LiveServer"]

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 48  # TCP connections in all, handshakes and file requests among them
MAX_WATCHERS = 8  # open websockets with pictures
MAX_BLANK_LINES = 16  # open websockets over which nothing but a Blank is said
STOP_GRACE_S = 0.4  # how long a closing handshake may take before the connection is cut


class LiveServer:
    """Serves ``hub`` to browsers. ``with LiveServer(hub) as server: print(server.url)``.

    ``port`` 0 takes a free one. ``token`` is the operator's (a fresh one by default); observers have their
    own. ``certificate`` and ``key`` are PEM files, and with them the page is served over TLS;
    ``public_names`` are further ``host`` names under which a browser may address it.

    Raises:
        InvalidInput: a bad token, unreadable certificate files, or a ``host`` beyond loopback without TLS;
            :meth:`start` raises it when the address cannot be had.
    """

    def __init__(
        self,
        hub: LiveHub,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | None = None,
        observer_token: str | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        public_names: tuple[str, ...] = (),
        version: str = "scancontrol",
    ) -> None:
        host = host.removeprefix("[").removesuffix("]")
        check_binding(host, tls=certificate is not None)
        self._hub, self._host, self._port, self._version = hub, host, port, version
        self._token, self._observer_token = token or new_token(), observer_token or new_token()
        check_token(self._token)
        check_token(self._observer_token)
        if self._token == self._observer_token:
            raise InvalidInput("page token", "(the observer's)", "is also the operator's", "give two different ones")
        self._tls = None if certificate is None else _tls_context(certificate, key)
        self._public_names = public_names
        self._encode = functools.lru_cache(maxsize=4)(encode_frame)  # one encoding serves every browser,
        self._encoding = threading.Lock()  # also those that ask for it at the same moment
        self._inquiries = ThreadPoolExecutor(1, "inquiries")
        self._site: Site | None = None
        self._base_url = ""
        self._tcp_connections: dict[ServerConnection, bool] = {}  # whether a token was shown; the oldest first
        self._watchers: set[ServerConnection] = set()
        self._blank_lines: set[ServerConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The operator's link, token included: treat it as a password."""
        return self._link(self._token)

    @property
    def observer_url(self) -> str:
        """A link that can watch and, as anybody may, blank the beam; nothing else."""
        return self._link(self._observer_token)

    def start(self) -> str:
        """Serve from now on; return the operator's link.

        Raises:
            InvalidInput: the address cannot be had.
        """
        if self._thread is not None:
            raise LocalProtocolError("the page's server was started before")
        started = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(started))
            except BaseException as error:  # the thread that waits for start reports it
                if started.is_set():
                    log.exception("the page's server has failed; the scan goes on without it")
                failure.append(error)
            finally:
                started.set()

        self._thread = threading.Thread(target=run, name="live-page", daemon=True)
        self._thread.start()
        started.wait()
        if failure:
            self._thread.join()
            if not isinstance(failure[0], OSError):
                raise failure[0]
            raise InvalidInput(
                "page address",
                f"{self._host}:{self._port}",
                f"cannot be served ({failure[0]})",
                "choose another port, or 0 for a free one",
            ) from failure[0]
        return self.url

    def stop(self) -> None:
        """Close every connection and end the thread, in under a second whatever the browsers do. Idempotent."""
        thread = self._thread
        if thread is None or self._loop is None or self._stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(5)
        self._inquiries.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _link(self, token: str) -> str:
        if not self._base_url:
            raise LocalProtocolError("the page has no link before its server is started")
        return f"{self._base_url}/#token={token}"

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(
            self._watch,
            self._host,
            self._port,
            ssl=self._tls,
            process_request=self._answer_request,
            select_subprotocol=_select_subprotocol,
            create_connection=self._counted_connection(),
            compression=None,  # on this machine bytes are cheaper than the time to squeeze them
            server_header=None,
            max_size=MAX_COMMAND_BYTES,
            max_queue=8,
            write_limit=1 << 16,
            open_timeout=5,
            ping_interval=5,
            ping_timeout=10,
            close_timeout=STOP_GRACE_S,
            logger=logging.getLogger("scancontrol.daemon.page.websocket"),
        )
        port = server.sockets[0].getsockname()[1]
        names = {self._host, *self._public_names}
        if is_loopback(self._host):
            names |= {"127.0.0.1", "localhost", "::1"}
        policy = AccessPolicy(
            scheme="http" if self._tls is None else "https",
            authorities=frozenset(_authority(name, port).lower() for name in names),
            operator_token=self._token,
            observer_token=self._observer_token,
        )
        self._site = Site(policy)
        self._base_url = f"{policy.scheme}://{_authority(self._host, port)}"
        started.set()
        await self._stopping.wait()
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), STOP_GRACE_S)
        for connection in tuple(self._tcp_connections):
            connection.transport.abort()

    def _counted_connection(self) -> type[ServerConnection]:
        counted = self._tcp_connections

        class CountedConnection(ServerConnection):
            """One above the limit takes the place of the oldest that has shown no token, or has none."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if len(counted) >= MAX_CONNECTIONS:
                    stranger = next((one for one, known in counted.items() if not known), None)
                    if stranger is None:
                        self.transport.abort()
                        return
                    counted.pop(stranger)
                    stranger.transport.abort()
                counted[self] = False

            def connection_lost(self, exc: Exception | None) -> None:
                counted.pop(self, None)
                super().connection_lost(exc)

        return CountedConnection

    def _answer_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._site is None:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "starting\n")
        if connection in self._tcp_connections:
            self._tcp_connections[connection] = self._site.role_of(request) is not None
        return self._site.answer(request, full=len(self._watchers) >= MAX_WATCHERS)

    async def _watch(self, connection: ServerConnection) -> None:
        """Serve one browser or script until it goes."""
        if self._site is None or connection.request is None:
            return
        role = self._site.role_of(connection.request)
        if role is None:
            return
        if connection.request.path.partition("?")[0] == BLANK_PATH:
            await self._hear_blanks(connection)
            return
        if role == "operator":
            connection.protocol.max_message_size = MAX_PLAN_BYTES  # who has shown the token may send a plan
        self._watchers.add(connection)
        try:
            await Watcher(self._hub, connection, role, self._version, self._wire_form, self._inquire).serve()
        finally:
            self._watchers.discard(connection)

    async def _hear_blanks(self, connection: ServerConnection) -> None:
        """Serve a browser's second connection: whatever comes over it is a Blank, and no picture stands in its way."""
        if len(self._blank_lines) >= MAX_BLANK_LINES:
            return
        self._blank_lines.add(connection)
        try:
            async for _ in connection:
                self._hub.take(EmergencyBlank())
                await connection.send(encode_text(Notice("blank taken")))
        except ConnectionClosed:
            pass
        finally:
            self._blank_lines.discard(connection)

    async def _wire_form(self, outgoing: Outgoing) -> str | bytes:
        if isinstance(outgoing.view, Snapshot | Notice):
            return encode_text(outgoing.view)
        # A large frame takes tens of milliseconds, and an emergency blank must not wait for it.
        return await asyncio.to_thread(self._encode_once, outgoing.slot, outgoing.seq, outgoing.view)

    def _encode_once(self, slot: Slot | None, seq: int, view: PartialView | RestorationView | TruthView) -> bytes:
        with self._encoding:
            return self._encode(str(slot), seq, view)

    async def _inquire(self, inquiry: Inquiry) -> Answer | bytes:
        """Have an inquiry answered on the one thread that all of them share: it may take as long as arming does."""
        return await asyncio.get_running_loop().run_in_executor(self._inquiries, self._hub.desk.answer, inquiry)


def _select_subprotocol(connection: ServerConnection, offered: Any) -> Subprotocol | None:
    """Answer with the protocol's name, never with the token that came beside it."""
    return Subprotocol(PAGE_PROTOCOL) if PAGE_PROTOCOL in offered else None


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            "page certificate",
            str(certificate),
            f"cannot be used ({error})",
            "give PEM files of a certificate and its key",
        ) from error
    return context
