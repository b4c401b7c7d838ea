"""How far a recording had come when its writer died: what :meth:`RecordingWriter.resume` goes on with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scancontrol.recording.checksums import NO_CHECKSUM, Checksum
from scancontrol.recording.frame_samples import DamagedChunk
from scancontrol.recording.open_frames import OpenFrames
from scancontrol.recording.progress import ChunkRow, FrameProgress
from scancontrol.recording.reader import RecordingReader

__all__ = ["TakenUp", "take_up"]


@dataclass(frozen=True)
class TakenUp:
    """State of a recording that was not ended.

    Attributes:
        paths: path_id → (row, first, count), in the order of rows.
        frames: how far each has come.
        chunks: rows of the chunk table, frames that have one, and samples that they vouch for.
        damaged: chunks at the end of a frame that differ from their checksum.
    """

    paths: dict[str, tuple[int, int, int]]
    frames: OpenFrames
    chunks: tuple[int, int, int]
    damaged: tuple[DamagedChunk, ...]


def take_up(reader: RecordingReader) -> TakenUp:
    """Read it; the last chunk of every open frame is checked, because its checksum grows with what follows."""
    chunks, frame_rows = reader.rows("chunks"), reader.rows("frames")
    order = np.lexsort((chunks["first_index"], chunks["frame_row"]))
    ends = np.searchsorted(chunks["frame_row"][order], np.arange(len(frame_rows)), side="right")
    frames = OpenFrames()
    damaged: list[DamagedChunk] = []
    for index, frame in enumerate(reader.frames):
        if frame.exposed is not None and frame.complete:
            frames.add_complete(frame.frame, frame.count)
            continue
        progress = FrameProgress(
            index,
            frame.first,
            frame.count,
            reader.paths[frame.path].path_id,
            frame_rows[index : index + 1].copy(),
            frame.received,
            reader.asked_of(frame.frame),
        )
        frames.add(frame.frame, progress)
        if not frame.received:
            continue
        number = int(order[ends[index] - 1])
        progress.chunk = ChunkRow.of(number, chunks[number : number + 1])
        read = reader.read_samples(frame.frame, progress.chunk.first_index)
        damaged += read.damaged
        progress.may_grow = not read.damaged and progress.chunk.checked != NO_CHECKSUM
        progress.checksum = Checksum.of_nothing(len(read.values)).followed_by(read.values)
    paths = {path.path_id: (row, path.first, path.count) for row, path in enumerate(reader.paths)}
    with_chunks = len(np.unique(chunks["frame_row"]))
    return TakenUp(paths, frames, (len(chunks), with_chunks, int(chunks["count"].sum())), tuple(damaged))
