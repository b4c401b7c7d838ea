"""The small parts of the two ends, each for itself: retention, pulse, paths, leases."""

from __future__ import annotations

import msgspec
import pytest
from golden_messages import MESSAGES
from hypothesis import given
from hypothesis import strategies as st
from wire_pair import MS, recipe

from scancontrol.errors import InvalidInput, RemoteProtocolError
from scancontrol.paths import ScanPath
from scancontrol.wire import messages as m
from scancontrol.wire.framing import encode
from scancontrol.wire.pulse import Pulse
from scancontrol.wire.registry import PathRegistry, expand_recipe
from scancontrol.wire.retention import Retention
from scancontrol.wire.sessions import Sessions


def chunk(sequence: int, first: int = 0, count: int = 3, series: str = "s7", frame: int = 2) -> m.ChunkHeader:
    return msgspec.structs.replace(
        MESSAGES["chunk"], sequence=sequence, first_index=first, count=count, series_unique_id=series, frame=frame
    )


def filled(messages: int, limit_bytes: int = 1 << 20, window: int = 8) -> Retention:
    log = Retention(limit_bytes, window)
    for number in range(messages):
        log.append(chunk(number, first=3 * number), memoryview(bytes(6)))
    return log


def sent(log: Retention) -> list[int]:
    return [msgspec.msgpack.decode(parts[0])["sequence"] for parts in log.to_send()]


def test_nothing_is_sent_without_credit_and_no_more_than_it():
    log = filled(6)
    assert sent(log) == []
    log.attach(0, 4)
    assert sent(log) == [0, 1, 2, 3]
    log.acknowledge(0, 5)
    assert sent(log) == [4]


def test_credit_beyond_the_window_is_not_honoured():
    log = filled(20, window=8)
    log.attach(0, 1000)
    assert sent(log) == list(range(8))


def test_what_is_acknowledged_is_forgotten_and_makes_room():
    log = filled(4, limit_bytes=24)
    log.attach(0, 8)
    assert not log.has_room(6)
    sent(log)
    log.acknowledge(3, 8)
    assert (log.first_sequence, log.bytes) == (3, 6)
    assert log.has_room(6)


def test_what_was_never_sent_cannot_be_acknowledged():
    log = filled(4)
    log.attach(0, 2)
    sent(log)
    with pytest.raises(RemoteProtocolError, match="acknowledged"):
        log.acknowledge(3, 8)
    assert log.first_sequence == 0


def test_going_back_sends_the_same_again_but_not_what_is_safe():
    log = filled(4)
    log.attach(0, 8)
    sent(log)
    log.acknowledge(2, 8)
    assert log.rewind(0) == 2
    assert sent(log) == [2, 3]
    with pytest.raises(RemoteProtocolError):
        log.rewind(5)


def test_a_new_client_gets_what_it_lacks_numbered_without_gaps():
    log = Retention(1 << 20, 64)
    log.append(chunk(0, 0, series="old"), memoryview(bytes(6)))
    log.append(chunk(1, 0), memoryview(bytes(6)))
    log.append(chunk(2, 3), memoryview(bytes(6)))
    log.append(chunk(3, 0, frame=3), memoryview(bytes(6)))
    assert log.keep_only({("s7", 2): 3}) == (3, 0)  # samples of the series that nobody wants
    log.attach(log.first_sequence, 8)
    kept = [msgspec.msgpack.decode(parts[0]) for parts in log.to_send()]
    assert [(header["sequence"], header["frame"], header["first_index"]) for header in kept] == [(4, 2, 3), (5, 3, 0)]
    assert log.bytes == 12
    assert log.next_sequence == 6
    assert log.keep_only({("old", 0): 0}) == (6, 3)  # whoever wants it later is told


def test_what_was_sent_may_be_acknowledged_though_it_was_asked_for_again():
    log = filled(6)
    log.attach(0, 4)
    assert sent(log) == [0, 1, 2, 3]
    log.rewind(0)
    log.acknowledge(3, 8)
    assert log.first_sequence == 3
    assert sent(log) == [3, 4, 5]
    with pytest.raises(RemoteProtocolError):
        log.acknowledge(7, 8)


@given(st.lists(st.sampled_from(["append", "ack", "rewind", "attach", "detach", "send"]), max_size=40), st.randoms())
def test_the_bytes_kept_are_always_those_of_what_is_kept(steps, chance):
    log = filled(0, window=5)
    for step in steps:
        if step == "append":
            log.append(chunk(log.next_sequence), memoryview(bytes(6)))
        elif step == "ack":
            log.acknowledge(min(log._cursor, log.first_sequence + chance.randint(0, 3)), log._cursor + 3)
        elif step == "rewind":
            log.rewind(chance.randint(0, log.next_sequence))
        elif step == "attach":
            log.attach(chance.randint(0, log.next_sequence), 4)
        elif step == "detach":
            log.detach()
        else:
            numbers = sent(log)
            assert numbers == sorted(set(numbers))
        assert log.bytes == 6 * (log.next_sequence - log.first_sequence)
        assert log.first_sequence <= log._cursor <= log.next_sequence


