"""The page's files and the answers to plain HTTP requests. No sockets: a request in, a response out."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from scancontrol.daemon.page.access import AccessPolicy, Role, security_headers

__all__ = ["BLANK_PATH", "LIVE_PATH", "STATIC_FILES", "Site"]

LIVE_PATH: Final = "/live"
BLANK_PATH: Final = "/blank"

_HTML, _SCRIPT, _STYLE = "text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_SCRIPTS = (
    "about",
    "app",
    "colour",
    "controls",
    "drift",
    "figures",
    "fourier",
    "frames",
    "graph",
    "histogram",
    "images",
    "link",
    "panel",
    "pictures",
    "plan_editor",
    "plan_fields",
    "profile",
    "region",
    "scene",
    "snapshot",
    "strain",
    "tabs",
    "tiff",
    "tools",
    "views",
)

# The whole of what can be fetched: a path that is not a key here is not found, whatever it spells.
STATIC_FILES: Final[dict[str, tuple[str, str]]] = {
    "/": ("index.html", _HTML),
    "/style.css": ("style.css", _STYLE),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", _SCRIPT) for name in _SCRIPTS},
}


class Site:
    """Answers requests under one :class:`~scancontrol.daemon.page.access.AccessPolicy`. Files are read once, here."""

    def __init__(self, policy: AccessPolicy) -> None:
        self._policy = policy
        folder = resources.files("scancontrol.daemon.page").joinpath("static")
        self._files = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in STATIC_FILES.items()}

    def answer(self, request: Request, *, full: bool) -> Response | None:
        """Return the answer to ``request``, or None where the websocket handshake may go on.

        ``full`` says that as many pages watch as may.
        """
        hosts = request.headers.get_all("Host")
        if not self._policy.host_allowed(hosts):
            return _response(HTTPStatus.MISDIRECTED_REQUEST, {}, b"this address is not served here\n")
        headers = security_headers(self._policy, hosts[0].lower())
        path = request.path.partition("?")[0]
        if path in (LIVE_PATH, BLANK_PATH):
            return self._refusal(request, headers, full and path == LIVE_PATH)
        if path not in self._files:
            return _response(HTTPStatus.NOT_FOUND, headers, b"not found\n")
        body, kind = self._files[path]
        return _response(HTTPStatus.OK, {**headers, "Content-Type": kind}, body)

    def role_of(self, request: Request) -> Role | None:
        """The role that the token offered with ``request`` gives."""
        lines = request.headers.get_all("Sec-WebSocket-Protocol")
        return self._policy.role_of([part.strip() for line in lines for part in line.split(",")])

    def _refusal(self, request: Request, headers: dict[str, str], full: bool) -> Response | None:
        if not self._policy.origin_allowed(request.headers.get_all("Origin")):
            return _response(HTTPStatus.FORBIDDEN, headers, b"this page's origin is not served here\n")
        if self.role_of(request) is None:
            return _response(HTTPStatus.FORBIDDEN, headers, b"the token is missing or not this session's\n")
        if full:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, headers, b"too many pages are open\n")
        return None


def _response(status: HTTPStatus, headers: dict[str, str], body: bytes) -> Response:
    complete = {
        "Content-Type": "text/plain; charset=utf-8",
        **headers,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    return Response(status.value, status.phrase, Headers(complete), body)
