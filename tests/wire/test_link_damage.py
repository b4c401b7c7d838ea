"""What becomes of samples and beam when a process of the link freezes, dies or starts again."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from link_tools import collect, recipe
from served_ramp import Ramp, microscope

from scancontrol.link.link import Chunk, MicroscopeLink, Notice
from scancontrol.microscope.host import serve

pytestmark = pytest.mark.slow


PACED = """
import sys, time
import numpy as np
from scancontrol.capabilities import Capabilities
from scancontrol.processes.child import Shutdown, announce
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block

class Paced:
    capabilities = Capabilities(name="paced")
    def __init__(self): self.path = None; self.log = open(sys.argv[1], "a", buffering=1)
    def begin(self, path, first_index, frame):
        self.path, self.next, self.since, self.first = path, first_index, time.monotonic_ns(), first_index
        self.log.write(f"begin {time.monotonic_ns()}\\n")
    def read(self, max_samples):
        path = self.path
        if path is None: return None
        time.sleep(0.004)
        n = min(max_samples, path.count - self.next, 500)
        values = (np.arange(self.next, self.next + n) % 65536).astype("<u2")[None]
        self.next += n
        if self.next == path.count: self.path = None
        self.log.write(f"exposed {n}\\n")
        return Block(values, float(n), time.monotonic_ns())
    def blank(self):
        self.path = None
        self.log.write(f"blank {time.monotonic_ns()}\\n")
    def close(self): pass

shutdown = Shutdown(follow_stdin=True)
serve(Paced(), sys.argv[2], shutdown=shutdown.requested, on_ready=lambda a: announce("microscope", address=a))
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_sample_is_lost_or_doubled_by_a_bad_transport(seed):
    class Faults:
        def __init__(self):
            self.chance = np.random.default_rng(seed)
            self.injected = 0

        def filter(self, parts, now):
            fate = self.chance.random()
            if fate < 0.6:
                return [(0.0, parts)]
            self.injected += 1
            if fate < 0.75:
                return []
            if fate < 0.88:
                return [(0.0, parts), (0.003, parts)]
            return [(0.01, parts)]

    faults = Faults()
    with microscope(Ramp(0.001), transport_faults=faults) as address, MicroscopeLink(address) as link:
        link.connect(5)
        path_id = link.register(recipe(512))
        for frame in range(3):
            link.start(path_id, 1, frame)
        samples, ended = collect(link, 3)
    assert faults.injected >= 4
    assert [samples[frame] == list(range(512 * 512)) for frame in range(3)] == [True] * 3
    assert [end.reason for end in ended] == ["completed"] * 3


def test_an_exception_of_the_instrument_blanks_and_ends_the_frame_with_its_message():
    instrument = Ramp(0.002)
    with microscope(instrument) as address, MicroscopeLink(address) as link:
        link.connect(5)
        path_id = link.register(recipe(2048))
        link.start(path_id, 1, 0)
        while not isinstance(link.receive(1), Chunk):
            pass
        instrument.error = OSError("cable out")
        _, (end,) = collect(link, 1)
        assert (end.reason, end.message) == ("fault", "OSError: cable out")
        assert instrument.path is None
        instrument.error = None
        link.start(path_id, 1, 1)  # it goes on
        link.abort()


def test_a_caller_that_hangs_leaves_the_beam_blanked_and_loses_nothing():
    instrument = Ramp(0.002)
    with microscope(instrument) as address, MicroscopeLink(address, patience_s=0.2) as link:
        link.connect(5)
        link.start(link.register(recipe(4096)), 1, 0)
        while not isinstance(link.receive(1), Chunk):
            pass
        with MicroscopeLink(address, observer=True, operator="witness") as witness:
            witness.connect(20)
            deadline = time.monotonic() + 20
            while witness.status is None or witness.status.state != "idle":  # for want of credit it waits before that
                assert time.monotonic() < deadline, "the dead man does not act while the caller hangs"
                witness.receive(0.02)
        assert instrument.path is None
        samples, (end,) = collect(link, 1)
    assert end.reason == "heartbeat_lost"
    assert end.next_index == instrument.exposed
    assert samples[0][-1] == instrument.exposed - 1


def start_paced(log: Path, address: str = "tcp://127.0.0.1:0") -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PACED, str(log), address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, json.loads(process.stdout.readline())["address"]


