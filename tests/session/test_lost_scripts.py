"""A script that dies, hangs or raises leaves the beam blanked and its recording closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from session_tools import until

from scancontrol import Spiral
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.recording import RecordingReader
from scancontrol.session import Session

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from scancontrol import Spiral, connect
with connect(sys.argv[1], operator="Ada", within_s={within_s}, patience_s={patience_s}) as session:
    number = session.start(Spiral(coverage=1 / 4), fov_nm=20, dwell_us=200, shape=(64, 64), frames=1_000)
    session.begun()
    print(number, flush=True)
    {then}
"""
LONG_S = 30.0  # that a script gets no time for so long is no part of any test here
WAITS = SCRIPT.format(within_s=LONG_S, patience_s=LONG_S, then="session.wait()")
WAITS_AND_IS_SOON_MISSED = SCRIPT.format(within_s=1.0, patience_s=LONG_S, then="session.wait()")
HANGS = SCRIPT.format(within_s=1.0, patience_s=1.0, then="while True: pass")
RAISES = SCRIPT.format(
    within_s=LONG_S, patience_s=LONG_S, then="sys.stdin.readline(); raise ValueError('no such feature')"
)
NAMES = {WAITS: "waits", WAITS_AND_IS_SOON_MISSED: "waits", HANGS: "hangs", RAISES: "raises"}


@dataclass
class Begun:
    """A script that has begun a scan of minutes, and the number of its order."""

    process: subprocess.Popen[str]
    number: int


@pytest.fixture
def begun(dry_run: Path, request: pytest.FixtureRequest) -> Iterator[Begun]:
    command = [sys.executable, "-c", request.param, str(dry_run)]
    script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdout is not None
    yield Begun(script, int(script.stdout.readline()))
    if script.poll() is None:
        script.kill()
    script.communicate(timeout=10)


def ended(observer: Session, folder: Path, number: int) -> tuple[str, str]:
    """Wait until the beam is off and the recording closed; the finish reason, and what is said of it."""

    def off(status: Snapshot) -> bool:
        microscope = status.microscope.status
        return status.orders.standing is None and microscope is not None and not microscope.beam_on

    status = until(observer, lambda status: status.scan_order == number and status.scan.phase.value == "ended")
    until(observer, off)

    def closed(_: Snapshot) -> bool:
        with RecordingReader(folder / str(status.scan.recording)) as recording:
            return recording.closed

    until(observer, closed)
    until(observer, lambda status: status.claimed_by is None)
    return str(status.scan.finish_reason), status.scan.explanation


def scanning(observer: Session, number: int) -> None:
    until(observer, lambda status: status.scan_order == number and status.scan.phase.value == "scanning")


@pytest.mark.parametrize("begun", [WAITS], indirect=True, ids=NAMES.get)
def test_a_script_that_is_killed_takes_its_scan_with_it(observer: Session, begun: Begun, dry_run: Path) -> None:
    scanning(observer, begun.number)
    os.kill(begun.process.pid, signal.SIGKILL)
    assert ended(observer, dry_run, begun.number) == (
        "aborted",
        "ended by the operator: the script of Ada has ended; what was exposed is recorded; start again when ready",
    )


@pytest.mark.parametrize("begun", [WAITS_AND_IS_SOON_MISSED], indirect=True, ids=NAMES.get)
def test_a_script_that_is_stopped_is_given_up_and_does_not_start_anew_when_it_wakes(
    observer: Session, begun: Begun, dry_run: Path
) -> None:
    os.kill(begun.process.pid, signal.SIGSTOP)
    reason, said = ended(observer, dry_run, begun.number)
    assert (reason, "was not heard for 1 s" in said) == ("aborted", True)
    os.kill(begun.process.pid, signal.SIGCONT)
    _, errors = begun.process.communicate(timeout=20)
    assert "ScanEnded" in errors
    assert observer.status.orders.standing is None


@pytest.mark.parametrize("begun", [HANGS], indirect=True, ids=NAMES.get)
def test_a_script_that_computes_for_ever_counts_as_hung(observer: Session, begun: Begun, dry_run: Path) -> None:
    reason, said = ended(observer, dry_run, begun.number)
    assert (reason, "was not heard" in said) == ("aborted", True)


@pytest.mark.parametrize("begun", [RAISES], indirect=True, ids=NAMES.get)
def test_a_script_that_raises_says_so_in_its_recording(observer: Session, begun: Begun, dry_run: Path) -> None:
    scanning(observer, begun.number)
    begun.process.communicate("\n", timeout=20)
    reason, said = ended(observer, dry_run, begun.number)
    assert (reason, "the script of Ada failed: ValueError: no such feature" in said) == ("aborted", True)


def test_a_session_that_ends_in_order_ends_what_it_started_and_nothing_else(
    session: Session, observer: Session, dry_run: Path
) -> None:
    number = session.start(Spiral(coverage=1 / 4), fov_nm=20, dwell_us=200, shape=(64, 64), frames=1_000)
    scanning(observer, number)
    session.close()
    assert ended(observer, dry_run, number)[0] == "aborted"


def test_a_scan_that_nobody_owns_goes_on_without_its_script(session: Session, observer: Session) -> None:
    number = session.start(Spiral(coverage=1 / 4), owned=False, fov_nm=20, dwell_us=200, shape=(64, 64), frames=1_000)
    scanning(observer, number)
    session.close()
    before = observer.status.scan.frames_completed
    status = until(observer, lambda status: status.scan.frames_completed > before + 1)
    assert (status.scan_order, status.scan.phase.value) == (number, "scanning")
