"""The link and the server over real sockets: threads and processes, faults, keys, the dead man."""

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

import msgspec
import numpy as np
import pytest
import zmq
from served_ramp import Ramp, microscope

from scancontrol.errors import InvalidInput, LeaseHeld, LinkError, RequestRefused, ScanControlError, VersionMismatch
from scancontrol.link.link import Chunk, End, MicroscopeLink, Notice
from scancontrol.microscope.host import serve
from scancontrol.paths import PathRecipe, Raster
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys

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


def recipe(side: int = 256) -> PathRecipe:
    return PathRecipe(pattern=Raster(), shape=(side, side), fov_nm=100.0, dwell_us=1.0)


def collect(link: MicroscopeLink, ends: int, timeout_s: float = 20.0) -> tuple[dict[int, list[int]], list[End]]:
    """Acknowledge everything until so many ends came; samples' indices by frame, values checked."""
    samples: dict[int, list[int]] = {}
    ended: list[End] = []
    deadline = time.monotonic() + timeout_s
    while len(ended) < ends:
        assert time.monotonic() < deadline, f"{len(ended)} of {ends} ends; {link.status}"
        event = link.receive(0.2)
        if isinstance(event, Chunk):
            expected = np.arange(event.first_index, event.next_index)
            np.testing.assert_array_equal(event.values[0], expected % 65536)
            samples.setdefault(event.frame, []).extend(expected.tolist())
            link.acknowledge(event.series_id, event.frame, event.next_index)
        elif isinstance(event, End):
            ended.append(event)
    return samples, ended


def test_frames_come_whole_over_tcp():
    with microscope() as address, MicroscopeLink(address, operator="ada") as link:
        assert link.connect(5) == Ramp.capabilities
        path_id = link.register(recipe())
        for frame in range(3):
            link.start(path_id, 1, frame)
        samples, ended = collect(link, 3)
    assert [samples[frame] == list(range(65536)) for frame in range(3)] == [True] * 3
    assert [end.reason for end in ended] == ["completed"] * 3


def test_the_clock_offset_is_measured_within_its_bound():
    with microscope() as address, MicroscopeLink(address) as link:
        link.connect(5)
        while link.clock_offset_ns is None:
            link.receive(0.05)
        assert abs(link.clock_offset_ns) <= link.clock_error_ns  # one machine, one clock


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


def test_no_microscope_at_the_address_is_said_within_the_timeout():
    with MicroscopeLink("tcp://127.0.0.1:1") as link:
        began = time.monotonic()
        with pytest.raises(LinkError, match=r"no microscope answers at tcp://127.0.0.1:1 .*start one there"):
            link.connect(0.5)
        assert time.monotonic() - began < 1.5


def test_a_port_in_use_is_invalid_input():
    with microscope() as address, pytest.raises(InvalidInput, match="in use"):
        serve(Ramp(), address, shutdown=lambda: True)


def test_an_open_address_without_keys_is_refused():
    with pytest.raises(InvalidInput, match="no keys"):
        serve(Ramp(), "tcp://0.0.0.0:0", shutdown=lambda: True)
    with pytest.raises(InvalidInput, match="no keys"):
        MicroscopeLink("tcp://192.0.2.7:5555")


def test_a_microscope_of_another_version_is_named_with_both_versions():
    context = zmq.Context()
    with context, context.socket(zmq.ROUTER) as fake:
        fake.linger = 0
        port = fake.bind_to_random_port("tcp://127.0.0.1")
        answer = msgspec.msgpack.encode({"type": "welcome", "protocol_version": 7, "news": True})

        def respond() -> None:
            connection, *_ = fake.recv_multipart()
            fake.send_multipart([connection, answer])

        thread = threading.Thread(target=respond)
        thread.start()
        with MicroscopeLink(f"tcp://127.0.0.1:{port}") as link, pytest.raises(VersionMismatch, match=r"version 7 .*3"):
            link.connect(5)
        thread.join()


def test_a_second_operator_is_refused_by_name_and_an_observer_is_not():
    with microscope() as address, MicroscopeLink(address, operator="ada") as first:
        first.connect(5)
        with MicroscopeLink(address, operator="bob") as second, pytest.raises(LeaseHeld, match="ada") as caught:
            second.connect(3)
        assert caught.value.holder == "ada"
        with MicroscopeLink(address, operator="carl", observer=True) as observer:
            observer.connect(5)
            with pytest.raises(RequestRefused, match="looks on"):
                observer.abort()
            observer.blank()
        with pytest.raises(RequestRefused, match="held blanked"):
            first.start(first.register(recipe()), 1, 0)
        first.set_blanker("auto")
        first.start(first.register(recipe()), 1, 0)
        assert collect(first, 1)[1][0].reason == "completed"


def test_the_lease_is_free_once_the_operator_leaves():
    with microscope() as address:
        for name in ("ada", "bob"):
            with MicroscopeLink(address, operator=name) as link:
                link.connect(5)


def test_an_abort_blanks_within_a_chunk_and_says_so():
    instrument = Ramp(0.005)
    with microscope(instrument) as address, MicroscopeLink(address) as link:
        link.connect(5)
        link.start(link.register(recipe(4096)), 1, 0)
        while not isinstance(link.receive(1), Chunk):
            pass
        link.abort("enough")
        exposed = instrument.exposed
        assert instrument.path is None
        _, (end,) = collect(link, 1)
    assert (end.reason, end.message) == ("aborted", "enough")
    assert end.next_index == exposed == instrument.exposed


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
        threading.Event().wait(0.8)
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
