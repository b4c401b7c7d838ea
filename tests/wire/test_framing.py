"""Whatever arrives: a message, or RemoteProtocolError, and nothing else; bounded before it is looked at."""

from __future__ import annotations

import msgspec
import pytest
from golden_messages import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_pair import Client, Pair, recipe

from scancontrol.errors import RemoteProtocolError, VersionMismatch
from scancontrol.wire import messages as m
from scancontrol.wire.framing import CLIENT_CONTROL, CLIENT_DATA, MAX_HEADER_BYTES, SERVER_CONTROL, SERVER_DATA, encode
from scancontrol.wire.registry import expand_recipe

CODECS = [CLIENT_CONTROL, CLIENT_DATA, SERVER_CONTROL, SERVER_DATA]

atoms = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.binary(max_size=8)
junk = atoms | st.lists(atoms, max_size=3) | st.dictionaries(st.sampled_from("abc"), atoms, max_size=2)
fields_of_messages = st.sampled_from(
    ["request", "session", "series_id", "frame", "path_id", "count", "dtype", "have", "recipe", "reason", "x"]
)


def changed(data: bytes, draw: st.DataObject) -> bytes:
    """Golden bytes with a few of them replaced, removed or doubled."""
    out = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, max(0, len(out) - 1)))
        out[at : at + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=3))
    return bytes(out)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_messages_are_read_or_refused(data):
    parts = [changed(data.draw(st.sampled_from(sorted(GOLDEN.values()))), data)]
    if data.draw(st.booleans()):
        parts.append(data.draw(st.binary(max_size=16)))
    for codec in CODECS:
        try:
            message, _ = codec.decode(parts)
        except (RemoteProtocolError, VersionMismatch):
            continue
        assert isinstance(message, m.Message)


@given(kind=st.sampled_from(sorted(GOLDEN)), fields=st.dictionaries(fields_of_messages, junk, max_size=5))
@settings(max_examples=40, deadline=None)
def test_messages_of_a_known_type_with_any_fields_are_read_or_refused(kind, fields):
    parts = [msgspec.msgpack.encode({**fields, "type": kind})]
    for codec in CODECS:
        try:
            message, _ = codec.decode(parts)
        except (RemoteProtocolError, VersionMismatch):
            continue
        assert isinstance(message, m.Message)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_no_stranger_moves_the_beam_or_ends_a_scan_with_anything_but_a_blank(data):
    pair = Pair()
    operator = pair.ready(Client(pair))
    operator.scan(operator.register(recipe()))
    pair.turn(2)
    for _ in range(3):
        name = data.draw(st.sampled_from(sorted(set(GOLDEN) - {"blank"})))
        parts = [changed(GOLDEN[name], data) if data.draw(st.booleans()) else GOLDEN[name]]
        if data.draw(st.booleans()):
            pair.server.receive_control(b"stranger", parts, pair.now_ns)
        else:
            pair.server.receive_data(b"stranger", parts, pair.now_ns)
    pair.until(lambda: operator.of(m.End))
    assert operator.of(m.End)[0].reason == "completed"
    assert operator.samples() == list(range(256))


@given(st.dictionaries(st.sampled_from(["pattern", "shape", "fov_nm", "dwell_us", "region", "settle", "x"]), junk))
@settings(max_examples=40, deadline=None)
def test_a_recipe_of_anything_is_refused_typed(fields):
    with pytest.raises(RemoteProtocolError, match="recipe"):
        expand_recipe("0" * 32, fields, 1 << 20)


def test_deep_nesting_is_refused():
    with pytest.raises(RemoteProtocolError):
        CLIENT_CONTROL.decode([b"\x83\xa4type\xa8register\xa7request\x01\xa6recipe" + b"\x81\xa1a" * 100_000 + b"\x01"])


def test_a_header_above_its_limit_is_refused_unread():
    with pytest.raises(RemoteProtocolError, match=f"the limit is {MAX_HEADER_BYTES}"):
        SERVER_CONTROL.decode([b"\x00" * (MAX_HEADER_BYTES + 1)])


@pytest.mark.parametrize("payload", [b"", b"\x00" * 5, b"\x00" * 7, b"\x00" * 8])
def test_samples_that_do_not_fit_their_header_are_refused(payload):
    with pytest.raises(RemoteProtocolError, match=r"where its header says \[6\]"):
        SERVER_DATA.decode([GOLDEN["chunk"], payload])


def test_a_chunk_that_promises_more_than_may_be_sent_is_refused():
    header = msgspec.structs.replace(SERVER_DATA.decode([GOLDEN["chunk"], b"\0" * 6])[0], count=1 << 24, channels=64)
    with pytest.raises(RemoteProtocolError, match="at most"):
        SERVER_DATA.decode(encode(header, b""))


@pytest.mark.parametrize("parts", [[], [b"", b"", b""], [GOLDEN["chunk"]], [GOLDEN["pause"], b""]])
def test_parts_that_do_not_belong_are_refused(parts):
    for codec in CODECS:
        with pytest.raises(RemoteProtocolError):
            codec.decode(parts)


def test_another_version_is_recognised_in_a_message_that_cannot_be_read():
    future = msgspec.msgpack.encode({"type": "hello", "protocol_version": 7, "telepathy": True})
    with pytest.raises(VersionMismatch, match=r"version 7 .* version 3"):
        CLIENT_CONTROL.decode([future])
