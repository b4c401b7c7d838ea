"""What every test may rely on: no thread, child process or socket outlives the test that made it.

And their order: rooms whose tests may take longest come first, so that processes that share the files end together.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["obi_device_fixture"]


ROOT = Path(__file__).parent


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


@pytest.fixture(autouse=True)
def nothing_outlives_its_test() -> Iterator[None]:
    """A test that leaves a thread of ours or a child process behind fails."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]
    assert not left, f"threads left running: {[t.name for t in left]}"
    children = multiprocessing.active_children()
    assert not children, f"processes left running: {[c.name for c in children]}"
