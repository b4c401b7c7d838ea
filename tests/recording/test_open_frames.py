"""A recording being written knows every frame's row, and keeps the progress only of those that are not complete."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scancontrol.recording.layout import FRAME_ROW
from scancontrol.recording.open_frames import OpenFrames
from scancontrol.recording.progress import FrameProgress, new_row


def progress(row: int, count: int, next_index: int = 0) -> FrameProgress:
    return FrameProgress(row, 0, count, "p", new_row(FRAME_ROW), next_index)


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 100), st.booleans()), unique_by=lambda one: one[0]))
def test_rows_are_in_the_order_of_beginning_and_samples_add_up_whichever_frames_are_complete(
    frames: list[tuple[int, int, bool]],
) -> None:
    known = OpenFrames()
    for row, (frame, count, complete) in enumerate(frames):
        known.add(frame, progress(row, count, count if complete else count // 2))
        if complete:
            known.complete(frame)
            known.complete(frame)  # said again, it counts once
    assert len(known) == len(frames)
    assert [known.row(frame) for frame, _, _ in frames] == list(range(len(frames)))
    assert [frame for frame, _ in known] == [frame for frame, _, complete in frames if not complete]
    assert known.samples == sum(count if complete else count // 2 for _, count, complete in frames)
    assert known.row(1 << 41) is None


def test_a_frame_of_an_earlier_process_that_was_complete_has_its_row_and_no_progress() -> None:
    known = OpenFrames()
    known.add_complete(5, 100)
    known.add(6, progress(1, 100, 30))
    assert (known.row(5), known.row(6)) == (0, 1)
    assert known.get(5) is None
    assert known.samples == 130


def test_frames_may_complete_while_all_are_gone_through() -> None:
    known = OpenFrames()
    for frame in range(4):
        known.add(frame, progress(frame, 10, 10))
    for frame, _ in known:
        known.complete(frame)
    assert list(known) == []
    assert known.samples == 40
