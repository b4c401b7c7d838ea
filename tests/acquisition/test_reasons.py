"""Why it ended is one sentence with a remedy, whatever the reason."""

import typing

import pytest

from scancontrol.acquisition.reasons import explanation
from scancontrol.wire.messages import EndReason


@pytest.mark.parametrize("reason", [*typing.get_args(EndReason), "recording", "link", "planning", "interrupted"])
def test_every_finish_reason_is_said_in_words_with_what_happened_and_what_to_do(reason: str) -> None:
    said = explanation(reason, "the high tension tripped")
    assert "the high tension tripped" in said
    assert "_" not in said
    assert reason == "completed" or "; " in said


def test_a_message_that_names_its_own_remedy_keeps_it_and_no_message_needs_one() -> None:
    assert explanation("dose_limit", "area dose = 3 passes 2; lower dwell_us to 1") == (
        "a dose limit was reached: area dose = 3 passes 2; lower dwell_us to 1"
    )
    assert explanation("completed", "") == "all frames are recorded"
    assert explanation("something_new", "") == "something new"
