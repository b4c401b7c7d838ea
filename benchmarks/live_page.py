"""What the live page costs the daemon: publishing with no, willing and stalled browsers; encoding; frames shown.

The browsers are websocket clients: a willing one acknowledges each image at once, a stalled one never reads.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from scancontrol.daemon.page import LiveHub, LiveServer, PartialView
from scancontrol.daemon.page.frames import encode_frame
from scancontrol.daemon.page.messages import PAGE_PROTOCOL

PUBLISHED = 400
PACE_S = 0.002  # 500 views a second, far beyond what a screen shows


def run() -> dict[str, Any]:
    """Return microseconds per publication, milliseconds per encoding, and frames per second shown."""
    figures: dict[str, Any] = {"encode_ms": {}, "publish_us": {}, "shown_hz": {}}
    for side in (256, 512, 1024, 2048):
        view = _view(0, side)
        costs = [_seconds(lambda view=view: encode_frame("partial", 1, view)) for _ in range(9)]
        figures["encode_ms"][str(side)] = round(1e3 * float(np.median(costs)), 2)
    for name, willing, stalled in (("alone", 0, 0), ("one page", 1, 0), ("one page, four stalled", 1, 4)):
        figures["publish_us"][name], shown_hz = _publish(willing, stalled)
        if willing:
            figures["shown_hz"][name] = shown_hz
    print(f"{'encode':>24}  " + "  ".join(f"{side}²: {ms} ms" for side, ms in figures["encode_ms"].items()))
    for name, cost in figures["publish_us"].items():
        shown = f", shown {figures['shown_hz'][name]} Hz" if name in figures["shown_hz"] else ""
        print(f"{name:>24}  publish p50 {cost['p50']} µs, p99 {cost['p99']} µs, max {cost['max']} µs{shown}")
    return figures


def _publish(willing: int, stalled: int, side: int = 512) -> tuple[dict[str, float], float]:
    hub, shown, costs = LiveHub(), [0], []
    with LiveServer(hub) as server, contextlib.ExitStack() as stack:
        for _ in range(stalled):
            stack.enter_context(contextlib.closing(_stalled(server.url)))
        for _ in range(willing):
            page = stack.enter_context(_page(server.url))
            threading.Thread(target=_draw, args=(page, shown), daemon=True).start()
        start = time.perf_counter()
        for frame in range(PUBLISHED):
            view = _view(frame, side)
            costs.append(_seconds(lambda view=view: hub.publish_partial(view)))
            time.sleep(PACE_S)
        elapsed_s = time.perf_counter() - start
    p50, p99, most = (round(1e6 * float(value), 1) for value in (*np.percentile(costs, [50, 99]), max(costs)))
    return {"p50": p50, "p99": p99, "max": most}, round(shown[0] / elapsed_s, 1)


def _view(frame: int, side: int) -> PartialView:
    rng = np.random.default_rng(frame)
    image = rng.random((side, side), np.float32)
    return PartialView(1, frame, image, (image < 0.05).view(np.uint8), False, 1, "path")


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _parts(link: str) -> tuple[str, str]:
    url = urlsplit(link)
    return url.netloc, url.fragment.removeprefix("token=")


def _page(link: str) -> Any:
    authority, token = _parts(link)
    return connect(
        f"ws://{authority}/live",
        origin=f"http://{authority}",
        subprotocols=[PAGE_PROTOCOL, f"token.{token}"],
        max_size=1 << 24,
        compression=None,
        close_timeout=0.2,
    )


def _draw(page: Any, shown: list[int]) -> None:
    with contextlib.suppress(ConnectionClosed):
        for message in page:
            if isinstance(message, bytes):
                header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
                page.send(json.dumps({"type": "ack", "seq": header["seq"]}))
                shown[0] += 1


def _stalled(link: str) -> socket.socket:
    authority, token = _parts(link)
    host, _, port = authority.rpartition(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.sendall(
        (
            f"GET /live HTTP/1.1\r\nHost: {authority}\r\nOrigin: http://{authority}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {PAGE_PROTOCOL}, token.{token}\r\n\r\n"
        ).encode()
    )
    return raw
