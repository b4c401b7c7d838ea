"""What the two tables promise, read off the tables themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scancontrol.wire.transitions import CLIENT, MICROSCOPE, ClientEvent, ClientState, Event, State

HOUSE = Path(__file__).parents[2]


def test_the_beam_is_on_in_one_state_alone():
    begins = {
        (state, event) for state, steps in MICROSCOPE.items() for event, step in steps.items() if step.beam == "begin"
    }
    assert begins == {(State.WAITING, Event.GO), (State.SCANNING, Event.NEXT)}
    assert {MICROSCOPE[state][event].to for state, event in begins} == {State.SCANNING}


def test_every_step_out_of_scanning_blanks():
    for event, step in MICROSCOPE[State.SCANNING].items():
        assert step.to is State.SCANNING or step.beam == "blank", event


def test_only_go_leads_into_scanning():
    into = {
        event
        for state, steps in MICROSCOPE.items()
        if state is not State.SCANNING
        for event, step in steps.items()
        if step.to is State.SCANNING
    }
    assert into == {Event.GO}


def test_a_held_beam_is_let_go_by_an_operator_or_by_the_end_only():
    assert {event for event, step in MICROSCOPE[State.HELD].items() if step.to is not State.HELD} == {
        Event.RELEASE,
        Event.SHUTDOWN,
    }


DANGERS = [
    Event.HOLD,
    Event.FAULT,
    Event.COLUMN_BLANK,
    Event.OVERRUN,
    Event.HEARTBEAT_LOST,
    Event.DOSE_LIMIT,
    Event.SHUTDOWN,
    Event.ABORT,
]


@pytest.mark.parametrize("event", DANGERS)
def test_danger_blanks_in_every_state(event):
    for state in set(State) - {State.CLOSED}:
        assert MICROSCOPE[state][event].beam == "blank"
        assert MICROSCOPE[state][event].ends is not None


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [(MICROSCOPE, State.IDLE, State.CLOSED), (CLIENT, ClientState.OFFLINE, ClientState.CLOSED)],
)
def test_every_state_is_reachable_and_leads_to_the_end(table, first, last):
    def onwards(start: object) -> set:
        reached, edge = {start}, [start]
        while edge:
            for step in table[edge.pop()].values():
                to = getattr(step, "to", step)
                if to not in reached:
                    reached.add(to)
                    edge.append(to)
        return reached

    assert onwards(first) == set(table)
    assert all(last in onwards(state) for state in table)


def test_every_event_is_used():
    assert {event for steps in MICROSCOPE.values() for event in steps} == set(Event)
    assert {event for steps in CLIENT.values() for event in steps} == set(ClientEvent)


@pytest.mark.slow
def test_the_diagrams_in_the_docs_are_those_of_the_tables():
    script = HOUSE / "docs" / "generate_state_diagrams.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
