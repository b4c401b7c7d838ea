"""The page's server on real sockets: who gets in, what they are sent, and what they cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from page_client import get, image_view, parts, watch
from stalls import Stopwatch
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.messages import PAGE_PROTOCOL, EmergencyBlank, Notice, Pause, Start
from scancontrol.daemon.page.server import LiveServer
from scancontrol.daemon.page.site import STATIC_FILES
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LocalProtocolError


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


def test_one_token_for_both_roles_is_refused(hub: LiveHub) -> None:
    with pytest.raises(InvalidInput, match="also the operator's"):
        LiveServer(hub, token="a" * 30, observer_token="a" * 30)


def test_stop_is_quick_repeatable_and_lets_the_daemon_publish_on(hub: LiveHub) -> None:
    server = LiveServer(hub)
    server.stop()
    server.start()
    with watch(server.url) as page:
        page.recv(5)
        with Stopwatch() as stopping:
            server.stop()
            assert stopping.s < 1
    server.stop()
    hub.publish_status(Snapshot())
