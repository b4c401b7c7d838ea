"""What an operator asks of the beam is done where the table has the step, and refused by name where it must not be."""

from __future__ import annotations

import pytest
from wire_pair import CAPABILITIES, recipe

from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput, LocalProtocolError
from scancontrol.paths import ScanPath
from scancontrol.wire import messages as m
from scancontrol.wire.beam_requests import BeamRequest, carry_out
from scancontrol.wire.registry import PathRegistry
from scancontrol.wire.retention import Retention
from scancontrol.wire.scanner import Scanner
from scancontrol.wire.transitions import Event, State

PATH = ScanPath(recipe())


class Desk:
    """A scanner whose instrument has just been drained, and one path that it knows."""

    def __init__(self, dose_limits: DoseLimits | None = None) -> None:
        self.paths = PathRegistry(4)
        self.paths.add(PATH, frozenset())
        guard = DoseGuard(dose_limits or DoseLimits(), CAPABILITIES)
        self.scanner = Scanner(m.Limits(), ("HAADF",), guard, Retention(1 << 20, 8))
        self.scanner.actions()
        self.scanner.blanked(0)

    def ask(self, message: BeamRequest, queued_scans: int = 2) -> m.Refused | None:
        return carry_out(message, "ada", self.scanner, self.paths, queued_scans, 0)


def scan(frame: int = 0, path_id: str = PATH.path_id, request: int = 1) -> m.Scan:
    return m.Scan(request=request, series_id=1, series_unique_id="s", frame=frame, path_id=path_id)


def code(refused: m.Refused | None) -> str:
    return "" if refused is None else refused.code


def test_a_scan_of_a_known_path_is_taken() -> None:
    desk = Desk()
    assert desk.ask(scan()) is None
    assert [one.request.frame for one in desk.scanner.open_scans] == [0]


def test_a_scan_of_an_unknown_path_is_refused_and_nothing_waits() -> None:
    desk = Desk()
    assert code(desk.ask(scan(path_id="f" * 32))) == "unknown_path"
    assert desk.scanner.open_scans == []


def test_a_frame_that_is_open_is_not_taken_twice() -> None:
    desk = Desk()
    desk.ask(scan())
    refused = desk.ask(scan(request=2))
    assert (code(refused), refused and refused.request) == ("not_now", 2)
    assert len(desk.scanner.open_scans) == 1


def test_no_more_scans_wait_than_may() -> None:
    desk = Desk()
    frame = 0
    while (refused := desk.ask(scan(frame), queued_scans=3)) is None:
        frame += 1
        assert frame < 10
    assert code(refused) == "queue_full"
    assert len(desk.scanner.queue) == 3


def test_a_scan_above_a_dose_limit_is_an_error_of_its_quantity() -> None:
    desk = Desk(DoseLimits(session_electrons=1.0))
    with pytest.raises(InvalidInput, match="electrons"):
        desk.ask(scan())
    assert desk.scanner.open_scans == []


@pytest.mark.parametrize("message", [scan(), m.Pause(request=1), m.Resume(request=1)])
def test_while_the_beam_is_held_nothing_that_leads_to_light_is_done(message: BeamRequest) -> None:
    desk = Desk()
    desk.ask(m.SetBlanker(request=9, state="blank"))
    assert code(desk.ask(message)) == "beam_held"
    assert desk.scanner.state is State.HELD


def test_a_hold_is_released_by_whoever_has_seen_the_last_blank_and_by_nobody_else() -> None:
    desk = Desk()
    desk.ask(m.SetBlanker(request=1, state="blank"))
    seen = desk.scanner.blanks
    desk.ask(m.SetBlanker(request=2, state="blank"))
    assert code(desk.ask(m.SetBlanker(request=3, state="auto", hold=seen))) == "beam_held"
    assert desk.scanner.state is State.HELD
    assert desk.ask(m.SetBlanker(request=4, state="auto", hold=desk.scanner.blanks)) is None
    assert desk.scanner.state is not State.HELD


def test_the_beam_is_never_on_while_nothing_is_collected() -> None:
    desk = Desk()
    assert code(desk.ask(m.SetBlanker(request=1, state="unblank"))) == "not_now"
    assert not desk.scanner.beam_on


def test_after_the_end_every_step_is_an_error_of_the_table() -> None:
    desk = Desk()
    desk.scanner.step(Event.SHUTDOWN, "the server ends", 0)
    for message in (m.Pause(request=1), m.Resume(request=2), scan(request=3)):
        with pytest.raises(LocalProtocolError):
            desk.ask(message)
    assert desk.scanner.open_scans == []


def test_an_abort_ends_every_scan_that_waits() -> None:
    desk = Desk()
    desk.ask(scan(0))
    desk.ask(scan(1))
    assert desk.ask(m.Abort(request=3, reason="enough")) is None
    for _ in range(4):
        desk.scanner.actions()
        desk.scanner.blanked(0)
        desk.scanner.advance(0)
    assert desk.scanner.open_scans == []
