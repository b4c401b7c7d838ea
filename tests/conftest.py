"""What every test may rely on: no thread, child process or socket outlives the test that made it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest

pytest_plugins = ["obi_device_fixture"]


@pytest.fixture(autouse=True)
def nothing_outlives_its_test() -> Iterator[None]:
    """A test that leaves a thread of ours or a child process behind fails."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]
    assert not left, f"threads left running: {[t.name for t in left]}"
    children = multiprocessing.active_children()
    assert not children, f"processes left running: {[c.name for c in children]}"
