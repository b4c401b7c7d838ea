"""A restorer that is kept alive, for real: started, killed with SIGKILL, started again, ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stalls import Stopwatch

from scancontrol.errors import LinkError, LocalProtocolError
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand, solve
from scancontrol.restorer import MissedFrame, RestoredFrame, RestorerProcess, RestorerStatus, restorer_arguments

pytestmark = pytest.mark.slow

RECIPE = solve(
    PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.3)), shape=(64, 64), fov_nm=64.0, dwell_us=1.0)
)
SAMPLES = np.arange(expand(RECIPE).count).astype("<u2")
ONE_THREAD = restorer_arguments(method="push_pull", device="cpu", threads=1)


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
        with Stopwatch() as watch:
            for frame in range(1, 6):
                restorer.restore(frame, path_id, SAMPLES)
            restorer.restore(100, path_id, SAMPLES, stream="stored", read_again=lambda: SAMPLES)
            assert watch.s < 0.5
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
    with Stopwatch() as watch:
        restorer.stop()
        assert watch.s < 2.5
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
