"""A script that dies, hangs or raises leaves the beam blanked and its recording closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scancontrol import Spiral
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.recording import RecordingReader
from scancontrol.session import Session

pytestmark = pytest.mark.slow

SCRIPT = """
import sys, time
from scancontrol import Spiral, connect
with connect(sys.argv[1], operator="Ada", within_s=1.0, patience_s=1.0) as session:
    session.start(Spiral(coverage=1 / 4), fov_nm=20, dwell_us=40, shape=(64, 64), frames=100_000)
    print("started", flush=True)
    {then}
"""
WAITS = "session.wait()"
HANGS = "while True: pass"
RAISES = "sys.stdin.readline(); raise ValueError('no such feature')"


@pytest.fixture
def begun(dry_run: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A script that has started a scan of hours."""
    command = [sys.executable, "-c", SCRIPT.format(then=request.param), str(dry_run)]
    script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdout is not None
    assert script.stdout.readline() == "started\n"
    yield script
    if script.poll() is None:
        script.kill()
    script.communicate(timeout=10)


def ended(observer: Session, folder: Path) -> tuple[str, str]:
    """Wait until the beam is off and the recording closed; the finish reason, and what is said of it."""
    connection = observer._session._connection

    def off(status: Snapshot) -> bool:
        microscope = status.microscope.status
        return status.orders.standing is None and microscope is not None and not microscope.beam_on

    status = observer._thread.call(connection.until(lambda status: status.scan.phase.value == "ended", 20))
    status = observer._thread.call(connection.until(off, 10))

    def closed(_: Snapshot) -> bool:
        with RecordingReader(folder / str(status.scan.recording)) as recording:
            return recording.closed

    observer._thread.call(connection.until(closed, 20))
    observer._thread.call(connection.until(lambda status: status.claimed_by is None, 5))
    return str(status.scan.finish_reason), status.scan.explanation


def scanning(observer: Session) -> None:
    connection = observer._session._connection
    observer._thread.call(connection.until(lambda status: status.scan.phase.value == "scanning", 20))


@pytest.mark.parametrize("begun", [WAITS], indirect=True)
def test_a_script_that_is_killed_takes_its_scan_with_it(
    observer: Session, begun: subprocess.Popen[str], dry_run: Path
) -> None:
    scanning(observer)
    os.kill(begun.pid, signal.SIGKILL)
    assert ended(observer, dry_run) == (
        "aborted",
        "ended by the operator: the script of Ada has ended; what was exposed is recorded; start again when ready",
    )


@pytest.mark.parametrize("begun", [WAITS], indirect=True)
def test_a_script_that_is_stopped_is_given_up_and_does_not_start_anew_when_it_wakes(
    observer: Session, begun: subprocess.Popen[str], dry_run: Path
) -> None:
    scanning(observer)
    os.kill(begun.pid, signal.SIGSTOP)
    reason, said = ended(observer, dry_run)
    assert (reason, "was not heard for 1 s" in said) == ("aborted", True)
    os.kill(begun.pid, signal.SIGCONT)
    _, errors = begun.communicate(timeout=20)
    assert "ScanEnded" in errors
    assert observer.status.orders.standing is None


@pytest.mark.parametrize("begun", [HANGS], indirect=True)
def test_a_script_that_computes_for_ever_counts_as_hung(
    observer: Session, begun: subprocess.Popen[str], dry_run: Path
) -> None:
    scanning(observer)
    reason, said = ended(observer, dry_run)
    assert (reason, "was not heard" in said) == ("aborted", True)


@pytest.mark.parametrize("begun", [RAISES], indirect=True)
def test_a_script_that_raises_says_so_in_its_recording(
    observer: Session, begun: subprocess.Popen[str], dry_run: Path
) -> None:
    scanning(observer)
    begun.communicate("\n", timeout=20)
    reason, said = ended(observer, dry_run)
    assert (reason, "the script of Ada failed: ValueError: no such feature" in said) == ("aborted", True)


def test_a_session_that_ends_in_order_ends_what_it_started_and_nothing_else(
    session: Session, observer: Session, dry_run: Path
) -> None:
    session.start(Spiral(coverage=1 / 4), fov_nm=20, dwell_us=40, shape=(64, 64), frames=100_000)
    scanning(observer)
    session.close()
    assert ended(observer, dry_run)[0] == "aborted"


def test_a_scan_that_nobody_owns_goes_on_without_its_script(session: Session, observer: Session) -> None:
    session.start(Spiral(coverage=1 / 4), owned=False, fov_nm=20, dwell_us=40, shape=(64, 64), frames=100_000)
    scanning(observer)
    session.close()
    connection = observer._session._connection
    before = observer.status.scan.frames_completed
    observer._thread.call(connection.until(lambda status: status.scan.frames_completed > before + 1, 20))
    assert observer.status.scan.phase.value == "scanning"