# -- pulse ---------------------------------------------------------------------------------------------


def status(number: int, client_ns: int, monotonic_ns: int) -> list:
    return encode(
        msgspec.structs.replace(MESSAGES["status"], number=number, client_ns=client_ns, monotonic_ns=monotonic_ns)
    )


def test_the_heart_beats_at_its_interval_while_its_owner_lives():
    pulse = Pulse("0" * 16, 40 * MS, 200 * MS)
    beats = [now for now in range(0, 1000 * MS, 10 * MS) if pulse.heartbeat(now, owner_alive_ns=now)]
    assert beats == list(range(0, 1000 * MS, 40 * MS))


def test_the_heart_stops_when_its_owner_hangs_and_beats_again_after():
    pulse = Pulse("0" * 16, 40 * MS, 200 * MS)
    beats = [now for now in range(0, 1000 * MS, 40 * MS) if pulse.heartbeat(now, owner_alive_ns=100 * MS)]
    assert max(beats) <= 300 * MS
    assert pulse.heartbeat(1000 * MS, owner_alive_ns=1000 * MS)


@given(
    offset=st.integers(0, 10**12),
    trips=st.lists(st.tuples(st.integers(1, 50 * MS), st.integers(1, 50 * MS)), min_size=1, max_size=20),
)
def test_the_clock_offset_is_within_its_stated_bound_whatever_the_delays(offset, trips):
    pulse = Pulse("0" * 16, 0, 1 << 62)
    now = 10**12
    for number, (there, back) in enumerate(trips, 1):
        assert pulse.heartbeat(now, now)
        pulse.receive(status(number, now, now + there + offset), now + there + back)
        now += there + back
    assert abs(pulse.clock_offset_ns - offset) <= pulse.clock_error_ns
    assert pulse.clock_error_ns <= min(there + back for there, back in trips) // 2 + 1


@pytest.mark.parametrize("parts", [[b"\xc1"], [], encode(MESSAGES["done"]), status(99, 0, 0), status(1, 1 << 60, 0)])
def test_answers_that_are_none_change_nothing(parts):
    pulse = Pulse("0" * 16, 0, 1 << 62)
    pulse.heartbeat(1000, 1000)
    pulse.receive(parts, 2000)
    assert pulse.clock_offset_ns is None
    assert pulse.status is None


# -- paths ---------------------------------------------------------------------------------------------


def paths(count: int) -> list[ScanPath]:
    return [ScanPath(recipe(dwell_us=float(number + 1))) for number in range(count)]


def test_the_least_recently_used_path_goes_first_and_one_in_use_stays():
    registry = PathRegistry(2)
    first, second, third, fourth = paths(4)
    registry.add(first, frozenset())
    registry.add(second, frozenset())
    registry.get(first.path_id)
    registry.add(third, frozenset())
    assert second.path_id not in registry
    registry.add(fourth, frozenset({first.path_id}))
    assert first.path_id in registry
    assert len(registry) == 2


def test_a_path_longer_than_the_microscope_takes_is_refused():
    asked = recipe(64, 64)
    with pytest.raises(InvalidInput, match=r"path samples = 4096 is above the microscope's limit, 1000"):
        expand_recipe(asked.path_id, msgspec.to_builtins(asked), 1000)


# -- leases --------------------------------------------------------------------------------------------


def hello(name: str, role: str = "operator", session: str | None = None) -> m.Hello:
    return m.Hello(protocol_version=1, software="t", name=name, role=role, session=session)


def test_observers_are_bounded_and_an_observer_long_silent_is_forgotten():
    numbers = iter(range(10**6))
    sessions = Sessions(m.Limits(), lambda: f"{next(numbers):016x}", observers=3)
    for number in range(3):
        assert not isinstance(sessions.greet(hello("o", "observer"), bytes([number]), 0), m.Refused)
    assert isinstance(sessions.greet(hello("o", "observer"), b"x", 0), m.Refused)
    assert len(sessions.expired(11 * 10**9)) == 3


def test_an_observer_cannot_take_up_an_operators_session():
    numbers = iter(range(10**6))
    sessions = Sessions(m.Limits(), lambda: f"{next(numbers):016x}")
    operator, _ = sessions.greet(hello("ada"), b"a", 0)
    other, resumed = sessions.greet(hello("eve", "observer", operator.token), b"e", 0)
    assert not resumed
    assert not other.operator
    assert sessions.at(b"a") is operator
