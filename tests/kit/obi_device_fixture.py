"""A simulated OBI device on a free port, in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from simulators.obi.device import Column, Loopback, ObiDevice
from simulators.obi.server import ObiServer


@contextmanager
def running(column: Column, realtime: bool, relay_ms: float) -> Iterator[tuple[str, ObiDevice]]:
    device = ObiDevice(column, relay_ms=relay_ms)
    server = ObiServer(device, "tcp://127.0.0.1:0", realtime=realtime)
    stop = threading.Event()
    thread = threading.Thread(target=server.serve, args=(stop.is_set,))
    thread.start()
    try:
        yield server.address, device
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def obi_server() -> Iterator[Callable[..., tuple[str, ObiDevice]]]:
    """Start a server; returns its address and the device, whose state a test may look at."""
    with ExitStack() as stack:

        def start(column: Column | None = None, *, realtime: bool = False, relay_ms: float = 0.0):
            return stack.enter_context(running(column or Loopback(), realtime, relay_ms))

        yield start
