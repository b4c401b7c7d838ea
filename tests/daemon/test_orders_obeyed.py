"""Blank and Abort over the real beam thread, acquisition, link and microscope's end, whatever happens between them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from steered_beam import PLANS, SteeredBeam

from scancontrol.daemon import arming
from scancontrol.daemon.describing import DescriptionChange
from scancontrol.daemon.page.messages import Abort, Describe, EmergencyBlank, Pause, Resume, ShowChannel, Start
from scancontrol.recording import RecordingReader, RecordingWriter, record_plan
from scancontrol.wire.transitions import State


@pytest.fixture
def beam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SteeredBeam]:
    steered = SteeredBeam(tmp_path, monkeypatch)
    steered.until(lambda: steered.beam.snapshot.connected)
    yield steered
    steered.end()


def start(beam: SteeredBeam, plan: str = "series") -> None:
    beam.command(Start(plan=plan, number=beam.orders.snapshot.number))


def free(beam: SteeredBeam) -> bool:
    return beam.orders.snapshot.start is None


def test_a_start_is_carried_out_once(beam: SteeredBeam) -> None:
    number = beam.orders.snapshot.number
    for _ in range(3):
        beam.command(Start(plan="survey", number=number))
        beam.turn(60)  # longer than the survey takes
    beam.until(lambda: free(beam))
    beam.turn(50)
    assert len({series for series, _, _ in beam.pair.exposures}) == 1
    assert len(beam.pair.exposures) == 16 * 16


@pytest.mark.parametrize("stop", [EmergencyBlank(), Abort()])
@pytest.mark.parametrize("arming_turns", [0, 40])
@pytest.mark.parametrize("after_turns", [0, 1, 3, 9])
def test_a_stop_while_it_is_armed_or_scanned_ends_it(
    beam: SteeredBeam, stop: Abort | EmergencyBlank, arming_turns: int, after_turns: int
) -> None:
    beam.arming_turns = arming_turns
    start(beam)
    beam.turn(after_turns)
    beam.command(stop)
    beam.until(lambda: free(beam) and beam.orders.snapshot.blank != "asked", turns=20)
    exposed = len(beam.pair.exposures)
    beam.turn(200)
    assert len(beam.pair.exposures) == exposed


@pytest.mark.parametrize("away", ["cut", "stalled", "frozen"])
@pytest.mark.parametrize("turns", [10, 100, 600])
def test_a_blank_that_nobody_heard_is_repeated_until_it_is_and_nothing_goes_on(
    beam: SteeredBeam, away: str, turns: int
) -> None:
    start(beam)
    beam.until(lambda: len(beam.pair.exposures) > 100)
    if away == "frozen":
        beam.pair.frozen = True
    else:
        beam.pair.link = away
    beam.turn(3)
    beam.command(EmergencyBlank())
    beam.turn(turns)
    assert beam.orders.snapshot.blank == "asked", "nobody claims what nobody confirmed"
    beam.pair.lights_sent.clear()
    beam.pair.link, beam.pair.frozen = "up", False
    beam.until(lambda: beam.orders.snapshot.blank == "confirmed", turns=60)
    exposed = len(beam.pair.exposures)
    beam.until(lambda: free(beam))
    beam.turn(300)
    assert len(beam.pair.exposures) == exposed
    assert beam.pair.lights_sent == []
    start(beam, "survey")
    beam.until(lambda: free(beam))
    assert len(beam.pair.exposures) == exposed + 256, "a later Start is obeyed"


def test_why_it_ended_is_one_sentence_on_the_page_and_in_the_recording(beam: SteeredBeam) -> None:
    start(beam)
    beam.until(lambda: len(beam.pair.exposures) > 100)
    beam.command(EmergencyBlank())
    beam.until(lambda: free(beam))
    (run, status), *_ = beam.catching_up
    assert status.explanation == (
        "ended by a blank: the beam was blanked from the page; what was exposed is recorded; Start lifts the hold"
    )
    beam.caught_up()
    with RecordingReader(run.recording.path) as read:
        assert (read.reason, read.why_ended) == ("operator_blank", status.explanation)


def test_a_blank_from_a_terminal_takes_back_what_the_daemon_was_about_to_do(beam: SteeredBeam) -> None:
    beam.arming_turns = 60
    start(beam)
    beam.turn(5)
    beam.blank_from_a_terminal()
    beam.until(lambda: free(beam))
    beam.turn(100)
    assert beam.pair.exposures == []
    assert beam.orders.snapshot.blank == "confirmed"
    start(beam, "survey")
    beam.until(lambda: free(beam))
    assert len(beam.pair.exposures) == 256


def test_a_start_lifts_no_blank_that_came_after_it(beam: SteeredBeam) -> None:
    beam.command(EmergencyBlank())
    beam.until(lambda: beam.beam.snapshot.hold is not None and beam.orders.snapshot.blank == "confirmed")
    start(beam, "survey")
    beam.blank_from_a_terminal()  # reaches the microscope before the start does, and before any heartbeat tells of it
    beam.turn(200)
    assert beam.pair.exposures == []
    assert free(beam)
    start(beam, "survey")
    beam.until(lambda: free(beam))
    assert len(beam.pair.exposures) == 256


def test_what_the_operator_types_is_in_the_next_recording_and_the_dose_counts_for_that_specimen(
    beam: SteeredBeam,
) -> None:
    about = DescriptionChange(specimen="grid-17", stage_um=(1.0, 2.0), operator="E. Ruska", project="P-7", notes="cold")
    start(beam, "survey")
    beam.until(lambda: len(beam.pair.exposures) > 100)
    beam.command(Describe(about=about))
    beam.until(lambda: free(beam))
    beam.turn(5)
    assert beam.dose.ledger.totals.specimen == "grid-17", "its dose is shown before anything is scanned"
    assert beam.dose.ledger.totals.electrons == 0
    start(beam, "survey")
    beam.until(lambda: free(beam))
    (first, _), (second, _) = beam.catching_up
    beam.caught_up()
    with RecordingReader(first.recording.path) as read:
        assert (read.header.specimen, read.header.about.operator) == ("unnamed", "tester")
        spent = read.electrons
    with RecordingReader(second.recording.path) as read:
        assert (read.header.specimen, read.header.stage_nm) == ("grid-17", (1000.0, 2000.0))
        told = read.header.about
        assert (told.operator, told.project, told.notes) == ("E. Ruska", "P-7", "cold")
    assert beam.dose.ledger.totals.electrons == pytest.approx(spent)


def test_what_is_made_before_the_beam_is_lit_is_said_before_it_is_made(
    beam: SteeredBeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []

    def noting(*arguments: Any, **options: Any) -> RecordingWriter:
        said.append(beam.beam.snapshot.arming)
        return record_plan(*arguments, **options)

    monkeypatch.setattr(arming, "record_plan", noting)
    start(beam, "survey")
    beam.until(lambda: free(beam))
    (step,) = said
    assert step is not None
    assert step.startswith("a recording of 1 frames: ")
    assert "for the samples of all detectors" in step
    assert beam.beam.snapshot.arming is None


def test_a_detector_is_chosen_by_name_and_one_that_is_not_recorded_is_refused(beam: SteeredBeam) -> None:
    known = beam.beam.channels
    beam.command(ShowChannel(channel="SE"))
    beam.turn(2)
    assert f"channel = SE is not recorded; choose of {', '.join(known)}" in beam.notices[-1]
    assert beam.shown.among(known) == known[0]
    beam.command(ShowChannel(channel=known[-1]))
    beam.turn(2)
    assert beam.shown.among(known) == known[-1]


def test_a_start_takes_the_beam_while_an_earlier_one_is_caught_up_with(beam: SteeredBeam) -> None:
    start(beam, "survey")
    beam.until(lambda: free(beam))
    assert len(beam.catching_up) == 1
    start(beam, "survey")
    beam.until(lambda: free(beam))
    assert len(beam.catching_up) == 2
    assert len({series for series, _, _ in beam.pair.exposures}) == 2


@pytest.mark.parametrize("turns", [0, 1, 5, 20])
def test_a_hold_that_restarts_of_the_microscope_ended_is_not_claimed_while_it_scans(
    beam: SteeredBeam, turns: int
) -> None:
    beam.blank_from_a_terminal()
    beam.turn(20)
    beam.pair.restart_server()
    beam.turn(turns)
    beam.pair.restart_server()
    beam.turn(20)
    start(beam, "survey")
    for _ in range(200):
        beam.turn()
        assert not (beam.pair.instrument.on and beam.orders.snapshot.blank == "confirmed")
    assert free(beam)


def test_a_scan_whose_paused_frame_the_dead_man_ended_goes_on_when_told_to(beam: SteeredBeam) -> None:
    start(beam)
    beam.until(lambda: len(beam.pair.exposures) > 100)
    beam.command(Pause())
    beam.until(lambda: beam.pair.server._scanner.state is State.PAUSED)
    beam.pair.link = "stalled"
    beam.pair.turn(60)  # the daemon gets no time for longer than the dead man waits
    assert beam.pair.server._scanner.state is State.IDLE
    beam.pair.link = "up"
    beam.turn(20)
    beam.command(Resume(number=beam.orders.snapshot.number))
    beam.until(lambda: free(beam))
    assert len(beam.pair.exposures) == len(set(beam.pair.exposures)) == 4 * 256


@pytest.mark.parametrize("stop", [EmergencyBlank(), Abort()])
def test_the_next_process_does_not_go_on_with_what_was_stopped(beam: SteeredBeam, stop: Abort | EmergencyBlank) -> None:
    start(beam)
    beam.until(lambda: len(beam.pair.exposures) > 100)
    beam.pair.link = "cut"
    beam.command(stop)
    beam.turn(2)
    beam.kill_daemon()
    beam.pair.link = "up"
    exposed = len(beam.pair.exposures)
    beam.pair.turn(60)  # the dead man, and the lease is free
    beam.begin_daemon()
    beam.turn(600)
    assert beam.beam.snapshot.connected
    assert len(beam.pair.exposures) == exposed
    assert free(beam)


def test_without_a_stop_the_next_process_goes_on_where_the_one_before_was_killed(beam: SteeredBeam) -> None:
    start(beam)
    beam.until(lambda: len(beam.pair.exposures) > 100)
    beam.kill_daemon()
    beam.pair.turn(60)  # the dead man
    beam.begin_daemon()
    beam.until(lambda: beam.catching_up)
    assert len(beam.pair.exposures) == len(set(beam.pair.exposures)) == 4 * 256


TURNS = st.sampled_from([0, 1, 3, 6, 20])
STOPS = st.sampled_from([EmergencyBlank(), Abort()])
NAMES = st.sampled_from(sorted(PLANS))


class Steered(RuleBasedStateMachine):
    """Page commands × link states × arming × catching up × resuming × restarts of daemon and microscope.

    After a stop nothing that leads to light is sent, and once it is confirmed no sample is exposed, until a later Start
    is taken. One Start that is taken is at most one series, and no sample is exposed twice. Confirmed is only what the
    microscope did. A Start is taken exactly while no other stands and no Blank is unconfirmed. What is wanted survives
    the process. In the end, with everything well, a stop has ended what ran, and a Start is obeyed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.folder = pytest.MonkeyPatch(), Path(tempfile.mkdtemp())

    @initialize(choice=st.sampled_from(["resume", "resume", "end"]))
    def begin(self, choice: str) -> None:
        self.beam = SteeredBeam(self.folder, self.patch, choice)
        self.starts = 0  # taken
        self.dark_since: int | None = None  # exposures when the last stop was confirmed
        self.stopped = True  # whether a stop, or nothing, was ordered last
        self.last = self.also = ""  # what was ordered last, here and by somebody else
        self.held = False  # whether the microscope was seen to hold the beam since it was last ordered to
        self.blanked = False  # whether a Blank stands in this process
        self.elsewhere = False  # whether it was told to by somebody else, and by nobody since to do otherwise
        self.beam.until(lambda: self.beam.beam.snapshot.connected)
        self.beam.pair.lights_sent.clear()

    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.beam.turn()
            self.check()

    def _well(self, turns: int) -> None:
        self.beam.pair.link, self.beam.pair.frozen = "up", False
        self.turn(turns)

    def _start(self, plan: str, number: int) -> bool:
        """Whether it was taken; nothing but what stood before it says whether it had to be."""
        before = self.beam.orders.snapshot
        due = before.start is None and before.blank != "asked" and number == before.number
        self.beam.command(Start(plan=plan, number=number))
        taken = self.beam.orders.snapshot.number != before.number
        assert taken is due, before
        if taken:
            self.starts += 1
            self.stopped, self.dark_since, self.elsewhere, self.last = False, None, False, "start"
            self.also, self.blanked = "start", False
        return taken

    def _stop(self, stop: Abort | EmergencyBlank) -> None:
        before = self.beam.orders.snapshot
        self.beam.command(stop)
        assert self.beam.orders.snapshot.number == before.number + 1
        self.stopped, self.dark_since = True, None
        self.last = self.also = "abort" if isinstance(stop, Abort) else "blank"
        if isinstance(stop, EmergencyBlank):
            self.blanked, self.held = True, self.holds
        self.beam.pair.lights_sent.clear()

    @property
    def ended(self) -> bool:
        """Whether nothing has the beam and the microscope is there."""
        return free(self.beam) and self.beam.beam.snapshot.connected

    @property
    def holds(self) -> bool:
        """Whether the microscope holds the beam blanked."""
        return self.beam.pair.server._scanner.state is State.HELD

    @precondition(lambda self: self.beam.orders.snapshot.number >= 1)
    @rule(stale=st.integers(1, 3), plan=NAMES, turns=TURNS)
    def start_as_of_an_old_picture(self, stale: int, plan: str, turns: int) -> None:
        self._start(plan, max(0, self.beam.orders.snapshot.number - stale))
        self.turn(turns)

    @rule(plan=NAMES, clicks=st.integers(1, 3), arming=st.sampled_from([0, 5]), turns=TURNS)
    def start(self, plan: str, clicks: int, arming: int, turns: int) -> None:
        self.beam.arming_turns = arming
        number = self.beam.orders.snapshot.number
        for _ in range(clicks):
            self._start(plan, number)
        self.turn(turns)

    @rule(stop=STOPS, turns=TURNS)
    def stop(self, stop: Abort | EmergencyBlank, turns: int) -> None:
        self._stop(stop)
        self.turn(turns)

    @rule(plan=NAMES, arming=st.sampled_from([0, 5]), between=TURNS, stop=STOPS, then=TURNS)
    def start_and_stop(self, plan: str, arming: int, between: int, stop: Abort | EmergencyBlank, then: int) -> None:
        """The stop comes while the start waits, arms, lifts a hold or is scanned."""
        self._well(20)
        self.beam.arming_turns = arming
        self._start(plan, self.beam.orders.snapshot.number)
        self.turn(between)
        self._stop(stop)
        self.turn(then)

    @rule(away=st.sampled_from(["cut", "stalled"]), plan=NAMES, turns=TURNS)
    def start_before_a_blank_is_confirmed(self, away: str, plan: str, turns: int) -> None:
        self.beam.pair.link = away
        self._stop(EmergencyBlank())
        self._start(plan, self.beam.orders.snapshot.number)
        self.turn(turns)

    @rule(between=st.sampled_from([20, 60]), stop=STOPS, away=st.sampled_from(["cut", "stalled"]), dead=TURNS)
    def start_and_a_stop_that_only_the_dead_daemon_knew(
        self, between: int, stop: Abort | EmergencyBlank, away: str, dead: int
    ) -> None:
        self._well(20)
        self._start("series", self.beam.orders.snapshot.number)
        self.turn(between)
        self.beam.pair.link = away
        self._stop(stop)
        self.turn(2)
        self.restart_the_daemon(dead)
        self._well(20)

    @rule()
    def blank_from_a_terminal(self) -> None:
        self.beam.blank_from_a_terminal()
        self.also = "blank"
        self.elsewhere = self.beam.pair.link == "up" and not self.beam.pair.frozen
        self.turn(1)

    @rule(back=st.integers(0, 2), resume=st.booleans())
    def pause_or_resume(self, back: int, resume: bool) -> None:
        number = max(0, self.beam.orders.snapshot.number - back)
        self.beam.command(Resume(number=number) if resume else Pause())

    @rule(state=st.sampled_from(["up", "cut", "stalled"]), turns=TURNS)
    def link(self, state: str, turns: int) -> None:
        self.beam.pair.link = state
        self.turn(turns)

    @rule(frozen=st.booleans(), turns=TURNS)
    def freeze(self, frozen: bool, turns: int) -> None:
        self.beam.pair.frozen = frozen
        self.turn(turns)

    @rule(turns=TURNS)
    def restart_the_microscope(self, turns: int) -> None:
        self.beam.pair.frozen = self.elsewhere = False
        self.beam.pair.restart_server()
        self.turn(turns)

    @rule(away=st.sampled_from([0, 20, 100]))
    def restart_the_daemon(self, away: int) -> None:
        self.turn(1)
        self.blanked = False
        self.beam.kill_daemon()
        for _ in range(away):
            self.beam.pair.turn()
        self.beam.begin_daemon()
        kept = self.beam.file.last  # a daemon that finds the beam held counts that as a blank, too
        assert kept in (self.last, self.also) or (kept, self.last) == ("blank", "abort")

    @precondition(lambda self: self.beam.catching_up)
    @rule()
    def catch_up(self) -> None:
        self.beam.caught_up()

    @rule(turns=st.sampled_from([40, 300]))
    def everything_is_well_for_a_while(self, turns: int) -> None:
        self._well(turns)
        told = self.beam.orders.snapshot
        if self.beam.beam.snapshot.connected and turns == 300:
            assert (told.blank == "confirmed") is self.holds
            assert self.holds or not self.elsewhere

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "beam"):
            return
        pair, told = self.beam.pair, self.beam.orders.snapshot
        exposures = pair.exposures
        self.held = self.held or self.holds
        if told.blank == "confirmed":
            assert self.held, "nobody claims what the microscope did not do"
        assert told.blank != "off" or not self.blanked, "only a later Start lifts a Blank"
        if pair.instrument.on:
            assert told.start is not None, "Abort is there while the beam is on"
        if self.stopped:
            assert pair.lights_sent == [], "nothing ordered before a stop outlives it"
            confirmed = told.start is None and told.blank != "asked" and pair.link == "up" and not pair.frozen
            if confirmed and self.dark_since is None and not pair.instrument.on:
                self.dark_since = len(exposures)
        if told.blank == "confirmed" and self.stopped:
            assert not pair.instrument.on
        if self.dark_since is not None:
            assert len(exposures) == self.dark_since, "dark until a later Start"
        assert len({series for series, _, _ in exposures}) <= self.starts, "one Start, one acquisition"

    def teardown(self) -> None:
        if hasattr(self, "beam"):
            pair = self.beam.pair
            try:
                self._well(0)
                self.beam.until(lambda: self.beam.baton.left or not self.stopped or self.ended, turns=5000)
                if self.beam.baton.left:  # its first connection was refused: the lease of the one before was not free
                    self.restart_the_daemon(100)
                if self.stopped:
                    self.beam.until(lambda: self.ended, turns=5000)
            finally:
                self.beam.end()
            assert not pair.instrument.on
            assert len(set(pair.exposures)) == len(pair.exposures), "an electron spent is never spent twice"
        self.patch.undo()
        shutil.rmtree(self.folder, ignore_errors=True)


Steered.TestCase.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSteered = pytest.mark.slow(Steered.TestCase)
