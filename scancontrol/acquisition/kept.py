"""What an earlier process asked for and never acknowledged: collected before anything else is exposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scancontrol.acquisition.channels import chosen_channels
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
    others: Mapping[int, RecordingWriter],
    keep: Callable[[Chunk], int],
    wanted: Callable[[], bool],
    *,
    sent: tuple[str, ...] = (),
    patience_s: float,
    clock: Callable[[], float],
) -> None:
    """Take all that the microscope kept, until it has nothing more or it is not ``wanted`` any more.

    What is of this recording goes through ``keep``; what is of ``others``, by their series, which wait to be ended
    after it, goes to those: the microscope says what it kept only once, and in the order in which it was exposed.

    ``sent`` are the detectors that the microscope sends, of which each recording takes its own.

    Then it is known how far every frame came that this server was asked for, and they may go on. Not so where
    samples are missing: the server let them go, because another client was connected, or the disk lost them.

    Raises:
        LinkError: nothing came for ``patience_s``.
        RecordingError: the disk does not take it.
    """
    recordings = {**others, recording.header.series_id: recording}
    deadline, missing = clock() + patience_s, set[int]()
    while wanted():
        event = link.receive(_TICK_S)
        if event is not None:
            deadline = clock() + patience_s
        if isinstance(event, End):
            whose = recordings.get(event.series_id, recording)
            if whose.next_index(event.frame) < event.next_index:
                missing.add(whose.header.series_id)
            _ended(whose, event)
        elif event is not None and not isinstance(event, Start | Notice):
            chunk = chosen_channels(event, sent, recordings.get(event.series_id, recording).header.channels)
            if event.series_id in others:
                _keep(link, others[event.series_id], chunk)
            else:
                keep(chunk)
        elif event is None and link.drained:
            for series_id, whose in recordings.items():
                if not (series_id in missing or link.lost_samples):
                    whose.settle(link.server_id)
            return
        elif clock() > deadline:
            raise LinkError("the microscope still keeps samples of this recording and does not send them")


def _keep(link: MicroscopeLike, recording: RecordingWriter, chunk: Chunk) -> None:
    """Write, then acknowledge."""
    following = recording.write_chunk(
        chunk.frame, chunk.first_index, chunk.values, chunk.monotonic_ns, chunk.utc_ns, chunk.session_electrons
    )
    if following >= chunk.first_index:
        link.acknowledge(chunk.series_id, chunk.frame, following)


def _ended(recording: RecordingWriter, end: End) -> None:
    """A frame that came to its end is ended here, too; one that was cut off goes on instead."""
    whole = end.reason == "completed" and recording.next_index(end.frame) == end.next_index
    if whole and end.series_id == recording.header.series_id:
        recording.end_frame(end.frame, end.reason, exposed=end.next_index, electrons=end.electrons, utc_ns=end.utc_ns)
