"""Blank, Abort and Start given at the worst moments to real processes: the second table of ``make chaos``.

After a stop is confirmed (the microscope holds the beam, or what Abort ended has ended) no sample may be exposed,
whatever comes back, is mended or begun again, until a later Start. One Start is one recording. Both are read off what
the simulator itself noted as exposed, and off the folder of the recordings.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.chaos.processes import ROOT
from benchmarks.chaos.rig import Rig
from simulators.side_files.exposure_log import read_log, tally

__all__ = ["ORDERS", "run_orders"]

_DARK_S = 1.5  # how long it is watched that nothing is exposed
_CONFIRM_S = 30.0
_SETTLED_NS = 200_000_000  # by then a page shows what it was sent, and what that led to


def blank_while_scanning(rig: Rig) -> None:
    """Nothing else happens."""
    _start(rig)
    rig.browser.send(type="emergency_blank")


def blank_unheard_by_a_frozen_microscope(rig: Rig) -> None:
    """The microscope's server stands still for 3 s."""
    _start(rig)
    rig.microscope.signal(signal.SIGSTOP)
    rig.browser.send(type="emergency_blank")
    time.sleep(3.0)
    _says_unconfirmed(rig)
    rig.microscope.signal(signal.SIGCONT)


def blank_over_a_cut_link(rig: Rig) -> None:
    """No connection is accepted for 2 s."""
    _start(rig)
    rig.relay.cut()
    rig.browser.send(type="emergency_blank")
    time.sleep(2.0)
    _says_unconfirmed(rig)
    rig.relay.mend()


def blank_over_a_stalled_link(rig: Rig) -> None:
    """Nothing passes for 1 s, and everything then."""
    _start(rig)
    rig.relay.stall()
    rig.browser.send(type="emergency_blank")
    time.sleep(1.0)
    rig.relay.mend()


def blank_while_the_microscope_is_away(rig: Rig) -> None:
    """Its server is killed, and another comes 4 s later, to a daemon that resumes what it can."""
    _start(rig)
    rig.microscope.kill()
    rig.browser.send(type="emergency_blank")
    time.sleep(4.0)
    rig.start_microscope(rig.microscope.own_address)


def blank_then_the_daemon_is_killed(rig: Rig) -> None:
    """The next one is told to resume what was interrupted."""
    _start(rig)
    rig.relay.cut()
    rig.browser.send(type="emergency_blank")
    time.sleep(0.4)
    _restart_daemon(rig)


def abort_then_the_daemon_is_killed(rig: Rig) -> None:
    """The same after an Abort."""
    _start(rig)
    rig.relay.cut()
    rig.browser.send(type="abort")
    time.sleep(0.4)
    _restart_daemon(rig)


def blank_while_arming(rig: Rig) -> None:
    """Start, and Blank before the beam is on."""
    rig.browser.send(type="start", plan="chaos", number=rig.browser.number)
    time.sleep(rig.seconds(0.0, 0.05))
    rig.browser.send(type="emergency_blank")


def abort_while_arming(rig: Rig) -> None:
    """Start, and Abort before the beam is on."""
    rig.browser.send(type="start", plan="chaos", number=rig.browser.number)
    time.sleep(rig.seconds(0.0, 0.05))
    rig.browser.send(type="abort")


def abort_of_a_recording_that_waits_for_its_disk(rig: Rig) -> None:
    """The disk is full, the recording waits, Abort ends it, the disk is well again."""
    _start(rig)
    rig.daemon.disk("full")
    time.sleep(1.5)
    rig.browser.send(type="abort")
    time.sleep(0.3)
    rig.daemon.disk("well")


def blank_from_a_terminal_while_the_daemon_is_frozen(rig: Rig) -> None:
    """``scancontrol blank`` needs no daemon; the daemon goes on afterwards and must not go on scanning."""
    _start(rig)
    rig.daemon.signal(signal.SIGSTOP)
    _terminal(rig)
    rig.daemon.signal(signal.SIGCONT)


def blank_from_a_terminal_while_arming(rig: Rig) -> None:
    """The daemon learns of it only from the microscope."""
    rig.browser.send(type="start", plan="chaos", number=rig.browser.number)
    _terminal(rig)


def two_clicks_on_start_and_a_blank(rig: Rig) -> None:
    """Both clicks on the same picture."""
    number = rig.browser.number
    for _ in range(2):
        rig.browser.send(type="start", plan="chaos", number=number)
        time.sleep(0.04)
    _await_beam(rig, rig.log.stat().st_size)
    rig.browser.send(type="emergency_blank")


