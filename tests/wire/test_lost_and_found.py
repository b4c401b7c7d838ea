"""What is lost between the ends is made good: connections, daemons, a microscope, single messages."""

from __future__ import annotations

import random

import pytest
from wire_pair import MS, Client, Pair, ends, recipe

from scancontrol.errors import LocalProtocolError
from scancontrol.wire import messages as m
from scancontrol.wire.client import Chunk
from scancontrol.wire.transitions import ClientState, State


def test_without_credit_the_beam_waits_blanked_and_exposes_nothing_twice(pair):
    operator = pair.ready(Client(pair, window=4))
    path_id = operator.register(recipe())
    operator.reads = False
    operator.scan(path_id)
    pair.turn(20)
    assert pair.server.state is State.WAITING
    assert not pair.instrument.on
    waiting = len(pair.instrument.exposed)
    assert waiting < 256
    pair.turn(50)
    assert len(pair.instrument.exposed) == waiting
    operator.reads = True
    pair.until(lambda: operator.of(m.End))
    assert pair.instrument.exposed == [(0, index) for index in range(256)]
    assert operator.samples() == list(range(256))
    assert operator.pulse.status.starved > 0


def test_when_what_is_not_acknowledged_fills_the_room_the_beam_waits(operator):
    pair = Pair(m.Limits(chunk_samples=16, retained_bytes=64 * 4))  # room for some 8 chunks
    operator = pair.ready(Client(pair))
    operator.acknowledges = False
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(60)
    assert pair.server.state is State.WAITING
    waiting = len(pair.instrument.exposed)
    assert waiting < 256
    assert operator.samples() == list(range(waiting))  # all of it is here, none of it is safe
    operator.protocol.acknowledge(1, 0, waiting)
    operator.acknowledges = True
    pair.until(lambda: operator.of(m.End))
    assert pair.instrument.exposed == [(0, index) for index in range(256)]
    assert operator.samples() == list(range(256))


def test_heartbeats_that_stop_blank_the_beam_and_end_the_frame(pair):
    operator = pair.ready(Client(pair, window=64))
    path_id = operator.register(recipe(256, 256))
    operator.scan(path_id)
    pair.turn(3)
    operator.alive = False  # frozen: its connections stay, it says nothing more
    silent_since = pair.now_ns
    while pair.instrument.on:
        pair.turn(1, ms=10, samples=1)  # so slow that credit does not run out before
    assert 150 * MS < pair.now_ns - silent_since <= 250 * MS
    assert pair.server.state is State.IDLE


def test_samples_held_over_a_lost_connection_come_after_it(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(3)
    operator.alive = False
    pair.turn(300)
    exposed = len(pair.instrument.exposed)
    operator.alive = True
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(exposed))
    assert ends(operator) == [(0, "heartbeat_lost", exposed)]


def test_a_short_break_is_bridged_without_an_end(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(3)
    operator.break_connections()
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(256))
    assert ends(operator) == [(0, "completed", 256)]
    assert pair.instrument.exposed == [(0, index) for index in range(256)]


def test_a_data_connection_replaced_under_the_client_is_attached_again(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(3)
    operator.break_data_connection()
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(256))
    assert pair.instrument.exposed == [(0, index) for index in range(256)]


def test_a_restarted_daemon_gets_what_it_lacks_and_goes_on(pair, operator):
    path_id = operator.register(recipe(32, 32))
    operator.acknowledges = False
    operator.scan(path_id)
    pair.turn(4)
    safe = operator.samples()[:32]
    operator.protocol.acknowledge(1, 0, 32)
    operator.alive = False  # killed
    pair.turn(1100)
    exposed = len(pair.instrument.exposed)
    again = pair.ready(Client(pair, "ada again", have={("s1", 0): 32}))
    pair.until(lambda: again.of(m.End))
    assert safe + again.samples() == list(range(exposed))
    again.register(recipe(32, 32))
    again.scan(path_id, 0, first_index=exposed)
    pair.until(lambda: len(again.of(m.End)) == 2)
    assert pair.instrument.exposed == [(0, index) for index in range(1024)]
    assert safe + again.samples() == list(range(1024))


def test_a_client_that_acknowledges_late_finds_a_chunk_cut_where_it_has_the_front(pair, operator):
    operator.acknowledges = False
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(6)
    operator.alive = False
    pair.turn(1100)
    exposed = len(pair.instrument.exposed)
    again = pair.ready(Client(pair, have={("s1", 0): 21}))  # 21 is within the second chunk
    pair.until(lambda: again.of(m.End))
    assert again.samples() == list(range(21, exposed))


def test_samples_of_a_series_that_nobody_wants_are_let_go_and_counted(pair, operator):
    operator.acknowledges = False
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(4)
    operator.alive = False
    pair.turn(1100)
    other = pair.ready(Client(pair, "bob"))
    pair.turn(5)
    assert other.of(Chunk) == []
    (notice,) = other.of(m.Notice)
    assert notice.kind == "discarded"
    assert notice.message.startswith(str(len(pair.instrument.exposed)))


