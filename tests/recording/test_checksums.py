"""A checksum that grows says the same as one of all its samples at once, and notices any change."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scancontrol.recording.checksums import NO_CHECKSUM, ONE_CHUNK, RUNNING, Checksum, checksum_of


def _values(channels: int, count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 65536, (channels, count), dtype="<u2")


@given(channels=st.integers(1, 4), pieces=st.lists(st.integers(0, 40), max_size=8))
def test_chunks_one_after_another_have_the_checksum_of_all_at_once(channels: int, pieces: list[int]) -> None:
    values = _values(channels, sum(pieces))
    grown, first = Checksum.of_nothing(channels), 0
    for count in pieces:
        grown = grown.followed_by(np.ascontiguousarray(values[:, first : first + count]))
        first += count
    assert grown.value == checksum_of(values, RUNNING)


@given(channel=st.integers(0, 1), index=st.integers(0, 99), bit=st.integers(0, 15))
def test_one_flipped_bit_changes_it(channel: int, index: int, bit: int) -> None:
    values = _values(2, 100)
    before = checksum_of(values, RUNNING)
    values[channel, index] ^= 1 << bit
    assert checksum_of(values, RUNNING) != before


def test_channels_that_change_places_change_it() -> None:
    values = _values(2, 100)
    assert checksum_of(values, RUNNING) != checksum_of(np.ascontiguousarray(values[::-1]), RUNNING)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_version_1_wrote_is_the_crc_of_its_channels_one_after_another_or_nothing(channels: int) -> None:
    values = _values(channels, 50)
    assert checksum_of(values, ONE_CHUNK) == zlib.crc32(values.tobytes())
    assert checksum_of(values, NO_CHECKSUM) is None
