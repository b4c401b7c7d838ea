"""What is asked of an acquisition waits in order, is judged by the phase it will meet, and an abort clears all."""

from __future__ import annotations

from scancontrol.acquisition.commands import Commands
from scancontrol.acquisition.phases import TRANSITIONS, Event, Phase


class Acquisition:
    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.commands = Commands(lambda: self.phase)

    def obey_one(self) -> Event:
        command = self.commands.first()
        assert command is not None
        self.phase = TRANSITIONS[self.phase][command[0]]
        self.commands.done(command)
        return command[0]


def test_a_resume_is_taken_while_the_pause_before_it_still_waits() -> None:
    running = Acquisition(Phase.SCANNING)
    assert running.commands.ask(Event.PAUSE, "")
    assert running.commands.ask(Event.RESUME, "")
    assert [running.obey_one(), running.obey_one()] == [Event.PAUSE, Event.RESUME]
    assert running.commands.first() is None


def test_what_cannot_follow_is_not_taken() -> None:
    running = Acquisition(Phase.SCANNING)
    assert not running.commands.ask(Event.RESUME, "")
    assert running.commands.ask(Event.PAUSE, "")
    assert not running.commands.ask(Event.PAUSE, "")
    running.phase = Phase.ENDED
    assert not running.commands.ask(Event.ABORT, "")


def test_an_abort_puts_aside_what_was_asked_for_before_it_and_lets_nothing_follow() -> None:
    running = Acquisition(Phase.SCANNING)
    running.commands.ask(Event.PAUSE, "")
    pausing = running.commands.first()
    assert running.commands.ask(Event.ABORT, "enough")
    assert pausing is not None
    running.commands.done(pausing)  # its step was taken meanwhile: the abort still waits
    assert running.commands.first() == (Event.ABORT, "enough")
    assert not running.commands.ask(Event.PAUSE, "")


def test_between_its_step_and_its_end_a_command_is_not_counted_twice() -> None:
    running = Acquisition(Phase.SCANNING)
    running.commands.ask(Event.PAUSE, "")
    running.phase = Phase.PAUSED  # the step is taken, and the command not yet done
    assert running.commands.ask(Event.RESUME, "")
