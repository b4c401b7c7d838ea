"""The restorer's process, for real: served over sockets, killed with SIGKILL, asked too much, told nonsense."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from restore.process.server import RestorerServer
from restore.restorer import Restoration
from scancontrol.errors import InvalidInput, LinkError, LocalProtocolError
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.restorer import MissedFrame, RestoredFrame, RestorerProcess, RestorerStatus, restorer_arguments
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

pytestmark = pytest.mark.slow

RECIPE = solve(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=64.0, dwell_us=1.0)
)
PATH = expand(RECIPE)
SAMPLES = np.arange(PATH.count).astype("<u2")
ONE_THREAD = restorer_arguments(method="push_pull", device="cpu", threads=1)


class GatedFill(FillRestorer):
    """A real fill that waits for permission before each frame, so that a test decides what is in the queue."""

    def __init__(self) -> None:
        super().__init__("push_pull")
        self.gate = threading.Semaphore(0)
        self.armed = False

    def restore(self, samples: object, geometry: FrameGeometry) -> Restoration:  # type: ignore[override]
        if self.armed:
            self.gate.acquire(timeout=20)
        return super().restore(samples, geometry)  # type: ignore[arg-type]


@contextmanager
def served(restorer: FillRestorer, security: ServerSecurity | None = None, address: str = "tcp://127.0.0.1:0"):  # type: ignore[no-untyped-def]
    server = RestorerServer(Engine(restorer), address, security)
    end = threading.Event()
    thread = threading.Thread(target=server.run, args=(end.is_set,))
    thread.start()
    try:
        yield server.address
    finally:
        if isinstance(restorer, GatedFill):
            restorer.gate.release(100)
        end.set()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def dealer(address: str) -> Iterator[Callable[..., list[bytes]]]:
    """A raw peer: sends parts, returns the parts of the next answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = 10_000
        socket.connect(address)

        def talk(parts: list[bytes] | None = None) -> list[bytes]:
            if parts is not None:
                socket.send_multipart(parts)
            return socket.recv_multipart()

        yield talk


def _ask(request: int) -> list[bytes]:
    header = wire.Restore(
        request=request, stream="s", frame=request, path_id=RECIPE.path_id, count=PATH.count, dtype="<u2"
    )
    return encode(header, SAMPLES.tobytes())


def _register(talk: Callable[..., list[bytes]]) -> wire.Registered:
    import msgspec

    content = msgspec.msgpack.decode(msgspec.msgpack.encode(RECIPE))
    answer, _ = wire.FROM_RESTORER.decode(talk(encode(wire.Register(path_id=RECIPE.path_id, recipe=content))))
    assert isinstance(answer, wire.Registered)
    return answer


def _read(parts: list[bytes]) -> wire.RestorerMessage:
    return wire.FROM_RESTORER.decode(parts)[0]


def test_a_path_is_registered_once_and_then_only_samples_travel() -> None:
    with served(FillRestorer("push_pull")) as address, dealer(address) as talk:
        registered = _register(talk)
        assert (registered.count, registered.rows, registered.cols) == (PATH.count, 64, 64)
        parts = talk(_ask(7))
        answer, payload = wire.FROM_RESTORER.decode(parts)
        assert isinstance(answer, wire.Restored)
        assert (answer.request, answer.made_by.method, answer.complete) == (7, "push_pull", True)
        estimate, interval = wire.read_images(answer, payload)
        geometry = FrameGeometry.from_path(PATH)
        engine = Engine(FillRestorer("push_pull"))
        engine.register(PATH)
        expected = engine.restore(SAMPLES, RECIPE.path_id)
        assert np.array_equal(estimate, expected.estimate.numpy())
        assert interval is not None
        assert geometry.shape == estimate.shape


def test_nonsense_gets_a_typed_answer_and_the_next_frame_is_restored_all_the_same() -> None:
    with served(FillRestorer("push_pull")) as address, dealer(address) as talk:
        extra = encode(wire.Ping(sequence=1), b"x")
        for nonsense in ([b"\xff\xfe"], [b""], [b"\x81\xa4type\xa4nope"], [b"a"] * 5, extra):
            answer = _read(talk(nonsense))
            assert isinstance(answer, wire.Refused)
            assert answer.code == "malformed"
        answer = _read(talk(_ask(1)))
        assert isinstance(answer, wire.Refused)
        assert (answer.code, answer.request) == ("unknown_path", 1)
        answer = _read(talk(encode(wire.Hello(version=99, software="x"))))
        assert isinstance(answer, wire.Refused)
        assert answer.code == "version"
        bad = _read(talk(encode(wire.Register(path_id="0" * 32, recipe={"shape": [1, 1]}))))
        assert isinstance(bad, wire.Refused)
        assert bad.code == "bad_path"
        _register(talk)
        assert isinstance(_read(talk(_ask(2))), wire.Restored)


