"""Serves the snapshot on loopback, read-only: ``/status`` as JSON, ``/metrics`` for Prometheus.

A listener with a thread for each request. A request is two lines that matter, bounded in size and time; nothing that is
sent changes anything. Only GET of these two paths is answered, and only where the Host header names loopback, so that
no web page can read it by rebinding a name.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ipaddress
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from scancontrol.daemon.health.metrics import CONTENT_TYPE, exposition
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.files import write_text
from scancontrol.transport.keys import ClientSecurity

__all__ = ["ENDPOINT_FILE", "Endpoint", "HealthServer", "ask", "daemon_folder", "find_daemon"]

ENDPOINT_FILE = "daemon.json"
"""In the folder of the recordings, while a daemon runs: where its snapshot is served."""

MAX_ANSWER_BYTES = 1 << 18
_CLIENT_S = 1.0  # without a byte
_REQUEST_S = 2.0  # in all
_REQUESTS = 16  # at a time


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What :data:`ENDPOINT_FILE` says: how to reach the daemon, and its microscope without it."""

    pid: int
    status: str  # host:port
    microscope: str = ""  # the microscope's control address
    secret_key: str | None = None  # file of the daemon's own key, where the microscope wants one
    microscope_key: str | None = None  # file of the microscope's public key


class HealthServer:
    """The listener, and the file that says where it is.

    Args:
        snapshot: called in the server's thread at every request.
        port: of loopback; 0 takes any free one.
        folder: where :data:`ENDPOINT_FILE` goes; None writes none.
        microscope: its control address, for the file.
        keys: with which the microscope is reached, for the file.

    Raises:
        InvalidInput: the port is in use.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        port: int = 0,
        folder: Path | None = None,
        microscope: str = "",
        keys: ClientSecurity | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._folder, self._microscope, self._keys = folder, microscope, keys
        handler = type("Handler", (_Handler,), {"snapshot": staticmethod(snapshot)})
        try:
            self._server = _Listener(("127.0.0.1", port), handler)
        except OSError as error:
            raise InvalidInput(
                "status_port", port, f"cannot be bound ({error.strerror})", "choose another, or 0 for any free one"
            ) from error
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="health", daemon=True)

    def start(self, pid: int) -> str:
        """Begin to answer; returns ``host:port``."""
        self._thread.start()
        if self._folder is not None:
            keys = self._keys
            endpoint = Endpoint(
                pid=pid,
                status=self.address,
                microscope=self._microscope,
                secret_key=None if keys is None else str(keys.secret_key_file.resolve()),
                microscope_key=None if keys is None else str(keys.server_key_file.resolve()),
            )
            write_text(self._folder / ENDPOINT_FILE, msgspec.json.encode(endpoint).decode() + "\n")
        return self.address

    def stop(self) -> None:
        """End the thread and remove the file."""
        if self._folder is not None:
            with contextlib.suppress(OSError):  # a folder that went away, or became read-only, meanwhile
                (self._folder / ENDPOINT_FILE).unlink(missing_ok=True)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5)
        self._server.server_close()


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A few requests at a time, each for so long at most: one that drips delays nobody, and not the end."""

    request_queue_size = 16
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, float] = {}  # and since when, the oldest first
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= _REQUESTS:
            self._cut(next(iter(self._open)))
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut those that have been at it for too long."""
        for request, since in list(self._open.items()):
            if time.monotonic() - since > _REQUEST_S:
                self._cut(request)

    def _cut(self, request: socket.socket) -> None:
        self._open.pop(request, None)
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """Two paths."""

    timeout = _CLIENT_S
    server_version = "scancontrol"
    sys_version = ""
    snapshot: Callable[[], Snapshot]

    def do_GET(self) -> None:
        if not _loopback_name(self.headers.get("Host", "")):
            self._answer(421, "text/plain", b"ask by the address 127.0.0.1\n")
        elif self.path == "/status":
            self._answer(200, "application/json", msgspec.json.encode(type(self).snapshot()))
        elif self.path == "/metrics":
            self._answer(200, CONTENT_TYPE, exposition(type(self).snapshot()).encode())
        else:
            self._answer(404, "text/plain", b"/status or /metrics\n")

    def _answer(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _loopback_name(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def daemon_folder(folder: Path) -> Path:
    """The folder that a daemon records into: ``folder`` itself, or the one folder in it that one does.

    Raises:
        LinkError: there is none, or more than one.
    """
    if (folder / ENDPOINT_FILE).is_file():
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{ENDPOINT_FILE}"))
    if len(found) > 1:  # a daemon that was killed leaves its file behind
        found = [each for each in found if _runs(each)]
    if len(found) > 1:
        raise LinkError(
            f"{len(found)} daemons record into folders of {folder}: name one of {', '.join(map(str, found))}"
        )
    return found[0] if found else folder


def _runs(folder: Path) -> bool:
    """Whether the process that the folder's file names is there, on this machine."""
    try:
        os.kill(_read_endpoint(folder / ENDPOINT_FILE).pid, 0)
    except (LinkError, OSError, OverflowError) as error:
        return isinstance(error, PermissionError)  # another user's
    return True


def find_daemon(folder: Path) -> Endpoint:
    """How to reach the daemon that records into ``folder``, or into the one folder in it that one records into.

    Raises:
        LinkError: none does, or more than one.
    """
    path = daemon_folder(folder) / ENDPOINT_FILE
    if not path.is_file():
        raise LinkError(f"no daemon records into {folder}; name its folder, or its address with --daemon")
    return _read_endpoint(path)


def _read_endpoint(path: Path) -> Endpoint:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(16384), type=Endpoint)
    except OSError as error:
        raise LinkError(f"{path} cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"{path} does not say where a daemon is; is it one's?") from error


def ask(address: str, timeout_s: float = 2.0) -> Snapshot:
    """The snapshot of the daemon at ``host:port`` of loopback, or at the ``http://host:port/status`` that it prints.

    Raises:
        InvalidInput: an address that is none.
        LinkError: no daemon answers there.
    """
    host, _, port = address.removeprefix("http://").removesuffix("/").removesuffix("/status").rpartition(":")
    if not _loopback_name(f"{host}:{port}") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput("daemon", address, "is not an address of loopback", "give one such as 127.0.0.1:8766")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise LinkError(f"no daemon answers at {address} ({error}); see whether it runs") from error
    finally:
        connection.close()
    if answer.status != 200 or len(content) > MAX_ANSWER_BYTES:
        raise LinkError(f"what answers at {address} is not a daemon (HTTP {answer.status}, {len(content)} bytes)")
    try:
        return msgspec.json.decode(content, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"the daemon at {address} is of another version ({error})") from error