def end_process(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


CLIENT = """
import sys, time
from scancontrol.link.link import Chunk, MicroscopeLink
from scancontrol.paths import PathRecipe, Raster
link = MicroscopeLink(sys.argv[1], operator="frozen")
link.connect(10)
link.start(link.register(PathRecipe(pattern=Raster(), shape=(4096, 4096), fov_nm=100.0, dwell_us=1.0)), 1, 0)
while True:
    event = link.receive(1)
    if isinstance(event, Chunk):
        link.acknowledge(event.series_id, event.frame, event.next_index)
        print(event.next_index, flush=True)
"""


@pytest.mark.parametrize("damage", [signal.SIGSTOP, signal.SIGKILL])
def test_a_client_frozen_or_killed_leaves_the_beam_on_for_250_ms_at_most(tmp_path, damage):
    instrument_log = tmp_path / "log"
    server, address = start_paced(instrument_log)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, address], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(5):
            client.stdout.readline()
        struck_ns = time.monotonic_ns()
        os.kill(client.pid, damage)
        deadline = time.monotonic() + 5
        blanks: list[int] = []
        while not blanks and time.monotonic() < deadline:
            lines = [line.split() for line in instrument_log.read_text().splitlines()]
            blanks = [int(line[1]) for line in lines if line[0] == "blank" and int(line[1]) > struck_ns]
        assert blanks
        assert blanks[0] - struck_ns <= 250e6
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
        end_process(server)


def test_a_daemon_that_was_killed_is_succeeded_by_one_that_gets_the_rest(tmp_path):
    log = tmp_path / "log"
    server, address = start_paced(log)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, address], stdout=subprocess.PIPE, text=True)
    try:
        safe = 0
        for _ in range(5):
            safe = int(client.stdout.readline())
        client.kill()
        safe = max([safe, *(int(line) for line in client.stdout.read().split())])
        began = time.monotonic()
        with MicroscopeLink(address, operator="again", have={("frozen-1", 0): safe}) as link:
            link.connect(5)
            recovery_s = time.monotonic() - began
            samples, (end,) = collect(link, 1)
        exposed = sum(int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("exposed"))
        assert end.reason == "heartbeat_lost"
        assert end.next_index == exposed
        assert samples.get(0, []) == list(range(safe, exposed))
        assert recovery_s < 2.0
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
        end_process(server)


def test_a_microscope_killed_and_started_again_is_found_again(tmp_path):
    server, address = start_paced(tmp_path / "log")
    try:
        with MicroscopeLink(address) as link:
            link.connect(5)
            path_id = link.register(recipe(4096))
            link.start(path_id, 1, 0)
            while not isinstance(link.receive(1), Chunk):
                pass
            end_process(server)
            server, _ = start_paced(tmp_path / "log", address)
            _, (end,) = collect(link, 1)
            assert end.reason == "fault"
            assert "restarted" in end.message
            link.register(recipe(32))
            link.start(recipe(32).path_id, 1, 1)
            samples, (end,) = collect(link, 1)
            assert end.reason == "completed"
            assert samples[1] == list(range(1024))
            link.start(path_id, 1, 2)  # registered with the old server only: the link registers it again
            link.abort()
            assert collect(link, 1)[1][0].reason == "aborted"
    finally:
        end_process(server)


def test_the_last_ends_leave_before_the_server_does():
    with a_scan_and_its_end() as (link, stop):
        stop.set()
        _, (end,) = collect(link, 1)
    assert end.reason == "shutdown"


@contextmanager
def a_scan_and_its_end() -> Iterator[tuple[MicroscopeLink, threading.Event]]:
    """A link with a running scan, and the event that ends the server."""
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    arguments = {"shutdown": stop.is_set, "on_ready": ready.put}
    thread = threading.Thread(target=serve, args=(Ramp(0.002),), kwargs=arguments)
    thread.start()
    try:
        with MicroscopeLink(ready.get(timeout=10)) as link:
            link.connect(5)
            link.start(link.register(recipe(4096)), 1, 0)
            while not isinstance(link.receive(1), Chunk):
                pass
            yield link, stop
    finally:
        stop.set()
        thread.join(10)


def test_a_silent_microscope_is_noticed_and_said(tmp_path):
    server, address = start_paced(tmp_path / "log")
    try:
        with MicroscopeLink(address) as link:
            link.connect(5)
            os.kill(server.pid, signal.SIGSTOP)
            notices: list[str] = []
            deadline = time.monotonic() + 10
            while "link_lost" not in notices and time.monotonic() < deadline:
                event = link.receive(0.1)
                notices += [event.kind] if isinstance(event, Notice) else []
            assert not link.connected
            os.kill(server.pid, signal.SIGCONT)
            while "link_restored" not in notices and time.monotonic() < deadline:
                event = link.receive(0.1)
                notices += [event.kind] if isinstance(event, Notice) else []
            assert notices[:1] == ["link_lost"]
            assert "link_restored" in notices
    finally:
        end_process(server)