def test_a_restarted_microscope_ends_every_open_frame(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id, 0)
    operator.scan(path_id, 1)
    pair.turn(3)
    received = len(operator.samples())
    pair.restart_server()
    pair.until(lambda: len(operator.of(m.End)) == 2, turns=3000)
    assert ends(operator) == [(0, "fault", received), (1, "fault", 0)]
    assert "restarted" in operator.of(m.End)[0].message
    pair.until(lambda: operator.protocol.state is ClientState.READY)
    operator.register(recipe())
    operator.scan(path_id, 2)
    pair.until(lambda: len(operator.of(m.End)) == 3)
    assert operator.samples(2) == list(range(256))


def test_lost_doubled_and_swapped_messages_are_mended(pair, operator):
    chance = random.Random(7)
    late: list[list] = []

    def mangle(parts: list) -> list[list]:
        fate = chance.random()
        if fate < 0.2:
            return []
        if fate < 0.4:
            return [parts, parts]
        if fate < 0.6:
            late.append(parts)
            return []
        return [parts, *([late.pop()] if late else [])]

    pair.network.mangle = mangle
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.until(lambda: operator.of(m.End), turns=5000)
    assert operator.samples() == list(range(256))
    assert pair.instrument.exposed == [(0, index) for index in range(256)]
    assert len(operator.of(m.End)) == 1


def test_the_loss_of_the_very_last_message_is_noticed_by_the_heartbeat(pair, operator):
    path_id = operator.register(recipe(4, 4))
    operator.scan(path_id)
    dropped = []

    def mangle(parts: list) -> list[list]:
        if b"end" in bytes(parts[0]) and not dropped:
            dropped.append(parts)
            return []
        return [parts]

    pair.network.mangle = mangle
    pair.until(lambda: operator.of(m.End))
    assert dropped
    assert ends(operator) == [(0, "completed", 16)]


def test_a_client_knows_when_nothing_is_left_to_come(pair, operator):
    def nothing_left() -> bool:
        return operator.protocol.nothing_left(operator.pulse.status)

    path_id = operator.register(recipe())
    operator.reads = False
    operator.scan(path_id)
    for _ in range(300):
        pair.turn(1)
        assert not (nothing_left() and pair.instrument.exposed)
    operator.reads = True
    pair.until(nothing_left)
    assert operator.samples() == list(range(256))
    assert len(operator.of(m.End)) == 1


def test_a_client_that_comes_back_is_told_of_samples_that_another_let_go(pair, operator):
    operator.acknowledges = False
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(4)
    operator.alive = False
    pair.turn(1100)
    other = pair.ready(Client(pair, "bob"))
    other.protocol.close()
    pair.turn(5)
    other.alive = False
    again = pair.ready(Client(pair, "ada", have={("s1", 0): 0}))
    assert again.protocol.lost_samples == len(pair.instrument.exposed)
    assert pair.ready(Client(pair, "eve", "observer")).protocol.lost_samples == 0


def test_a_frame_asked_for_again_begins_where_it_was_asked_for_whatever_an_earlier_process_had(pair, operator):
    path_id = operator.register(recipe())
    operator.alive = False
    pair.turn(1100)
    again = pair.ready(Client(pair, "ada", have={("s1", 0): 16}))
    number = again.ask(m.Scan, series_id=1, series_unique_id="s1", frame=0, path_id=path_id, first_index=64)
    pair.turn(2)
    again.protocol._assembly.expect_no_more(
        m.Scan(request=number, series_id=1, series_unique_id="s1", frame=0, path_id=path_id, first_index=64)
    )
    pair.until(lambda: again.of(m.End))
    assert again.samples() == list(range(64, 256))


def test_a_server_that_ends_owes_samples_to_whoever_did_not_say_goodbye(pair, operator):
    operator.acknowledges = False
    operator.scan(operator.register(recipe()))
    pair.turn(4)
    pair.server.shut_down(pair.now_ns)
    pair.act()
    assert pair.server.owes_samples
    operator.alive = False  # killed, or cut off; perhaps to come back
    pair.turn(1100)
    assert pair.server.owes_samples
    again = pair.ready(Client(pair, have={("s1", 0): 0}))
    again.acknowledges = False
    pair.until(lambda: again.of(m.End))
    assert pair.server.owes_samples
    again.protocol.acknowledge(1, 0, again.of(m.End)[0].next_index)
    pair.until(lambda: not pair.server.owes_samples)
    assert again.samples() == [index for _, index in pair.instrument.exposed]


def test_a_server_that_ends_owes_nothing_to_an_operator_who_took_leave(pair, operator):
    operator.acknowledges = False
    operator.scan(operator.register(recipe()))
    pair.turn(4)
    operator.protocol.close()
    pair.turn(1)
    assert pair.server.retained_bytes > 0
    assert not pair.server.owes_samples


def test_what_was_not_received_cannot_be_acknowledged(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    with pytest.raises(LocalProtocolError, match="acknowledged"):
        operator.protocol.acknowledge(1, 0, 255)
