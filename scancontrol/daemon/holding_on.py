"""Holding on to a recording whose file was deleted under its writer, until there is a place to write it to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from scancontrol.errors import RecordingError
from scancontrol.recording import RecordingWriter

__all__ = ["hold_on"]

_RETRY_S = (0.5, 10.0)  # shortest and longest wait before a place is looked for again


def hold_on(
    recording: RecordingWriter,
    notice: Callable[[str, str], None],
    wait: Callable[[float], bool],
    given_up: Callable[[], bool],
) -> bool:
    """Wait until the file is under its name, with every sample that was written; whether it is. The beam is off.

    Where the process ends first, or the operator gives up, it is written to the folder for temporary files, and said.

    Args:
        recording: not closed.
        notice: takes a line for the operator and its level.
        wait: waits so many seconds, or until the process is to end; whether it is.
        given_up: whether the operator will not wait.
    """
    wait_s = _RETRY_S[0]
    while True:
        try:
            recording.put_back()
            return True
        except RecordingError as error:
            notice(str(error), "error")
        if wait(wait_s) or given_up():
            return _left_elsewhere(recording, notice)
        wait_s = min(2 * wait_s, _RETRY_S[1])


def _left_elsewhere(recording: RecordingWriter, notice: Callable[[str, str], None]) -> bool:
    place = Path(tempfile.gettempdir()) / recording.path.name
    try:
        recording.put_back()
        return True  # there is a place at the last moment
    except RecordingError:
        pass
    try:
        recording.put_back(place)
        notice(f"{recording.path.name} has no place in its folder: all that was written is in {place}", "error")
    except RecordingError as error:
        notice(f"{recording.path.name} IS LOST, with what was written since it was deleted: {error}", "error")
    return False
