"""What an earlier process asked for and never acknowledged: collected before anything else is exposed."""

from __future__ import annotations

from collections.abc import Callable

from scancontrol.acquisition.contracts import MicroscopeLike
from scancontrol.errors import LinkError
from scancontrol.recording import RecordingWriter
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Notice, Start

__all__ = ["collect_kept"]

_TICK_S = 0.01


def collect_kept(
    link: MicroscopeLike,
    recording: RecordingWriter,
    keep: Callable[[Chunk], int],
    wanted: Callable[[], bool],
    *,
    patience_s: float,
    clock: Callable[[], float],
) -> None:
    """Take all that the microscope kept of this recording, until it has nothing more or it is not ``wanted`` any more.

    Then it is known how far every frame came that this server was asked for, and they may go on. Not so where
    samples are missing: the server let them go, because another client was connected, or the disk lost them.

    Raises:
        LinkError: nothing came for ``patience_s``.
        RecordingError: the disk does not take it.
    """
    deadline, missing = clock() + patience_s, False
    while wanted():
        event = link.receive(_TICK_S)
        if event is not None:
            deadline = clock() + patience_s
        if isinstance(event, End):
            missing |= recording.next_index(event.frame) < event.next_index
            _ended(recording, event)
        elif event is not None and not isinstance(event, Start | Notice):
            keep(event)
        elif event is None and link.drained:
            if not (missing or link.lost_samples):
                recording.settle(link.server_id)
            return
        elif clock() > deadline:
            raise LinkError("the microscope still keeps samples of this recording and does not send them")


def _ended(recording: RecordingWriter, end: End) -> None:
    """A frame that came to its end is ended here, too; one that was cut off goes on instead."""
    whole = end.reason == "completed" and recording.next_index(end.frame) == end.next_index
    if whole and end.series_id == recording.header.series_id:
        recording.end_frame(end.frame, end.reason, exposed=end.next_index, electrons=end.electrons, utc_ns=end.utc_ns)
