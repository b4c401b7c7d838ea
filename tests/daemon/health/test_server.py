"""The status port under readers that drip, stand still and crowd."""

from __future__ import annotations

import socket

import pytest
from stalls import Stopwatch

from scancontrol.daemon import health
from scancontrol.daemon.health import HealthServer
from scancontrol.daemon.snapshot import Snapshot


@pytest.mark.slow
def test_readers_that_drip_delay_nobody_and_not_the_end() -> None:
    server = HealthServer(lambda: Snapshot(pid=7))
    address = server.start(7)
    host, port = address.split(":")
    dripping = [socket.create_connection((host, int(port)), timeout=5) for _ in range(40)]
    try:
        for one in dripping[-8:]:
            one.sendall(b"G")
        with Stopwatch() as watch:
            assert health.ask(address).pid == 7
            assert watch.s < 1.5
    finally:
        with Stopwatch() as watch:
            server.stop()
            took_s = watch.s
        for one in dripping:
            one.close()
    assert took_s < 1.5
