"""What a restoration says of itself, and that files of other versions are read."""

from __future__ import annotations

import msgspec
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.restoration import FreshNotices, Provenance

FULL = Provenance(
    method="lite", face="faithful", weights_hash="ab", samples_used=9, withheld_rmse=0.5, expected_rmse=0.75
)


@pytest.mark.parametrize("made_by", [FULL, Provenance(method="nearest", face="classical")])
def test_what_was_written_is_read(made_by: Provenance) -> None:
    assert Provenance.from_json(made_by.to_json()) == made_by


def test_facts_of_a_later_version_are_passed_over_and_missing_ones_have_their_default() -> None:
    assert Provenance.from_json(b'{"method":"m","face":"classical","moons":3}') == Provenance(
        method="m", face="classical"
    )


@pytest.mark.parametrize("text", [b"", b"{}", b'{"method":"m","face":"ugly"}', b'{"method":3,"face":"classical"}'])
def test_what_is_no_provenance_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Provenance.from_json(text)


def test_one_that_no_recording_has_room_for_does_not_exist() -> None:
    with pytest.raises(InvalidInput, match=r"provenance = .* is more than the 4096"):
        Provenance(method="m" * 5000, face="classical")


def test_a_kind_of_notice_is_told_once_until_it_has_been_away() -> None:
    fresh = FreshNotices()
    assert fresh.of(["3 readings were lost", "mains of 50.0 Hz"]) == ["3 readings were lost", "mains of 50.0 Hz"]
    assert fresh.of(["12 readings were lost", "a delay of -1.5e+01"]) == ["a delay of -1.5e+01"]
    for _ in range(14):
        assert fresh.of(["a delay of 7"]) == []
    assert fresh.of(["12 readings were lost", "a delay of 7"]) == []
    for _ in range(15):
        fresh.of([])
    assert fresh.of(["9 readings were lost"]) == ["9 readings were lost"]
