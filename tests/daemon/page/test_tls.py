"""Over TLS the page and its websocket are served by certificate, and what cannot be used is named."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from page_client import parts
from websockets.sync.client import connect

from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.messages import PAGE_PROTOCOL
from scancontrol.daemon.page.server import LiveServer
from scancontrol.errors import InvalidInput


def test_the_page_in_the_open_without_tls_is_refused(hub: LiveHub) -> None:
    with pytest.raises(InvalidInput, match="TLS"):
        LiveServer(hub, host="0.0.0.0")  # noqa: S104


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
