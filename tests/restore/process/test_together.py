"""Two clients of one restorer whose frames wait at the same time get them from one pass of the network."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import torch
import zmq
from restorer_pair import welcome
from training_tools import TINY

from restore.engine import Engine
from restore.generator.generator import Generator
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import Weights
from restore.process.answering import OwnEngine
from restore.process.server import RestorerServer
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

pytestmark = pytest.mark.slow

RECIPE = solve(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=64.0, dwell_us=1.0)
)
PATH = expand(RECIPE)


class Gated(GeneratorRestorer):
    """A real network whose passes wait for permission, so that a test decides what waits meanwhile."""

    def __init__(self, together: int) -> None:
        torch.manual_seed(0)
        weights = Weights("tiny", Generator(TINY).eval(), None, "faithful", "h")
        super().__init__(weights, precision="single", together=together)
        self.gate = threading.Semaphore(10**6)
        self.began = threading.Event()
        self.passes: list[int] = []

    def launch(self, begun: Sequence[object]) -> list[object]:  # type: ignore[override]
        self.passes.append(len(begun))
        self.began.set()
        assert self.gate.acquire(timeout=30)
        return super().launch(begun)  # type: ignore[return-value, arg-type]


def _samples(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(PATH.count).astype("<f4")


def test_frames_of_two_clients_that_wait_at_the_same_time_are_restored_in_one_pass() -> None:
    restorer = Gated(together=4)
    server = RestorerServer([OwnEngine(Engine(restorer))], welcome("tiny"))
    end = threading.Event()
    thread = threading.Thread(target=server.run, args=(end.is_set,))
    thread.start()
    alone = Engine(Gated(together=1))
    alone.register(PATH)
    with zmq.Context() as context:
        sockets = [context.socket(zmq.DEALER) for _ in range(2)]
        try:
            for socket in sockets:
                socket.linger, socket.rcvtimeo = 0, 30_000
                socket.connect(server.address)

            def hear(client: int) -> tuple[wire.RestorerMessage, Sequence[object]]:
                return wire.FROM_RESTORER.decode(sockets[client].recv_multipart())

            def ask(client: int, request: int) -> None:
                header = wire.Restore(
                    request=request,
                    stream=f"of {client}",
                    frame=request,
                    path_id=RECIPE.path_id,
                    count=PATH.count,
                    dtype="<f4",
                )
                sockets[client].send_multipart(encode(header, _samples(10 * client + request).tobytes()))
                sockets[client].send_multipart(encode(wire.Ping(sequence=request)))

            content = msgspec.msgpack.decode(msgspec.msgpack.encode(RECIPE))
            for client in range(2):
                sockets[client].send_multipart(encode(wire.Register(path_id=RECIPE.path_id, recipe=content)))
                assert isinstance(hear(client)[0], wire.Registered)
            restorer.passes.clear()
            restorer.began.clear()
            restorer.gate = threading.Semaphore(0)
            ask(0, 1)
            assert restorer.began.wait(30)
            ask(1, 1)
            ask(0, 2)
            for client, pongs in ((0, 2), (1, 1)):  # what was sent before a ping that is answered has been read
                assert [type(hear(client)[0]) for _ in range(pongs)] == [wire.Pong] * pongs
            restorer.gate.release(10)
            for client, request in ((0, 1), (1, 1), (0, 2)):
                message, payload = hear(client)
                assert isinstance(message, wire.Restored)
                assert (message.request, message.stream) == (request, f"of {client}")
                expected = alone.restore(_samples(10 * client + request), PATH.path_id).estimate.numpy()
                np.testing.assert_allclose(wire.read_images(message, payload)[0], expected, atol=1e-3)
            assert restorer.passes == [1, 2]
        finally:
            restorer.gate.release(10**6)
            for socket in sockets:
                socket.close()
            end.set()
            thread.join(30)
    assert not thread.is_alive()
