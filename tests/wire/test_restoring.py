"""The restorer's wire: bytes in both directions, and bounds."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.errors import RemoteProtocolError
from scancontrol.restoration import Provenance
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

PATH = "0" * 32
RESTORE = wire.Restore(request=1, stream="s", frame=2, path_id=PATH, count=3, dtype="<u2")
RESTORED = wire.Restored(
    request=1,
    stream="s",
    frame=2,
    path_id=PATH,
    complete=True,
    rows=1,
    cols=2,
    has_interval=True,
    made_by=Provenance(method="lite", face="faithful", weights_hash="ab", samples_used=3, withheld_rmse=0.5),
    compute_ms=1.0,
    waited_ms=0.0,
)

MESSAGES: list[tuple[object, list[bytes]]] = [
    (wire.Hello(version=1, software="x"), []),
    (wire.Register(path_id=PATH, recipe={"shape": [2, 2]}), []),
    (RESTORE, [b"123456"]),
    (wire.Ping(sequence=9), []),
]


@pytest.mark.parametrize(("message", "payload"), MESSAGES)
def test_what_the_daemon_says_arrives_as_it_was_said(message: wire.DaemonMessage, payload: list[bytes]) -> None:
    assert wire.FROM_DAEMON.decode(encode(message, *payload)) == (message, payload)


def test_a_restoration_arrives_with_where_it_comes_from() -> None:
    images = [np.array([[1, 2]], "<f4"), np.array([[3, 4]], "<f4")]
    message, payload = wire.FROM_RESTORER.decode(encode(RESTORED, *(image.tobytes() for image in images)))
    assert message == RESTORED
    for found, sent in zip(wire.read_images(message, payload), images, strict=True):  # type: ignore[arg-type]
        assert np.array_equal(found, sent)


def test_the_strain_of_a_crystal_comes_behind_the_images() -> None:
    images = [np.array([[1, 2]], "<f4"), np.array([[3, 4]], "<f4")]
    strain = np.arange(8 * 9, dtype="<f4").reshape(8, 3, 3)
    crystal = msgspec.structs.replace(RESTORED, strain_side=3)
    parts = encode(crystal, *(image.tobytes() for image in (*images, strain)))
    message, payload = wire.FROM_RESTORER.decode(parts)
    assert isinstance(message, wire.Restored)
    for found, sent in zip(wire.read_images(message, payload), images, strict=True):
        assert np.array_equal(found, sent)  # type: ignore[arg-type]
    assert np.array_equal(wire.read_strain(message, payload), strain)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        wire.FROM_RESTORER.decode(parts[:-1])


def test_a_ping_is_these_bytes() -> None:
    assert encode(wire.Ping(sequence=9)) == [b"\x82\xa4type\xa4ping\xa8sequence\x09"]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xff" * 10],
        [b"\x81\xa4type\xa4nope"],
        encode(wire.Ping(sequence=1), b"extra"),
        encode(RESTORE, b"12345"),
        encode(msgspec.structs.replace(RESTORE, count=1 << 40, dtype="<f4"), b""),
        encode(msgspec.structs.replace(RESTORE, path_id="no hash", count=0), b""),
        [b"a", b"b", b"c", b"d", b"e"],
    ],
    ids=["nothing", "empty", "noise", "kind", "extra", "short", "huge", "hash", "parts"],
)
def test_what_cannot_be_read_is_a_typed_error_and_nothing_else(parts: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.FROM_DAEMON.decode(parts)


def test_where_a_restoration_comes_from_is_bounded() -> None:
    fields = msgspec.to_builtins(RESTORED)
    fields["made_by"]["method"] = "m" * 5000
    with pytest.raises(RemoteProtocolError):
        wire.FROM_RESTORER.decode([msgspec.msgpack.encode(fields), b"12345678", b"12345678"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_whatever_do_worse_than_a_typed_error(parts: list[bytes]) -> None:
    for codec in (wire.FROM_DAEMON, wire.FROM_RESTORER):
        try:
            codec.decode(parts)
        except RemoteProtocolError:
            continue
