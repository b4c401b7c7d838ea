"""What other threads ask of a running acquisition: pause, resume and abort, in the order in which they were asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from scancontrol.acquisition.phases import TRANSITIONS, Event, Phase

__all__ = ["Command", "Commands"]

Command = tuple[Event, str]  # what is asked for, and why


class Commands:
    """The commands that wait to be obeyed. Any thread asks; the acquisition's own takes them.

    ``phase`` tells where the acquisition is. A command is :meth:`done` after its step, so that one that is asked for
    meanwhile is judged by the phase that it will meet.
    """

    def __init__(self, phase: Callable[[], Phase]) -> None:
        self._phase = phase
        self._lock = threading.Lock()
        self._waiting: deque[Command] = deque()

    def ask(self, event: Event, reason: str) -> bool:
        """Have ``event`` wait its turn; False if it cannot follow the present phase and what waits already.

        An abort does not wait behind anything: what was asked for before it is forgotten.
        """
        with self._lock:
            phase = self._phase()
            for waiting, _ in self._waiting:
                phase = TRANSITIONS[phase].get(waiting, phase)
            if event not in TRANSITIONS[phase]:
                return False
            if event is Event.ABORT:
                self._waiting.clear()
            self._waiting.append((event, reason))
            return True

    def first(self) -> Command | None:
        """What is to be obeyed next; it waits until it is :meth:`done`."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def done(self, command: Command) -> None:
        """``command`` was obeyed, or had come too late; an abort may have put it aside meanwhile."""
        with self._lock:
            if self._waiting and self._waiting[0] == command:
                self._waiting.popleft()
