"""Whom a microscope lets in by its keys, and what a new key of its own changes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from link_tools import collect, recipe
from served_ramp import Ramp, microscope

from scancontrol.errors import InvalidInput, LinkError, ScanControlError
from scancontrol.link.link import MicroscopeLink
from scancontrol.microscope.host import serve
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys

pytestmark = pytest.mark.slow


def test_an_open_address_without_keys_is_refused():
    with pytest.raises(InvalidInput, match="no keys"):
        serve(Ramp(), "tcp://0.0.0.0:0", shutdown=lambda: True)
    with pytest.raises(InvalidInput, match="no keys"):
        MicroscopeLink("tcp://192.0.2.7:5555")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[ServerSecurity, ClientSecurity, Path]:
    server_public, server_secret = make_keys(tmp_path / "keys", "microscope")
    client_public, client_secret = make_keys(tmp_path / "keys", "ada")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "ada.key").write_bytes(client_public.read_bytes())
    return ServerSecurity(server_secret, allowed), ClientSecurity(client_secret, server_public), tmp_path


def test_a_known_client_scans_over_curve(keys):
    server, client, _ = keys
    with microscope(security=server) as address, MicroscopeLink(address, security=client) as link:
        link.connect(5)
        link.start(link.register(recipe()), 1, 0)
        samples, _ = collect(link, 1)
    assert samples[0] == list(range(65536))


def test_unknown_clients_get_no_answer_until_their_key_is_put_into_the_folder(keys):
    server, _, folder = keys
    public, secret = make_keys(folder / "keys", "bob")
    bob = ClientSecurity(secret, folder / "keys" / "microscope.key")
    with microscope(security=server) as address:
        for stranger in (None, bob):
            with MicroscopeLink(address, security=stranger) as link, pytest.raises(LinkError, match="no microscope"):
                link.connect(0.6)
        (server.allowed_clients / "bob.key").write_bytes(public.read_bytes())
        with MicroscopeLink(address, security=bob) as link:
            link.connect(5)
        (server.allowed_clients / "bob.key").unlink()
        with MicroscopeLink(address, security=bob) as link, pytest.raises(LinkError, match="no microscope"):
            link.connect(0.6)


@pytest.mark.slow
def test_a_new_key_of_the_microscope_is_used_without_a_restart_and_the_old_one_opens_nothing(keys):
    server, client, folder = keys
    old = folder / "old.key"
    old.write_bytes(client.server_key_file.read_bytes())
    with microscope(security=server) as address, MicroscopeLink(address, security=client) as link:
        link.connect(5)
        link.start(link.register(recipe(16)), 1, 0)
        collect(link, 1)
        _wait_for(link, 256.0)
        (folder / "next").mkdir()
        server.secret_key_file.with_suffix(".broken").write_text("curve")
        server.secret_key_file.with_suffix(".broken").chmod(0o600)
        server.secret_key_file.with_suffix(".broken").replace(server.secret_key_file)  # changes nothing
        public, secret = make_keys(folder / "next", "microscope")
        secret.replace(server.secret_key_file)
        public.replace(client.server_key_file)
        deadline = time.monotonic() + 20
        same = link.status.server_id
        while time.monotonic() < deadline and not _answers(address, client):
            link.receive(0.05)
        behind = ClientSecurity(client.secret_key_file, old)
        with MicroscopeLink(address, security=behind) as late, pytest.raises(LinkError, match="no microscope"):
            late.connect(0.6)
        while True:  # the operator's session ended with the connection, and begins anew by itself
            try:
                link.start(link.register(recipe(16)), 2, 0)
                break
            except ScanControlError:
                assert time.monotonic() < deadline
                link.receive(0.05)
        samples, _ = collect(link, 1)
        assert samples[0] == list(range(256))
        _wait_for(link, 512.0)  # what the specimen had before is not forgotten
        assert link.status.server_id == same, "the same server goes on"


def _wait_for(link: MicroscopeLink, electrons: float) -> None:
    deadline = time.monotonic() + 10
    while link.status is None or link.status.session_electrons < electrons:
        assert time.monotonic() < deadline
        link.receive(0.05)


def _answers(address: str, security: ClientSecurity) -> bool:
    with MicroscopeLink(address, security=security, operator="eve", observer=True) as link:
        try:
            link.connect(0.5)
        except LinkError:
            return False
    return True
