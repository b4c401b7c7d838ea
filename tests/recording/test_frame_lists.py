"""Frames as a person lists them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scancontrol.errors import InvalidInput
from scancontrol.recording.frame_lists import frame_list, frame_numbers


@given(frames=st.sets(st.integers(0, 60), min_size=1).map(sorted))
def test_a_list_names_the_frames_that_it_was_made_from(frames: list[int]) -> None:
    assert frame_numbers(frame_list(frames), range(61)) == frames


def test_neighbours_are_written_as_a_range() -> None:
    assert frame_list([0, 4, 5, 6, 7, 9]) == "0,4-7,9"


def test_no_list_is_every_frame_and_a_range_passes_over_those_without_samples() -> None:
    assert frame_numbers(None, [0, 2, 3]) == [0, 2, 3]
    assert frame_numbers("3, 0-2", [0, 2, 3]) == [3, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "is not a list of frames; write it like 0,4-7"),
        ("1-", "is not a list of frames"),
        ("", "is not a list of frames"),
        ("7", "is not in the recording; choose of its frames: 0 to 3"),
        ("3-2", "is not in the recording"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        frame_numbers(text, [0, 2, 3])
