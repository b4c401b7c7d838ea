"""What an acquisition still needs after the beam has left it: its last restorations and pictures, and its end.

On a thread of its own, one recording after the other, so that the beam is free for the next order meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.run import Run
from scancontrol.errors import RecordingError, StorageError

__all__ = ["Closed", "Closing"]

log = logging.getLogger(__name__)

_CATCH_UP_S = 600.0
_DRAW_S = 60.0
_HURRY_S = 0.2  # for pictures, once the process is to end
_AGAIN_S = (0.5, 10.0)  # shortest and longest wait before a disk that did not take an end is tried again


@dataclass(frozen=True)
class Closed:
    """A run whose recording is closed."""

    run: Run
    status: AcquisitionStatus


class Closing:
    """Finishes runs in the order in which they are handed in.

    Args:
        hurry: whether the process is to end: what is not restored then is left to ``scancontrol restore``.
        keep_last: recordings begun and ended by this process that are kept; 0 keeps all.
        notice: takes a line for the operator and its level.
    """

    def __init__(self, hurry: Callable[[], bool], keep_last: int, notice: Callable[[str, str], None]) -> None:
        self._hurry, self._keep_last, self._notice = hurry, keep_last, notice
        self._runs: queue.SimpleQueue[tuple[Run, AcquisitionStatus] | None] = queue.SimpleQueue()
        self._recordings: deque[Path] = deque()
        self._ending = threading.Event()
        self._left_open = False
        self.closed: queue.SimpleQueue[Closed] = queue.SimpleQueue()  # what is done, for whoever waits for it
        self._thread = threading.Thread(target=self._work, name="closing", daemon=True)
        self._thread.start()

    def finish(self, run: Run, status: AcquisitionStatus) -> None:
        """Have a run finished; returns at once."""
        self._runs.put((run, status))

    def stop(self, timeout_s: float) -> bool:
        """Close what is left without restoring it, and end the thread; whether a recording is left without its end."""
        self._ending.set()
        self._runs.put(None)
        self._thread.join(timeout_s)
        return self._left_open

    def _give_up(self) -> bool:
        return self._ending.is_set() or self._hurry()

    def _work(self) -> None:
        while (item := self._runs.get()) is not None:
            run, status = item
            try:
                hurry = self._give_up()
                run.outputs.finish(0.0 if hurry else _CATCH_UP_S, _HURRY_S if hurry else _DRAW_S, self._give_up)
                self._close(run, status)
            except Exception:
                log.exception("%s could not be finished", run.recording.path.name)
            self.closed.put(Closed(run, status))

    def _close(self, run: Run, status: AcquisitionStatus) -> None:
        wait_s, path = _AGAIN_S[0], run.recording.path
        while True:
            try:
                run.recording.close(status.finish_reason or "completed", status.explanation)
                break
            except (RecordingError, StorageError) as error:  # the disk takes not even the end
                if self._give_up():
                    self._left_open = True
                    self._notice(f"{path.name} is left open: {error}", "error")
                    return
                self._notice(f"the end of {path.name} is written once its disk takes it: {error}", "warning")
            self._ending.wait(wait_s)
            wait_s = min(2 * wait_s, _AGAIN_S[1])
        if run.taken_up:
            return  # begun by an earlier process, or put off: what a crash nearly cost is not deleted to make room
        self._recordings.append(run.recording.path)
        while self._keep_last and len(self._recordings) > self._keep_last:
            self._recordings.popleft().unlink(missing_ok=True)
