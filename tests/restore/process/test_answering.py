"""Two restorers' processes behind one address; one is killed, one is frozen: real processes and sockets."""

from __future__ import annotations

import os
import signal

import msgspec
import numpy as np
import pytest
import zmq

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.processes.parent import ChildProcess
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

pytestmark = pytest.mark.slow

RECIPE = solve(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=64.0, dwell_us=1.0)
)
PATH = expand(RECIPE)
SAMPLES = np.arange(PATH.count).astype("<u2")


def test_frames_go_on_when_one_of_two_is_killed_and_the_other_then_frozen() -> None:
    child = ChildProcess(
        "restorer", "restore.serve", ["--device", "cpu,cpu", "--method", "push_pull", "--threads", "2"]
    )
    try:
        facts = child.wait_ready(120)
        assert facts["device"] == "cpu,cpu"
        first, second = facts["processes"]
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.rcvtimeo = 60_000
            socket.connect(facts["address"])
            socket.send_multipart(encode(wire.Hello(version=wire.VERSION, software="t")))
            content = msgspec.msgpack.decode(msgspec.msgpack.encode(RECIPE))
            socket.send_multipart(encode(wire.Register(path_id=RECIPE.path_id, recipe=content)))

            def hear(kind: type) -> tuple[object, object]:
                while True:
                    message, payload = wire.FROM_RESTORER.decode(socket.recv_multipart())
                    if isinstance(message, kind):
                        return message, payload

            def ask(stream: str, request: int) -> None:
                header = wire.Restore(
                    request=request, stream=stream, frame=request, path_id=RECIPE.path_id, count=PATH.count, dtype="<u2"
                )
                socket.send_multipart(encode(header, SAMPLES.tobytes()))

            def pictures(*asked: tuple[str, int]) -> None:
                """Asked for at once, they come in the order of their streams."""
                for stream, request in asked:
                    ask(stream, request)
                told: dict[str, list[int]] = {"one": [], "two": []}
                for _ in asked:
                    message, payload = hear(wire.Restored)
                    told[message.stream].append(message.request)  # type: ignore[attr-defined]
                    np.testing.assert_array_equal(wire.read_images(message, payload)[0], expected)  # type: ignore[arg-type]
                for stream, requests in told.items():
                    assert requests == [request for of, request in asked if of == stream]

            hear(wire.Registered)
            engine = Engine(FillRestorer("push_pull"))
            engine.register(PATH)
            expected = engine.restore(SAMPLES, RECIPE.path_id).estimate.numpy()
            pictures(("one", 0), ("two", 1), ("one", 2), ("one", 3))
            os.kill(first, signal.SIGKILL)
            pictures(("one", 10), ("two", 11), ("one", 12))
            os.kill(second, signal.SIGSTOP)
            pictures(("one", 20), ("two", 21), ("two", 22))
    finally:
        assert child.stop(10) == 0


def test_a_device_that_is_not_there_is_one_message() -> None:
    child = ChildProcess("restorer", "restore.serve", ["--device", "cpu,cuda:99", "--method", "push_pull"])
    with pytest.raises(Exception, match="cuda:99"):
        child.wait_ready(120)
    child.stop(5)
