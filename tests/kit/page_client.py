"""A watcher of the page's server that is no browser."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import numpy as np
from websockets.sync.client import ClientConnection, connect

from scancontrol.daemon.page.hub import PartialView
from scancontrol.daemon.page.messages import PAGE_PROTOCOL
from scancontrol.daemon.page.server import LiveServer


def parts(link: str) -> tuple[str, int, str]:
    url = urlsplit(link)
    return str(url.hostname), int(url.port or 0), url.fragment.removeprefix("token=")


def watch(
    link: str, *, origin: str | None = "own", token: str | None = None, path: str = "/live", **headers: str
) -> ClientConnection:
    """Connect as a browser does that opened ``link``."""
    host, port, own_token = parts(link)
    return connect(
        f"ws://{host}:{port}{path}",
        origin=f"http://{host}:{port}" if origin == "own" else origin,  # type: ignore[arg-type]
        subprotocols=[PAGE_PROTOCOL, f"token.{own_token if token is None else token}"],  # type: ignore[list-item]
        additional_headers=headers,
        max_size=1 << 24,
        compression=None,
        close_timeout=0.5,
    )


def get(server: LiveServer, path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
    address, port, _ = parts(server.url)
    connection = http.client.HTTPConnection(address, port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{address}:{port}")
    connection.endheaders()
    response = connection.getresponse()
    response.content = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def image_view(frame: int, side: int = 64) -> PartialView:
    image, weight = np.full((side, side), frame, np.float32), np.ones((side, side), np.uint8)
    return PartialView(1, frame, image, weight, False, 9, "p")
