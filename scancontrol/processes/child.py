"""How a process of the system behaves under its parent: say when ready, end when told or when orphaned.

The microscope server and the restorer are processes of their own. Each prints one line of JSON when it is
ready (:func:`announce`) and ends when it gets SIGINT or SIGTERM, or when its parent is gone
(:class:`Shutdown`), so that no process outlives the one who started it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from types import FrameType

__all__ = ["Shutdown", "add_follow_stdin", "announce", "report"]


def announce(role: str, **facts: object) -> None:
    """Print the one line by which the parent learns that ``role`` is ready, and where it listens."""
    report(ready=role, pid=os.getpid(), **facts)


def report(**facts: object) -> None:
    """Print ``facts`` as one line of JSON, at once: what a parent hears from a child that works through something."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def add_follow_stdin(parser: argparse.ArgumentParser) -> None:
    """Add ``--follow-stdin``, which every :class:`~scancontrol.processes.parent.ChildProcess` is started with."""
    parser.add_argument("--follow-stdin", action="store_true", help="end when standard input ends")


class Shutdown:
    """An event that is set by SIGINT, SIGTERM, or (with ``follow_stdin``) the end of standard input.

    The loss of the terminal (SIGHUP) sets it only with ``ends_with_terminal``: an acquisition goes on without one.

    A parent that holds the write end of the child's standard input need do nothing to end it: when the
    parent dies, however it dies, the pipe closes and the child sees the end of the file.
    """

    def __init__(self, *, follow_stdin: bool = False, ends_with_terminal: bool = False) -> None:
        self._event = threading.Event()
        signal.signal(signal.SIGHUP, self._on_signal if ends_with_terminal else signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if follow_stdin:
            threading.Thread(target=self._read_to_end, name="parent-watch", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._event.set()

    def _read_to_end(self) -> None:
        descriptor = sys.stdin.fileno()
        try:
            while os.read(descriptor, 4096):
                pass
        except OSError:
            pass  # a closed descriptor says the same as the end of the file
        self._event.set()

    def requested(self) -> bool:
        """Whether this process was asked to end."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until this process is asked to end; True if it was."""
        return self._event.wait(timeout_s)
