"""Which frames of a recording are still to be restored, and whether it has places for what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scancontrol.errors import InvalidInput
from scancontrol.recording.data_sets import picture_name
from scancontrol.recording.frame_lists import channel_names, frame_numbers
from scancontrol.recording.reader import RecordingReader

__all__ = ["frames_to_restore", "require_places"]


def frames_to_restore(
    recording: RecordingReader, frames: str | None, channels: Sequence[str] | None, *, redo: bool
) -> dict[str, list[int]]:
    """For each detector that is asked for the frames that are; without ``redo`` those that are not yet restored.

    Args:
        recording: which is read.
        frames: as a person lists them; None for all with a sample.
        channels: names, or ``all``; None for the first.
        redo: also frames that have a restoration.

    Returns:
        Detectors that have frames left, with them.

    Raises:
        InvalidInput: no frame has a sample, ``frames`` is no list of those that have, or a detector is not recorded.
    """
    with_samples = [frame.frame for frame in recording.frames if frame.received]
    if not with_samples:
        raise InvalidInput("frames", "none", f"of {recording.path} has a sample", "restore one that was scanned into")
    known = recording.header.channels
    chosen = frame_numbers(frames, with_samples)
    wanted: dict[str, list[int]] = {}
    for name in channel_names(channels, known, known[:1]):
        done = set()
        if not redo:
            stored = recording.stored("restoration", name)
            done = {frame.frame for frame, there in zip(recording.frames, stored, strict=True) if there}
        if left := [frame for frame in chosen if frame not in done]:
            wanted[name] = left
    return wanted


def require_places(recording: RecordingReader, wanted: Mapping[str, Sequence[int]]) -> None:
    """Nothing, if a restoration of each of these frames of each detector has a place of its own in the file.

    Raises:
        InvalidInput: one has none.
    """
    header, places = recording.header, recording.regions()
    rows = {frame.frame: row for row, frame in enumerate(recording.frames)}
    frames = {frame for listed in wanted.values() for frame in listed}
    homeless = header.keep_restorations == "last"
    homeless |= any(header.restoration_row(rows[frame]) is None for frame in frames)
    homeless |= any(picture_name(header, "restorations", name) not in places for name in wanted)
    if homeless:
        raise InvalidInput(
            "restorations",
            header.keep_restorations,
            f"is what {recording.path} has places for, not every frame",
            "give --out FILE to restore into a copy",
        )
