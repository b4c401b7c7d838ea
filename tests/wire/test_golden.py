"""Golden bytes of every message, read and written: what is on the wire does not change unnoticed."""

from __future__ import annotations

import typing

import msgspec
import numpy as np
import pytest
from golden_messages import CODECS, GOLDEN, MESSAGES, SAMPLES

from scancontrol.wire import messages as m
from scancontrol.wire.framing import SERVER_DATA, encode, samples


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_as_it_always_was(name):
    assert encode(MESSAGES[name]) == [GOLDEN[name]]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_old_are_read_as_the_same_message(name):
    kind = type(MESSAGES[name])
    codecs = [codec for codec, kinds in CODECS.items() if kind in typing.get_args(kinds)]
    assert codecs
    parts = [GOLDEN[name], *([SAMPLES.tobytes()] if kind is m.ChunkHeader else [])]
    for codec in codecs:
        message, payload = codec.decode(parts)
        assert message == MESSAGES[name]
        assert len(payload) == (kind is m.ChunkHeader)


def test_every_message_has_its_golden_bytes():
    kinds = {kind for union in CODECS.values() for kind in typing.get_args(union)}
    assert {type(message) for message in MESSAGES.values()} == kinds
    assert {msgspec.inspect.type_info(type(message)).tag for message in MESSAGES.values()} == set(MESSAGES)


def test_a_chunk_carries_its_samples_raw_and_little_endian():
    header = MESSAGES["chunk"]
    parts = encode(header, SAMPLES.tobytes())
    assert parts == [GOLDEN["chunk"], b"\x01\x00\x02\x00\xff\xff"]
    message, [payload] = SERVER_DATA.decode(parts)
    np.testing.assert_array_equal(samples(message, payload), SAMPLES)
    assert not samples(message, payload).flags.writeable
