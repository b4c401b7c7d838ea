"""The page's server keeps its bounds: messages, inquiries, pages, silent connections, pages that stop reading."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_client import get, image_view, parts, watch
from stalls import Stopwatch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from scancontrol.daemon.page.hub import LiveHub, PartialView
from scancontrol.daemon.page.messages import (
    MAX_COMMAND_BYTES,
    MAX_PLAN_BYTES,
    PAGE_PROTOCOL,
    Answer,
    Done,
    EmergencyBlank,
    GetFrame,
    Inquiry,
    Pause,
)
from scancontrol.daemon.page.server import MAX_CONNECTIONS, MAX_WATCHERS, LiveServer


def test_a_daemon_that_does_not_listen_is_named_and_the_queue_stays_bounded(hub: LiveHub, server: LiveServer) -> None:
    with watch(server.url) as page:
        page.recv(5)
        for _ in range(100):
            page.send('{"type":"pause"}')
        assert json.loads(page.recv(5))["code"] == "busy"
    assert hub.commands.qsize() == 64


def test_a_message_above_the_bound_ends_its_connection_alone(hub: LiveHub, server: LiveServer) -> None:
    with watch(server.url) as other, watch(server.url) as page:
        page.recv(5)
        page.send("x" * (MAX_PLAN_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            page.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        other.send('{"type":"pause"}')
        assert hub.commands.get(timeout=5).command == Pause()


def test_what_an_observer_sends_is_short_or_ends_the_connection(server: LiveServer) -> None:
    with watch(server.observer_url) as page:
        page.recv(5)
        page.send("x" * (MAX_COMMAND_BYTES + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            page.recv(5)


class Answering:
    """A desk whose frames are ready once they are asked for a second time."""

    def __init__(self, answer: Callable[[Inquiry], Answer | bytes]) -> None:
        self.answer = answer
        self.asked = 0

    def ready(self, wanted: GetFrame) -> bool:
        self.asked += 1
        return self.asked > 1


def test_an_inquiry_is_answered_while_another_waits_and_a_blank_overtakes_them(hub: LiveHub) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slowly(inquiry: Inquiry) -> Answer:
        asked.set()
        assert go_on.wait(5)
        return Done(request=inquiry.request or 0)

    hub.desk = Answering(slowly)
    with LiveServer(hub) as server, watch(server.url) as page:
        page.recv(5)
        for number in (7, 8):
            page.send(f'{{"type":"list_plans","request":{number}}}')
        assert asked.wait(5)
        page.send('{"type":"emergency_blank"}')
        assert hub.commands.get(timeout=5).command == EmergencyBlank()
        go_on.set()
        assert [json.loads(page.recv(5)) for _ in range(2)] == [{"type": "done", "request": n} for n in (7, 8)]


def test_a_frame_that_is_waited_for_holds_up_no_inquiry_and_comes_once_it_is_ready(hub: LiveHub) -> None:
    def answer(inquiry: Inquiry) -> Answer | bytes:
        return b"the frame" if isinstance(inquiry, GetFrame) else Done(request=inquiry.request or 0)

    desk = hub.desk = Answering(answer)
    with LiveServer(hub) as server, watch(server.observer_url) as page:
        page.recv(5)
        page.send('{"type":"get_frame","recording":"a.hspy","frame":0,"wait_s":5,"request":1}')
        page.send('{"type":"list_plans","request":2}')
        assert {page.recv(5), page.recv(5)} == {b"the frame", '{"type":"done","request":2}'}
    assert desk.asked >= 2


class Attendance:
    """Notes who was heard, and who left."""

    def __init__(self) -> None:
        self.noted: queue.Queue[tuple[str, object]] = queue.Queue()

    def heard(self, client: object) -> None:
        self.noted.put(("heard", client))

    def left(self, client: object) -> None:
        self.noted.put(("left", client))


def test_who_may_own_a_scan_is_heard_and_missed_at_once_however_it_goes(hub: LiveHub) -> None:
    attendance = hub.clients = Attendance()
    with LiveServer(hub) as server, watch(server.url) as page:
        page.recv(5)
        page.send('{"type":"claim","operator":"Ada","within_s":2.0,"request":1}')
        asked = hub.commands.get(timeout=5)
        asked.done()
        assert json.loads(page.recv(5)) == {"type": "done", "request": 1}
        page.send('{"type":"alive"}')
        assert attendance.noted.get(timeout=5) == ("heard", asked.client)
        page.socket.shutdown(socket.SHUT_RDWR)  # as when its process is killed
        assert attendance.noted.get(timeout=5) == ("left", asked.client)


def test_inquiries_beyond_those_that_wait_are_refused_by_their_number(hub: LiveHub) -> None:
    go_on = threading.Event()
    hub.desk = Answering(lambda inquiry: Done(request=inquiry.request or int(go_on.wait(5))))
    with LiveServer(hub) as server, watch(server.url) as page:
        page.recv(5)
        page.send('{"type":"list_plans"}')
        for number in range(100, 120):
            page.send(f'{{"type":"list_plans","request":{number}}}')
        refused = json.loads(page.recv(5))
        go_on.set()
        assert (refused["type"], refused["code"]) == ("refusal", "busy")
        assert 107 <= refused["request"] < 120


def test_no_more_than_so_many_pages_may_watch(server: LiveServer) -> None:
    with contextlib.ExitStack() as pages:
        for _ in range(MAX_WATCHERS):
            pages.enter_context(watch(server.url)).recv(5)
        with pytest.raises(InvalidStatus, match="503"):
            watch(server.url)
    with contextlib.ExitStack() as pages:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:  # until the server has seen one go
            with contextlib.suppress(InvalidStatus):
                pages.enter_context(watch(server.url))
                return
    pytest.fail("no place became free when pages left")


def test_silent_connections_cannot_crowd_the_server_beyond_its_bound(server: LiveServer) -> None:
    host, port, _ = parts(server.url)
    with contextlib.ExitStack() as silent:
        for _ in range(MAX_CONNECTIONS + 5):
            silent.enter_context(socket.create_connection((host, port), timeout=5))
        assert len(server._tcp_connections) <= MAX_CONNECTIONS
        with watch(server.url) as page:  # they do not lock out who has a token: the oldest of them goes
            assert json.loads(page.recv(5))["role"] == "operator"
            for _ in range(MAX_CONNECTIONS + 5):
                silent.enter_context(socket.create_connection((host, port), timeout=5))
            page.send('{"type":"nonsense"}')
            assert json.loads(page.recv(5))["code"] == "malformed", "and it stays"
        assert len(server._tcp_connections) <= MAX_CONNECTIONS


@pytest.mark.parametrize("role", ["operator", "observer"])
def test_a_second_connection_blanks_while_the_first_is_full_of_pictures(
    hub: LiveHub, server: LiveServer, role: str
) -> None:
    acted: list[object] = []
    hub.on_stop = acted.append
    link = server.url if role == "operator" else server.observer_url
    with contextlib.ExitStack() as pages:
        for _ in range(MAX_WATCHERS):  # no place for pictures is left
            pages.enter_context(watch(server.url))
        line = pages.enter_context(watch(link, path="/blank"))
        line.send("blank")
        assert json.loads(line.recv(5))["text"] == "blank taken"
        assert acted == [EmergencyBlank()]
    with pytest.raises(InvalidStatus):
        watch(server.url, path="/blank", token="t" * 43)
    with pytest.raises(InvalidStatus):
        watch(server.url, path="/blank", origin="http://evil.example")


def stalled(server: LiveServer) -> socket.socket:
    """A browser that opened the page and never reads again: a raw handshake with a tiny receive buffer."""
    host, port, token = parts(server.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, port))
    raw.sendall(
        (
            f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {PAGE_PROTOCOL}, token.{token}\r\n\r\n"
        ).encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def draw(page: ClientConnection, timeout_s: float) -> int:
    """Take one message as the page does, acknowledging an image; return its frame, or -1 for other messages."""
    message = page.recv(timeout_s)
    if isinstance(message, str):
        return -1
    header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
    page.send(json.dumps({"type": "ack", "seq": header["seq"]}))
    return int(header["frame"])


def test_publishing_waits_for_no_browser_no_encoding_and_not_for_the_servers_thread(
    hub: LiveHub, server: LiveServer
) -> None:
    encoding, standing, go_on = threading.Event(), threading.Event(), threading.Event()
    encode = server._encode

    def stand() -> bool:
        standing.set()
        return go_on.wait(20)

    def encode_at_last(*view: Any) -> bytes:
        encoding.set()
        assert go_on.wait(20)
        return encode(*view)

    server._encode = encode_at_last  # type: ignore[assignment]
    assert server._loop is not None
    with watch(server.url) as page:
        page.recv(5)
        hub.publish_partial(image_view(0))
        assert encoding.wait(5)
        server._loop.call_soon_threadsafe(stand)
        assert standing.wait(5)
        for frame in range(1, 200):  # if one of these waited, it would be for what comes after them
            hub.publish_partial(image_view(frame))
        go_on.set()
        newest = -1
        while newest < 199:
            newest = max(newest, draw(page, timeout_s=5))


@pytest.mark.slow
def test_pages_that_stop_reading_cost_bounded_time_and_memory_and_a_live_page_gets_the_newest(
    hub: LiveHub, server: LiveServer
) -> None:
    """2 GB of frames past four stalled browsers: publishing one costs under 1 ms of the daemon's time."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(contextlib.closing(stalled(server)))
        page = stack.enter_context(watch(server.url))
        base = image_view(0, side=1024)
        worked_s: list[float] = []
        tracemalloc.start()
        newest = -1
        for frame in range(500):
            view = PartialView(1, frame, base.image + np.float32(frame), base.weight, False, 9, "p")
            worked = time.thread_time()
            hub.publish_partial(view)
            worked_s.append(time.thread_time() - worked)
            with contextlib.suppress(TimeoutError):
                newest = max(newest, draw(page, timeout_s=0))
        while newest < 499:
            newest = max(newest, draw(page, timeout_s=20))
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20  # numpy's arrays are counted too
        tracemalloc.stop()
        with Stopwatch() as stopping:
            server.stop()
            stopping_s = stopping.s
    assert np.percentile(worked_s, 99) < 1e-3
    # Four views of 5 MB and their encodings of 3 MB kept, one being made, a message in each buffer: not 2 GB.
    assert peak_mb < 120, f"{peak_mb:.0f} MB"
    assert stopping_s < 1


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_on_the_socket_stop_the_server_or_move_the_beam(
    hub: LiveHub, server: LiveServer, data: st.DataObject
) -> None:
    """Half-honest handshakes, and after honest ones any frames at all."""
    host, port, token = parts(server.url)
    honest = {
        "Host": f"{host}:{port}",
        "Origin": f"http://{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"{PAGE_PROTOCOL}, token.{token}",
    }
    header = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(honest)) | header, header, max_size=2), "headers")
    lines = [f"{name}: {value}" for name, value in {**honest, **changed}.items()]
    request = ("GET /live HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    noise = data.draw(st.binary(max_size=200), "noise")
    with socket.create_connection((host, port), timeout=5) as raw, contextlib.suppress(OSError):
        raw.sendall(data.draw(st.sampled_from([request + noise, noise, request[:-2] + noise]), "bytes"))
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65536):
            pass
    assert get(server, "/").status == 200
    assert hub.commands.empty()
