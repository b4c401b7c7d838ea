"""What every test may rely on: no thread, child process or socket outlives the test that made it.

And their order: files that take longest come first, so that processes that share the files end together.
A room whose tests share a browser or a dry run is taken by one process, which ends that with the room.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest_plugins = ["obi_device_fixture"]


TAKEN_WHOLE = ("tests/session/", "tests/daemon/page/")

TAKES_S = {
    "tests/test_wheel.py": 100,
    "tests/daemon/page/": 90,
    "tests/session/": 70,
    "tests/test_notebooks.py": 60,
    "tests/daemon/test_demo.py": 60,
    "tests/restore/generator/test_weights.py": 40,
    "tests/chaos/test_chaos_short.py": 40,
    "tests/restore/training/test_loop.py": 35,
    "tests/restore/training/test_processes.py": 35,
    "tests/chaos/test_chaos_resume.py": 30,
    "tests/restore/test_many.py": 25,
    "tests/benchmarks/test_gpu.py": 25,
    "tests/recording/test_restore.py": 25,
    "tests/calibration/test_estimate.py": 25,
    "tests/simulators/test_daemon_faults.py": 25,
    "tests/restore/experiments/test_main.py": 20,
    "tests/restore/test_evaluate.py": 20,
    "tests/restore/fills/test_more_samples.py": 20,
    "tests/restore/process/test_answering.py": 20,
    "tests/daemon/test_terminal_lost.py": 15,
    "tests/daemon/test_interrupted.py": 15,
    "tests/daemon/test_orders_obeyed.py": 10,
    "tests/restore/experiments/test_runs.py": 10,
    "tests/restore/estimate/lattice/test_crystal.py": 10,
}
"""Roughly, of files and whole rooms that take long: whoever begins with these ends with the small ones."""


def _unit(nodeid: str) -> str:
    """What one process takes as a whole: a room of :data:`TAKEN_WHOLE`, or a file."""
    return next((room for room in TAKEN_WHOLE if nodeid.startswith(room)), nodeid.partition("::")[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files by how long they take, and those that take little by whether a test of theirs is slow."""
    slow = {_unit(item.nodeid) for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: -TAKES_S.get(unit := _unit(item.nodeid), float(unit in slow)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of ``--dist loadfile``: whoever takes a file of a room that is taken whole takes the others, too."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrRoom(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

    return ByFileOrRoom(config, log)


@pytest.fixture(autouse=True)
def nothing_outlives_its_test() -> Iterator[None]:
    """A test that leaves a thread of ours or a child process behind fails."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]
    assert not left, f"threads left running: {[t.name for t in left]}"
    children = multiprocessing.active_children()
    assert not children, f"processes left running: {[c.name for c in children]}"
