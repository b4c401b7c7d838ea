"""What every test may rely on: no thread, child process or socket outlives the test that made it.

And their order: rooms whose tests may take longest come first, so that processes that share the files end together.
A room whose tests share a browser or a dry run is taken by one process, which ends that with the room.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["obi_device_fixture"]


ROOT = Path(__file__).parent
TAKEN_WHOLE = ("tests/session/", "tests/daemon/page/")


def _room(item: pytest.Item) -> Path:
    """The folder of a test; of those in no folder, their file."""
    return item.path if item.path.parent == ROOT else item.path.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the rooms by the longest time that one of their tests may take; within a room the order stays."""
    longest_s: dict[Path, float] = {}
    for item in items:
        timeout, slow = item.get_closest_marker("timeout"), item.get_closest_marker("slow")
        may_take_s = float(timeout.args[0]) if timeout is not None else float(slow is not None)
        longest_s[_room(item)] = max(may_take_s, longest_s.get(_room(item), 0.0))
    items.sort(key=lambda item: -longest_s[_room(item)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of ``--dist loadfile``: whoever takes a file of a room that is taken whole takes the others, too."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrRoom(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((room for room in TAKEN_WHOLE if nodeid.startswith(room)), super()._split_scope(nodeid))

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
