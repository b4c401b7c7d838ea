"""Why an acquisition ends, told by the type of the error and never by its words."""

from pathlib import Path

import pytest

from scancontrol.acquisition.requests import finish_reason_of
from scancontrol.errors import (
    DoseLimitPassed,
    InvalidInput,
    LedgerInUse,
    LinkError,
    RecordingError,
    RemoteProtocolError,
    RequestRefused,
    ScanControlError,
    StorageError,
)

WORDS = ("dose ledger", Path("a/journal.jsonl"), "could not be written, whatever the words", "make room")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageError(*WORDS), "recording"),
        (LedgerInUse(*WORDS), "recording"),
        (RecordingError("the dose of this recording's disk is full"), "recording"),
        (DoseLimitPassed("frame", "3 e/Å²", "passes 2", "halve the dwell"), "dose_limit"),
        (InvalidInput("dose map", "16384 tiles", "is full", "name a new specimen"), "planning"),
        (InvalidInput(*WORDS), "planning"),
        (LinkError("the dose ledger cannot be written there"), "link"),
        (RequestRefused("not_now", "the dose"), "link"),
        (RemoteProtocolError("the dose"), "fault"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_the_finish_reason_follows_the_type_of_the_error_and_no_word_of_it(
    error: ScanControlError, reason: str
) -> None:
    assert finish_reason_of(error) == reason