def test_frames_are_restored_in_their_order_and_pings_are_answered_meanwhile() -> None:
    restorer = GatedFill()
    with served(restorer) as address, dealer(address) as talk:
        _register(talk)
        restorer.armed = True
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.rcvtimeo = 10_000
            socket.connect(address)
            for request in range(3):
                socket.send_multipart(_ask(request))
            socket.send_multipart(encode(wire.Ping(sequence=1)))
            pong = _read(socket.recv_multipart())
            assert isinstance(pong, wire.Pong)
            assert pong.waiting in (2, 3), "the first one may have begun"
            restorer.gate.release(20)
            answers = [_read(socket.recv_multipart()) for _ in range(3)]
        assert [answer.request for answer in answers if isinstance(answer, wire.Restored)] == [0, 1, 2]


def test_without_keys_it_refuses_to_listen_to_the_network() -> None:
    with pytest.raises(InvalidInput, match="no keys"):
        RestorerServer(Engine(FillRestorer("push_pull")), "tcp://0.0.0.0:0")


def test_with_keys_it_serves_its_clients_over_curve(tmp_path: Path) -> None:
    _, server_secret = make_keys(tmp_path, "server")
    client_public, client_secret = make_keys(tmp_path, "client")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "client.key").write_bytes(client_public.read_bytes())
    got: queue.Queue[RestoredFrame] = queue.Queue()
    with served(FillRestorer("push_pull"), ServerSecurity(server_secret, allowed)) as address:
        security = ClientSecurity(client_secret, tmp_path / "server.key")
        with RestorerProcess(got.put, address=address, security=security) as restorer:
            restorer.wait_ready(10)
            path_id = restorer.register(RECIPE)
            restorer.restore(0, path_id, SAMPLES)
            assert got.get(timeout=10).frame == 0


def _until(condition: Callable[[], bool], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        waiting.wait(0.01)


def test_killed_with_sigkill_it_is_started_again_and_every_frame_is_accounted_for() -> None:
    got: list[RestoredFrame] = []
    missed: list[MissedFrame] = []
    states: list[str] = []

    def on_status(status: RestorerStatus) -> None:
        states.append(status.state)

    with RestorerProcess(got.append, missed.append, on_status, arguments=ONE_THREAD) as restorer:
        first = restorer.wait_ready(60)
        path_id = restorer.register(RECIPE)
        restorer.restore(0, path_id, SAMPLES)
        _until(lambda: len(got) == 1)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        _until(lambda: "dead" in states)
        # Frames that come meanwhile are taken without waiting; live ones but the newest are said to be missed.
        began = time.monotonic()
        for frame in range(1, 6):
            restorer.restore(frame, path_id, SAMPLES)
        restorer.restore(100, path_id, SAMPLES, stream="stored", read_again=lambda: SAMPLES)
        assert time.monotonic() - began < 0.5
        _until(lambda: {frame.frame for frame in got} >= {5, 100})
        assert restorer.status.restarts == 1
        assert restorer.status.pid != first.pid
    assert sorted([frame.frame for frame in got] + [frame.frame for frame in missed]) == [0, 1, 2, 3, 4, 5, 100]
    assert {frame.frame for frame in missed} == {1, 2, 3, 4}
    assert states[-1] == "off"
    assert [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state] == [
        "starting",
        "ready",
        "dead",
        "restarting",
        "ready",
        "off",
    ]


def test_it_goes_down_in_a_second_and_leaves_no_process(tmp_path: Path) -> None:
    restorer = RestorerProcess(lambda frame: None, arguments=ONE_THREAD)
    restorer.start()
    pid = restorer.wait_ready(60).pid
    assert pid is not None
    began = time.monotonic()
    restorer.stop()
    assert time.monotonic() - began < 2.5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert restorer.status.state == "off"


def test_a_restorer_that_cannot_start_says_why() -> None:
    arguments = restorer_arguments(method="magic")
    with RestorerProcess(lambda frame: None, arguments=arguments) as restorer, pytest.raises(LinkError, match="magic"):
        restorer.wait_ready(60)


def test_samples_along_an_unknown_path_or_of_a_strange_type_are_the_callers_mistake() -> None:
    restorer = RestorerProcess(lambda frame: None)
    with pytest.raises(LocalProtocolError, match="not registered"):
        restorer.restore(0, "0" * 32, SAMPLES)
    restorer.register(RECIPE)
    with pytest.raises(LocalProtocolError, match="<u2 or <f4"):
        restorer.restore(0, RECIPE.path_id, SAMPLES.astype(np.int64))
    restorer.stop()
