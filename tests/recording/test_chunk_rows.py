"""Rows of the chunk table are enough whatever size chunks come in, and each vouches for exactly its samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scancontrol.recording.checksums import RUNNING, Checksum
from scancontrol.recording.chunk_rows import ChunkRows
from scancontrol.recording.layout import FRAME_ROW, Capacity
from scancontrol.recording.progress import ChunkRow, FrameProgress, new_row

SAMPLES = np.arange(2_000, dtype=np.float32).reshape(2, -1)


def capacity(frames: int, samples: int, chunks: int) -> Capacity:
    return Capacity(frames=frames, samples=samples, paths=1, path_samples=samples, recipe_bytes=0, chunks=chunks)


def write(rows: ChunkRows, frame: FrameProgress, count: int, at_ns: int) -> ChunkRow:
    """Let ``count`` more samples of a frame be vouched for."""
    values = SAMPLES[:, frame.next_index : frame.next_index + count]
    row, checksum = rows.next(frame, values, at_ns, at_ns, float(at_ns))
    rows.written(frame, row, checksum, count)
    frame.next_index += count
    return row


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), min_size=1, max_size=6), st.integers(0, 40))
def test_no_sequence_of_chunks_needs_more_rows_than_there_are_and_no_sample_is_without_one(
    frames: list[list[int]], spare: int
) -> None:
    total, chunks = sum(map(sum, frames)), len(frames) + spare
    rows = ChunkRows(capacity(len(frames), total, chunks))
    table: dict[int, ChunkRow] = {}
    for number, sizes in enumerate(frames):
        frame = FrameProgress(number, 0, sum(sizes), "p", new_row(FRAME_ROW))
        for at, size in enumerate(sizes):
            row = write(rows, frame, size, at)
            table[row.number] = row
    assert rows.used == len(table) <= chunks
    for number, sizes in enumerate(frames):
        of_frame = sorted((row for row in table.values() if row.frame_row == number), key=lambda row: row.first_index)
        assert of_frame[0].first_index == 0
        ends = [row.first_index + row.count for row in of_frame]
        assert ends == [row.first_index for row in of_frame[1:]] + [sum(sizes)], "rows follow each other without a gap"
        for row in of_frame:
            held = SAMPLES[:, row.first_index : row.first_index + row.count]
            assert row.crc32 == Checksum.of_nothing(2).followed_by(held).value
            assert row.checked == RUNNING


def test_where_rows_are_plenty_each_chunk_keeps_its_own_time() -> None:
    rows = ChunkRows(capacity(1, 40, 4))
    frame = FrameProgress(0, 0, 40, "p", new_row(FRAME_ROW))
    assert [write(rows, frame, 10, at).monotonic_ns for at in (5, 6, 7, 8)] == [5, 6, 7, 8]


def test_smaller_chunks_share_rows_evenly_and_keep_the_time_of_the_first() -> None:
    rows = ChunkRows(capacity(1, 40, 4))
    frame = FrameProgress(0, 0, 40, "p", new_row(FRAME_ROW))
    written = [write(rows, frame, 5, at) for at in range(8)]
    assert [row.number for row in written] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert written[1].monotonic_ns == 0
    assert written[1].electrons == 1.0, "the count is that of the newest sample in it"


def test_a_later_process_takes_no_row_that_an_earlier_one_has_used() -> None:
    rows = ChunkRows(capacity(2, 40, 5))
    rows.restore(used=2, frames=1, samples=20)
    frame = FrameProgress(1, 0, 20, "p", new_row(FRAME_ROW))
    assert write(rows, frame, 20, 0).number == 2
