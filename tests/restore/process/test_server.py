"""The restorer's server on real sockets: asked in order, told nonsense, with keys and without."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from restorer_pair import welcome
from torch import Tensor

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from restore.process.answering import OwnEngine
from restore.process.server import RestorerServer
from restore.restorer import Restoration
from scancontrol.errors import InvalidInput
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.restorer import RestoredFrame, RestorerProcess
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

pytestmark = pytest.mark.slow

RECIPE = solve(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=64.0, dwell_us=1.0)
)
PATH = expand(RECIPE)
SAMPLES = np.arange(PATH.count).astype("<u2")


class GatedFill(FillRestorer):
    """A real fill that waits for permission before each frame, so that a test decides what is in the queue."""

    def __init__(self) -> None:
        super().__init__("push_pull")
        self.gate = threading.Semaphore(0)
        self.armed = False

    def restore(self, samples: Tensor, geometry: FrameGeometry, *known: Any) -> Restoration:
        if self.armed:
            self.gate.acquire(timeout=20)
        return super().restore(samples, geometry, *known)


@contextmanager
def served(restorer: FillRestorer, security: ServerSecurity | None = None, address: str = "tcp://127.0.0.1:0"):  # type: ignore[no-untyped-def]
    server = RestorerServer([OwnEngine(Engine(restorer))], welcome("push_pull"), address, security)
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
        RestorerServer([OwnEngine(Engine(FillRestorer("push_pull")))], welcome("push_pull"), "tcp://0.0.0.0:0")


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
