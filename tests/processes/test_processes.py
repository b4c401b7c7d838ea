"""Children say when they are ready, end when told, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from scancontrol.processes.parent import ChildFailed, ChildProcess

pytestmark = pytest.mark.slow

OBEDIENT = """
    from scancontrol.processes.child import Shutdown, announce
    shutdown = Shutdown(follow_stdin=True)
    announce("obedient", address="tcp://127.0.0.1:1")
    shutdown.wait()
"""
STUBBORN = """
    import signal, time
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    from scancontrol.processes.child import announce
    announce("stubborn")
    while True:
        time.sleep(60)
"""
FAILING = """
    import sys
    print("failing: dwell_us = 0 is not above 0; raise it", file=sys.stderr)
    raise SystemExit(2)
"""
REPORTING = """
    import json, sys
    from scancontrol.processes.child import announce
    announce("reporting")
    for done in range(3):
        print(json.dumps({"done": done}), flush=True)
    print("not JSON")
    if "fail" in sys.argv:
        sys.exit("reporting: the disk is full")
"""
PARENT = """
    import sys, time
    from scancontrol.processes.parent import ChildProcess
    child = ChildProcess("obedient", "obedient")
    child.wait_ready(20)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "obedient": OBEDIENT,
        "stubborn": STUBBORN,
        "failing": FAILING,
        "reporting": REPORTING,
        "parent": PARENT,
    }.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("modules")
def test_a_child_says_where_it_listens_and_ends_cleanly_when_its_input_closes() -> None:
    child = ChildProcess("obedient", "obedient")
    assert child.wait_ready(20)["address"] == "tcp://127.0.0.1:1"
    assert child.stop(2) == 0


@pytest.mark.usefixtures("modules")
def test_a_child_that_ignores_every_request_is_killed_within_the_time_given() -> None:
    child = ChildProcess("stubborn", "stubborn")
    child.wait_ready(20)
    began = time.monotonic()
    assert child.stop(0.5) == -signal.SIGKILL
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("modules")
def test_a_child_that_cannot_start_is_quoted_in_its_own_words() -> None:
    child = ChildProcess("failing", "failing")
    with pytest.raises(ChildFailed, match="dwell_us = 0 is not above 0; raise it"):
        child.wait_ready(20)
    assert child.stop() == 2


@pytest.mark.usefixtures("modules")
def test_a_child_s_reports_are_heard_one_by_one_to_its_end() -> None:
    child = ChildProcess("reporting", "reporting", reports=True)
    ready, *said = child.reports()
    assert ready["ready"] == "reporting"
    assert said == [{"done": 0}, {"done": 1}, {"done": 2}]
    assert child.stop() == 0


@pytest.mark.usefixtures("modules")
def test_a_child_that_fails_after_its_reports_is_quoted() -> None:
    child = ChildProcess("reporting", "reporting", ["fail"], reports=True)
    heard = []
    with pytest.raises(ChildFailed, match=r"^the disk is full$"):
        heard.extend(child.reports())
    assert child.stop() == 1


def test_no_child_outlives_a_parent_that_is_killed(modules: Path) -> None:
    parent = subprocess.Popen([sys.executable, str(modules / "parent.py")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    handle = os.pidfd_open(child_pid)
    try:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        import select

        ended, _, _ = select.select([handle], [], [], 10)
        assert ended, f"process {child_pid} still runs after its parent was killed"
    finally:
        os.close(handle)
        parent.stdout.close()