ORDERS: dict[str, Callable[[Rig], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        blank_while_scanning,
        blank_unheard_by_a_frozen_microscope,
        blank_over_a_cut_link,
        blank_over_a_stalled_link,
        blank_while_the_microscope_is_away,
        blank_then_the_daemon_is_killed,
        abort_then_the_daemon_is_killed,
        blank_while_arming,
        abort_while_arming,
        abort_of_a_recording_that_waits_for_its_disk,
        blank_from_a_terminal_while_the_daemon_is_frozen,
        blank_from_a_terminal_while_arming,
        two_clicks_on_start_and_a_blank,
    )
}


@dataclass(frozen=True)
class Outcome:
    """What came of one order."""

    confirmed_s: float | None  # from when it could be heard again to its confirmation; None: it never was
    exposed_after: int  # samples, once it was confirmed
    second_starts: int  # recordings beyond the one that was started


def _give(rig: Rig, order: Callable[[Rig], None]) -> Outcome:
    before = set(rig.out.glob("*.hspy"))
    order(rig)
    heard, heard_utc_ns = time.monotonic(), time.time_ns()
    deadline = heard + _CONFIRM_S
    while not (rig.browser.status.get("utc_ns", 0) > heard_utc_ns + _SETTLED_NS and _stopped(rig)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    confirmed = time.monotonic()
    offset = rig.log.stat().st_size
    time.sleep(_DARK_S)
    exposed = sum(tally(read_log(rig.log, offset)[0]).values())
    fresh = set(rig.out.glob("*.hspy")) - before
    return Outcome(confirmed - heard if confirmed < deadline else None, exposed, max(0, len(fresh) - 1))


def run_orders(rig: Rig, rounds: int, names: Iterable[str] = tuple(ORDERS)) -> list[dict[str, Any]]:
    """Every order so often, on one rig; a row for each."""
    rows = []
    for name in names:
        order = ORDERS[name]
        outcomes, problems = [], []
        for _ in range(rounds):
            try:
                outcomes.append(_give(rig, order))
                _make_ready(rig)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                problems.append(f"{type(error).__name__}: {error}")
                rig.begin_anew()
        late = [outcome.confirmed_s for outcome in outcomes if outcome.confirmed_s is not None]
        rows.append(
            {
                "order": name,
                "given": len(outcomes),
                "not_confirmed": len(outcomes) - len(late),
                "confirmed_max_s": round(max(late), 3) if late else None,
                "exposed_after": sum(outcome.exposed_after for outcome in outcomes),
                "second_starts": sum(outcome.second_starts for outcome in outcomes),
                "problems": problems,
            }
        )
    return rows


def _start(rig: Rig) -> None:
    size = rig.log.stat().st_size
    rig.browser.send(type="start", plan="chaos", number=rig.browser.number)
    _await_beam(rig, size)
    time.sleep(rig.seconds(0.05, 0.4))


def _await_beam(rig: Rig, size: int) -> None:
    deadline = time.monotonic() + 60
    while rig.log.stat().st_size == size:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no scan begins: {rig.browser.notices[-3:]} {rig.daemon.lines[-3:]}")
        time.sleep(0.005)


def _restart_daemon(rig: Rig) -> None:
    rig.daemon.kill()
    rig.browser.close()
    rig.relay.mend()
    rig.start_daemon()


def _terminal(rig: Rig) -> None:
    command = [sys.executable, "-m", "scancontrol", "blank", "--microscope", rig.microscope.own_address]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)


def _says_unconfirmed(rig: Rig) -> None:
    if rig.browser.status["orders"]["blank"] != "asked":
        raise RuntimeError(f"the page claims {rig.browser.status['orders']} of what nobody heard")


def _stopped(rig: Rig) -> bool:
    """Whether the page says that the stop was confirmed and nothing has the beam."""
    orders = rig.browser.status.get("orders", {})
    return orders.get("start") is None and orders.get("blank") != "asked" and bool(rig.browser.connected)


def _make_ready(rig: Rig) -> None:
    """All is well again, and nothing runs."""
    deadline = time.monotonic() + 60
    while not _stopped(rig):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready: {rig.browser.status.get('orders')} {rig.daemon.lines[-3:]}")
        time.sleep(0.02)
