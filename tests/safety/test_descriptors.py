"""A microscope whose server has no free descriptor left: it lets nobody in, says so, recovers, and ends when told."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scancontrol.errors import LinkError
from scancontrol.link.link import MicroscopeLink
from scancontrol.processes.parent import ChildProcess
from scancontrol.transport.keys import ClientSecurity, make_keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are set by prlimit(2)"),
]


class Guarded:
    """A simulated microscope in its own process, open to holders of listed keys, and how many files it may open."""

    def __init__(self, folder: Path) -> None:
        server, secret = make_keys(folder, "microscope")
        clients = folder / "clients"
        _, own = make_keys(folder, "ada")
        clients.mkdir()
        (folder / "ada.key").rename(clients / "ada.key")
        self.security = ClientSecurity(own, server)
        keys = ["--secret-key", str(secret), "--clients", str(clients)]
        config = folder / "simulator.yaml"
        config.write_text("specimen: {kind: crystal, size_nm: 2.0, thickness_nm: 2.0}\n")  # soon drawn
        quick = ["--config", str(config), "--fast", "--no-faults"]
        self.process = ChildProcess("microscope", "simulators", [*quick, *keys])
        self.address = str(self.process.wait_ready(60)["address"])
        self._limits = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)

    def leave(self, free: int) -> None:
        """Have it find so many descriptors free and no more."""
        used = {int(entry.name) for entry in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        unused = (number for number in range(self._limits[0]) if number not in used)
        bound = [next(unused) for _ in range(free + 1)][free]
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (bound, self._limits[1]))

    def recover(self) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, self._limits)

    def lets_in(self) -> bool:
        """Whether a client with a listed key gets an answer."""
        with MicroscopeLink(self.address, security=self.security, operator="ada", observer=True) as link:
            try:
                link.connect(1.0)
            except LinkError:
                return False
            return link.connected


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    microscope = Guarded(tmp_path)
    yield microscope
    microscope.process.stop(2.0)


def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_allow_lists_thread_outlives_a_process_without_descriptors_and_says_that_it_lets_nobody_in(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    guarded.leave(1)  # for the connection, and none to read the allow-list with
    assert not guarded.lets_in()
    until(lambda: "Too many open files): nobody is let in" in caplog.text)
    guarded.recover()
    until(guarded.lets_in)


def test_sigterm_ends_it_with_no_descriptor_free_and_strangers_at_the_door(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host, port = guarded.address.removeprefix("tcp://").rsplit(":", 1)
    with ExitStack() as stack:
        guarded.leave(1)
        for _ in range(40):
            stack.enter_context(socket.create_connection((host, int(port)), 2))
        assert not guarded.lets_in()
        until(lambda: "nobody can be let in (Too many open files)" in caplog.text)
        os.kill(guarded.process.pid, signal.SIGTERM)
        assert guarded.process.wait(10.0) == 0
