"""The page's server on real sockets: who gets in, what they are sent, and what they cannot do."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

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
    Notice,
    Pause,
    Start,
)
from scancontrol.daemon.page.server import MAX_CONNECTIONS, MAX_WATCHERS, LiveServer
from scancontrol.daemon.page.site import STATIC_FILES
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LocalProtocolError


@pytest.fixture
def hub() -> LiveHub:
    return LiveHub()


@pytest.fixture
def server(hub: LiveHub) -> Iterator[LiveServer]:
    with LiveServer(hub) as running:
        yield running


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


def test_every_file_of_the_page_is_served_under_a_strict_policy(server: LiveServer) -> None:
    for path, (_, kind) in STATIC_FILES.items():
        response = get(server, path)
        assert response.status == 200
        assert response.headers["Content-Type"] == kind
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in response.headers
        assert "Server" not in response.headers


def test_every_script_on_disk_is_served_and_nothing_names_another_host() -> None:
    folder = Path(__file__).parents[3] / "scancontrol/daemon/page/static"
    assert {path.name for path in folder.iterdir()} == {name for name, _ in STATIC_FILES.values()}
    for path in folder.iterdir():
        text = path.read_text()
        assert "https://" not in text
        assert "innerHTML" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/static/../hub.py", "/..%2fserver.py", "//etc/passwd", "/app.js/", "/APP.JS", "/%00", "/hub.py"],
)
def test_a_path_outside_the_table_is_not_found(server: LiveServer, path: str) -> None:
    assert get(server, path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"])
def test_a_rebound_name_gets_nothing(server: LiveServer, host: str) -> None:
    response = get(server, "/", host=host)
    assert response.status == 421
    assert b"script" not in response.content  # type: ignore[attr-defined]


def test_the_token_is_asked_for_and_stays_out_of_what_is_sent(server: LiveServer) -> None:
    with watch(server.url) as page:
        assert page.subprotocol == PAGE_PROTOCOL
        assert page.response is not None
        assert parts(server.url)[2] not in str(page.response.headers)
    for token in ("", "wrong", parts(server.url)[2][:-1]):
        with pytest.raises(InvalidStatus, match="403"):
            watch(server.url, token=token)


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_a_foreign_page_is_refused_even_with_the_token(server: LiveServer, origin: str | None) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        watch(server.url, origin=origin)


def test_a_page_learns_its_role_then_the_newest_state(hub: LiveHub, server: LiveServer) -> None:
    hub.publish_status(Snapshot(utc_ns=6))
    hub.publish_status(Snapshot(utc_ns=7))
    with watch(server.url) as page:
        assert json.loads(page.recv(5)) == {
            "type": "hello",
            "protocol": PAGE_PROTOCOL,
            "server": "scancontrol",
            "role": "operator",
        }
        assert json.loads(page.recv(5))["utc_ns"] == 7
        hub.publish_notice(Notice("Started.", "info"))
        assert json.loads(page.recv(5))["text"] == "Started."
        hub.publish_partial(image_view(3))
        assert isinstance(page.recv(5), bytes)


def test_commands_reach_the_daemon_and_a_blank_empties_what_waits(hub: LiveHub, server: LiveServer) -> None:
    with watch(server.url) as page:
        page.send('{"type":"pause"}')
        page.send('{"type":"emergency_blank"}')
        page.send('{"type":"start","plan":"spiral","number":3}')
        page.send('{"type":"nonsense"}')
        page.recv(5)
        assert json.loads(page.recv(5))["code"] == "malformed"  # so all before it were taken
    taken = [hub.commands.get_nowait().command for _ in range(2)]
    assert taken == [EmergencyBlank(), Start(plan="spiral", number=3)]
    assert hub.commands.empty()


def test_an_observer_may_blank_the_beam_and_nothing_else(hub: LiveHub, server: LiveServer) -> None:
    with watch(server.observer_url) as page:
        assert json.loads(page.recv(5))["role"] == "observer"
        for command in (
            '"start","plan":"a","number":0',
            '"pause"',
            '"resume","number":0',
            '"abort"',
            '"record","on":false',
        ):
            page.send(f'{{"type":{command}}}')
            assert json.loads(page.recv(5))["code"] == "read_only"
        page.send('{"type":"emergency_blank"}')
        assert hub.commands.get(timeout=5).command == EmergencyBlank()
    assert hub.commands.empty()


def test_a_daemon_that_does_not_listen_is_named_and_the_queue_stays_bounded(hub: LiveHub, server: LiveServer) -> None:
    with watch(server.url) as page:
        page.recv(5)
        for _ in range(100):
            page.send('{"type":"pause"}')
        assert json.loads(page.recv(5))["code"] == "busy"
    assert hub.commands.qsize() == 64


@pytest.mark.parametrize("text", ["{", '{"type":"start"}', '{"type":"start","plan":1}', "[]", b"\x00\x01"])
def test_a_malformed_message_gets_a_typed_answer_and_the_page_lives_on(
    hub: LiveHub, server: LiveServer, text: str | bytes
) -> None:
    with watch(server.url) as page:
        page.recv(5)
        page.send(text)
        assert json.loads(page.recv(5))["code"] == "malformed"
        page.send('{"type":"pause"}')
        assert hub.commands.get(timeout=5).command == Pause()
    assert hub.commands.empty()


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


def test_the_page_is_served_on_the_loopback_of_ipv6_as_it_is_written_in_an_address(hub: LiveHub) -> None:
    with LiveServer(hub, host="[::1]") as server:
        link = urlsplit(server.url)
        assert server.url.startswith(f"http://[::1]:{link.port}/")
        own = f"http://[::1]:{link.port}"
        token = f"token.{link.fragment.removeprefix('token=')}"
        protocols = [PAGE_PROTOCOL, token]
        with connect(f"ws://[::1]:{link.port}/live", origin=own, subprotocols=protocols) as page:  # type: ignore[arg-type]
            assert json.loads(page.recv(5))["role"] == "operator"


def test_a_port_in_use_is_said_before_anything_runs(server: LiveServer, hub: LiveHub) -> None:
    second = LiveServer(hub, port=parts(server.url)[1])
    with pytest.raises(InvalidInput, match="in use"):
        second.start()
    second.stop()


def test_a_link_is_asked_for_only_once_it_is_served(hub: LiveHub) -> None:
    with pytest.raises(LocalProtocolError):
        _ = LiveServer(hub).url


def test_the_page_in_the_open_without_tls_is_refused(hub: LiveHub) -> None:
    with pytest.raises(InvalidInput, match="TLS"):
        LiveServer(hub, host="0.0.0.0")  # noqa: S104


def test_one_token_for_both_roles_is_refused(hub: LiveHub) -> None:
    with pytest.raises(InvalidInput, match="also the operator's"):
        LiveServer(hub, token="a" * 30, observer_token="a" * 30)


def test_stop_is_quick_repeatable_and_lets_the_daemon_publish_on(hub: LiveHub) -> None:
    server = LiveServer(hub)
    server.stop()
    server.start()
    with watch(server.url) as page:
        page.recv(5)
        start = time.perf_counter()
        server.stop()
        assert time.perf_counter() - start < 1
    server.stop()
    hub.publish_status(Snapshot())


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


@pytest.mark.slow
def test_pages_that_stop_reading_delay_nobody_and_cost_bounded_memory(hub: LiveHub, server: LiveServer) -> None:
    """2 GB of frames past four stalled browsers: publishing stays under 1 ms, a live page still gets the newest."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(contextlib.closing(stalled(server)))
        page = stack.enter_context(watch(server.url))
        base = image_view(0, side=1024)
        costs: list[float] = []
        tracemalloc.start()
        newest = -1
        for frame in range(500):
            view = PartialView(1, frame, base.image + np.float32(frame), base.weight, False, 9, "p")
            start = time.perf_counter()
            hub.publish_partial(view)
            costs.append(time.perf_counter() - start)
            with contextlib.suppress(TimeoutError):
                newest = max(newest, draw(page, timeout_s=0))
        while newest < 499:
            newest = max(newest, draw(page, timeout_s=5))
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20  # numpy's arrays are counted too
        tracemalloc.stop()
        start = time.perf_counter()
        server.stop()
        stopping_s = time.perf_counter() - start
    assert np.percentile(costs, 99) < 1e-3
    # Four views of 5 MB and their encodings of 3 MB kept, one being made, a message in each buffer: not 2 GB.
    assert peak_mb < 120, f"{peak_mb:.0f} MB"
    assert stopping_s < 1


@pytest.mark.slow
def test_over_tls_the_page_and_its_websocket_are_served_by_certificate(hub: LiveHub, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    made = subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    trust = ssl.create_default_context(cafile=str(certificate))
    with LiveServer(hub, host="localhost", certificate=certificate, key=key) as server:
        host, port, token = parts(server.url)
        assert server.url.startswith("https://localhost:")
        connection = http.client.HTTPSConnection(host, port, context=trust, timeout=5)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.status == 200
        assert "wss://" in response.headers["Content-Security-Policy"]
        connection.close()
        with connect(
            f"wss://{host}:{port}/live",
            ssl=trust,
            origin=f"https://{host}:{port}",  # type: ignore[arg-type]
            subprotocols=[PAGE_PROTOCOL, f"token.{token}"],  # type: ignore[list-item]
        ) as page:
            assert json.loads(page.recv(5))["role"] == "operator"


def test_certificate_files_that_cannot_be_used_are_named(hub: LiveHub, tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(InvalidInput, match=r"none\.pem"):
        LiveServer(hub, certificate=missing)
    missing.write_text("not a certificate")
    with pytest.raises(InvalidInput, match=r"none\.pem"):
        LiveServer(hub, certificate=missing)


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
