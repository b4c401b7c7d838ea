"""Both ends together: what a client asks, what the beam does, what the client gets."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from wire_pair import CAPABILITIES, MS, Client, Pair, recipe

from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput, LocalProtocolError
from scancontrol.paths import PathRecipe
from scancontrol.paths.patterns.points import Points
from scancontrol.wire import messages as m
from scancontrol.wire.client import Chunk
from scancontrol.wire.framing import encode
from scancontrol.wire.transitions import ClientState, State
from scancontrol.wire.uploads import without_positions


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def operator(pair: Pair) -> Client:
    return pair.ready(Client(pair))


def ends(client: Client) -> list[tuple[int, str, int]]:
    return [(end.frame, end.reason, end.next_index) for end in client.of(m.End)]


def test_the_beam_is_blanked_on_power_up(pair):
    pair.act()
    assert pair.instrument.blanks == 1
    assert not pair.server.beam_on


def test_a_frame_comes_whole_in_order_and_ends_completed(pair, operator):
    path_id = operator.register(recipe())
    assert isinstance(operator.scan(path_id), m.Done)
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(256))
    assert ends(operator) == [(0, "completed", 256)]
    assert [type(event) for event in operator.seen[:1]] == [m.Start]
    assert operator.of(m.End)[0].electrons == pytest.approx(256 * 100.0)
    assert pair.server.state is State.IDLE
    assert not pair.instrument.on


def test_queued_frames_follow_without_a_blank_between(pair, operator):
    path_id = operator.register(recipe())
    for frame in range(3):
        operator.scan(path_id, frame)
    blanks = pair.instrument.blanks
    pair.until(lambda: len(operator.of(m.End)) == 3)
    assert pair.instrument.begins == [(0, 0), (1, 0), (2, 0)]
    assert pair.instrument.blanks == blanks + 1  # once, after the last
    assert [operator.samples(frame) for frame in range(3)] == [list(range(256))] * 3


def test_pause_blanks_within_a_chunk_and_resume_goes_on_at_the_next_sample(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(3)
    assert isinstance(operator.does(m.Pause), m.Done)
    assert not pair.instrument.on
    exposed = len(pair.instrument.exposed)
    pair.turn(20)
    assert len(pair.instrument.exposed) == exposed
    assert len(operator.samples()) == exposed
    assert isinstance(operator.does(m.Resume), m.Done)
    pair.until(lambda: operator.of(m.End))
    assert pair.instrument.begins[-1] == (0, exposed)
    assert pair.instrument.exposed == [(0, index) for index in range(256)]
    assert operator.samples() == list(range(256))


def test_abort_ends_the_running_frame_and_the_queued_ones(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id, 0)
    operator.scan(path_id, 1)
    pair.turn(3)
    operator.does(m.Abort, reason="enough")
    pair.until(lambda: len(operator.of(m.End)) == 2)
    exposed = len(pair.instrument.exposed)
    assert ends(operator) == [(0, "aborted", exposed), (1, "aborted", 0)]
    assert operator.of(m.End)[0].message == "enough"
    assert operator.samples() == list(range(exposed))
    assert not pair.instrument.on


def test_what_was_exposed_and_not_read_when_the_beam_is_blanked_still_counts(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    operator.ask(m.Abort, reason="")
    pair.turn(1, samples=40)  # 40 samples lie in the instrument when the abort comes
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(40))
    assert ends(operator) == [(0, "aborted", 40)]


def test_a_frame_whose_last_sample_was_out_before_the_abort_is_completed(pair, operator):
    path_id = operator.register(recipe(4, 4))
    operator.scan(path_id)
    operator.ask(m.Abort, reason="")
    pair.turn(1, samples=16)
    pair.until(lambda: operator.of(m.End))
    assert ends(operator) == [(0, "completed", 16)]


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


def test_a_second_operator_is_refused_with_the_name_of_the_first(pair, operator):
    second = Client(pair, "bob")
    pair.until(lambda: second.protocol.state is ClientState.REFUSED)
    assert second.protocol.refused.code == "lease_held"
    assert second.protocol.refused.holder == "ada"


def test_an_abandoned_lease_expires(pair, operator):
    operator.alive = False
    pair.turn(pair.limits.lease_ms + 5)
    pair.ready(Client(pair, "bob"))


def test_a_path_registered_while_the_lease_expires_is_asked_for_again_and_a_scan_is_not(pair, operator):
    path_id = operator.register(recipe())
    session = operator.protocol.welcome.session
    operator.alive = False
    pair.turn(pair.limits.lease_ms + 5, samples=0)
    register = operator.ask(m.Register, path_id=recipe(8).path_id, recipe=msgspec.to_builtins(recipe(8)))
    scan = operator.ask(
        m.Scan,
        series_id=1,
        series_unique_id="s1",
        frame=0,
        path_id=path_id,
        first_index=0,
        area="",
        most_electrons=None,
    )
    operator.alive = True
    pair.turn(50, samples=0)
    assert operator.protocol.welcome.session != session
    assert isinstance(operator.protocol.answer(register), m.Done)
    assert operator.protocol.answer(scan).code == "no_session"
    assert operator.scan(recipe(8).path_id) is not None
    pair.until(lambda: ends(operator) == [(0, "completed", 8 * 16)])


def test_a_lease_given_back_is_free_at_once(pair, operator):
    operator.protocol.close()
    pair.turn(1)
    operator.alive = False
    second = Client(pair, "bob")
    pair.until(lambda: second.protocol.state is ClientState.READY, turns=5)


def test_observers_are_unlimited_and_cannot_scan_but_can_blank(pair, operator):
    observers = [pair.ready(Client(pair, f"observer {number}", "observer")) for number in range(20)]
    path_id = operator.register(recipe())
    refused = observers[0].scan(path_id)
    assert isinstance(refused, m.Refused)
    assert refused.code == "not_operator"
    operator.scan(path_id)
    pair.turn(3)
    assert pair.instrument.on
    assert isinstance(observers[7].does(m.Blank, name="observer 7"), m.Done)
    assert not pair.instrument.on
    pair.until(lambda: operator.of(m.End))
    assert operator.of(m.End)[0].reason == "operator_blank"
    assert any(notice.kind == "blanked" and "observer 7" in notice.message for notice in operator.of(m.Notice))


def test_an_emergency_blank_needs_no_hello(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    pair.network.to_server.append(("control", b"stranger", encode(m.Blank(request=1, name="passer-by"))))
    pair.turn(1)
    assert not pair.instrument.on
    assert pair.server.state is State.HELD


def test_a_held_beam_takes_no_scan_until_the_operator_lets_go(pair, operator):
    path_id = operator.register(recipe())
    operator.does(m.SetBlanker, state="blank")
    refused = operator.scan(path_id)
    assert isinstance(refused, m.Refused)
    assert refused.code == "beam_held"
    assert isinstance(operator.does(m.SetBlanker, state="auto"), m.Done)
    assert isinstance(operator.scan(path_id), m.Done)


def test_a_hold_is_ended_by_nobody_who_has_not_seen_the_last_blank(pair, operator):
    path_id = operator.register(recipe())
    operator.does(m.Blank)
    pair.turn(60)
    seen = operator.pulse.status.blanks
    assert seen == 1
    pair.network.to_server.append(("control", b"stranger", encode(m.Blank(request=1, name="passer-by"))))
    pair.turn(1)
    refused = operator.does(m.SetBlanker, state="auto", hold=seen)
    assert isinstance(refused, m.Refused)
    assert refused.code == "beam_held"
    assert operator.scan(path_id).code == "beam_held"
    pair.turn(60)
    assert isinstance(operator.does(m.SetBlanker, state="auto", hold=operator.pulse.status.blanks), m.Done)
    assert isinstance(operator.scan(path_id), m.Done)


@pytest.mark.parametrize("kind", ["register", "scan", "resume", "auto"])
def test_what_would_light_the_beam_is_never_sent_after_it_was_taken_back(pair, operator, kind):
    path_id = operator.register(recipe())
    operator.break_connections()
    other = recipe(8, 8)
    fields = {
        "register": (m.Register, {"path_id": other.path_id, "recipe": msgspec.to_builtins(other)}),
        "scan": (m.Scan, {"series_id": 1, "series_unique_id": "s1", "frame": 0, "path_id": path_id}),
        "resume": (m.Resume, {}),
        "auto": (m.SetBlanker, {"state": "auto"}),
    }[kind]
    number = operator.ask(fields[0], **fields[1])
    pause = operator.ask(m.Pause)
    operator.protocol.withdraw_lights()
    sent: list[str] = []
    receive = pair.server.receive_control
    pair.server.receive_control = lambda connection, parts, now: (
        sent.append(msgspec.msgpack.decode(parts[0])["type"]),
        receive(connection, parts, now),
    )[1]
    pair.turn(3000)
    assert isinstance(operator.protocol.answer(number), m.Refused)
    assert isinstance(operator.protocol.answer(pause), m.Done)
    assert fields[0].__struct_config__.tag not in sent
    assert not pair.instrument.exposed


def test_the_beam_cannot_be_unblanked_while_nothing_is_collected(pair, operator):
    refused = operator.does(m.SetBlanker, state="unblank")
    assert isinstance(refused, m.Refused)
    assert not pair.instrument.on


def test_a_path_whose_recipe_has_another_hash_is_refused(pair, operator):
    answer = operator.does(m.Register, path_id="0" * 32, recipe=msgspec.to_builtins(recipe()))
    assert isinstance(answer, m.Refused)
    assert answer.code == "path_mismatch"
    unknown = operator.scan("0" * 32)
    assert isinstance(unknown, m.Refused)
    assert unknown.code == "unknown_path"


def test_a_recipe_that_cannot_be_is_refused_with_quantity_limit_and_remedy(pair, operator):
    wrong = msgspec.to_builtins(recipe()) | {"dwell_us": -1.0}
    answer = operator.does(m.Register, path_id=recipe().path_id, recipe=wrong)
    assert isinstance(answer, m.Refused)
    assert answer.code == "invalid"
    assert answer.quantity == "dwell_us"
    assert answer.remedy


def test_paths_beyond_the_bound_are_forgotten_least_recently_used_first():
    pair = Pair(m.Limits(chunk_samples=16, registered_paths=2))
    operator = pair.ready(Client(pair))
    first, second, third = (operator.register(recipe(dwell_us=float(dwell))) for dwell in (1, 2, 3))
    assert operator.scan(first).code == "unknown_path"
    assert isinstance(operator.scan(third), m.Done)
    assert isinstance(operator.scan(second, 1), m.Done)


def test_a_request_sent_again_is_answered_again_and_not_done_again(pair, operator):
    path_id = operator.register(recipe())
    scan = m.Scan(request=77, series_id=1, series_unique_id="s1", frame=0, path_id=path_id)
    for _ in range(3):
        pair.network.to_server.append(("control", operator.control, encode(scan)))
    pair.until(lambda: operator.of(m.End))
    pair.turn(20)
    assert pair.instrument.exposed == [(0, index) for index in range(256)]
    assert len(operator.of(m.Start)) == 1


def test_more_scans_than_the_queue_holds_are_refused(pair, operator):
    path_id = operator.register(recipe())
    answers = [operator.scan(path_id, frame) for frame in range(6)]
    assert [answer.code for answer in answers if isinstance(answer, m.Refused)] == ["queue_full"]


def test_a_frame_that_is_open_cannot_be_asked_for_twice(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    again = operator.scan(path_id)
    assert isinstance(again, m.Refused)
    assert "open already" in again.message


def test_nonsense_from_a_stranger_is_told_and_changes_nothing(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    for parts in ([b""], [b"\xc1"], [b"x" * 10], [b"\x80", b"\x80"], []):
        pair.server.receive_control(b"stranger", parts, pair.now_ns)
        pair.server.receive_data(b"stranger", parts, pair.now_ns)
    refusals = [parts for connection, parts in pair.server.control_to_send() if connection == b"stranger"]
    assert len(refusals) == 5
    assert pair.instrument.on
    pair.until(lambda: operator.of(m.End))
    assert ends(operator) == [(0, "completed", 256)]


def test_nonsense_from_the_operator_blanks_the_beam(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    pair.server.receive_control(operator.control, [b"\xc1"], pair.now_ns)
    pair.server.control_to_send()
    pair.act()
    assert not pair.instrument.on
    pair.until(lambda: operator.of(m.End))
    assert operator.of(m.End)[0].reason == "fault"
    assert "protocol error" in operator.of(m.End)[0].message


def test_an_instrument_that_raises_ends_the_frame_with_its_message(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    pair.server.failed("OSError: the cable is out", pair.now_ns)
    pair.until(lambda: operator.of(m.End))
    assert not pair.instrument.on
    assert (operator.of(m.End)[0].reason, operator.of(m.End)[0].message) == ("fault", "OSError: the cable is out")


def test_an_overrun_has_its_own_reason(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    pair.server.failed("lost 12 samples", pair.now_ns, overrun=True)
    pair.until(lambda: operator.of(m.End))
    assert operator.of(m.End)[0].reason == "overrun"


@pytest.mark.parametrize("when", ["while it is being blanked", "once it is blanked", "after the end was heard"])
@pytest.mark.parametrize("overrun", [False, True])
def test_what_cuts_a_frame_off_starts_nothing_that_was_queued_or_on_its_way(pair, operator, overrun, when):
    path_id = operator.register(recipe())
    operator.scan(path_id, 0)
    operator.scan(path_id, 1)
    pair.turn(2)
    wanted = {"series_id": 1, "series_unique_id": "s1", "frame": 2, "path_id": path_id}
    number = operator.ask(m.Scan, **wanted)  # nobody has heard of anything yet
    (on_its_way,) = operator.protocol.control_to_send()
    pair.server.failed("the high tension tripped", pair.now_ns, overrun=overrun)
    if when == "once it is blanked":
        pair.act()
    elif when == "after the end was heard":
        pair.until(lambda: len(operator.of(m.End)) == 2)
    pair.server.receive_control(operator.control, [bytes(part) for part in on_its_way], pair.now_ns)
    pair.turn(60)
    answer = operator.protocol.answer(number)
    reason = "overrun" if overrun else "fault"
    assert [end[:2] for end in ends(operator)][:2] == [(0, reason), (1, reason)]
    if when == "while it is being blanked":  # it is queued, and ended with the others
        assert ends(operator)[2:] == [(2, reason, 0)]
    else:
        assert (answer.code, answer.message.split(":")[0]) == (
            "not_now",
            "frame 2 was asked for before it was heard that a frame was cut off",
        )
    assert pair.instrument.begins == [(0, 0)]
    assert isinstance(operator.scan(path_id, 2), m.Done)  # whoever knows may go on
    pair.until(lambda: operator.samples(2) == list(range(256)))


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


def test_the_end_of_the_server_ends_every_scan(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id, 0)
    operator.scan(path_id, 1)
    pair.turn(2)
    pair.server.shut_down(pair.now_ns)
    pair.until(lambda: len(operator.of(m.End)) == 2)
    assert [end.reason for end in operator.of(m.End)] == ["shutdown", "shutdown"]
    assert not pair.instrument.on
    assert operator.scan(path_id, 2).code == "not_now"


def test_a_scan_that_would_pass_the_session_limit_is_refused_and_says_what_fits():
    pair = Pair(dose_limits=DoseLimits(session_electrons=10_000.0))
    operator = pair.ready(Client(pair))
    path_id = operator.register(recipe())  # 256 samples of 1 µs at 20 pA are 32 000 electrons
    refused = operator.scan(path_id)
    assert isinstance(refused, m.Refused)
    assert refused.code == "dose_limit"
    assert "session dose" in refused.quantity
    assert pair.instrument.exposed == []


def test_a_beam_stronger_than_stated_trips_before_the_limit_is_passed():
    limit = 40_000.0
    pair = Pair(dose_limits=DoseLimits(session_electrons=limit), electrons_per_sample=400.0)
    operator = pair.ready(Client(pair))
    path_id = operator.register(recipe())
    assert isinstance(operator.scan(path_id), m.Done)
    pair.until(lambda: operator.of(m.End))
    (end,) = operator.of(m.End)
    assert end.reason == "dose_limit"
    assert len(pair.instrument.exposed) * 400.0 <= limit
    assert not pair.instrument.on


def test_a_client_of_another_version_is_told_both_versions(pair):
    hello = m.Hello(protocol_version=99, software="x", name="x", role="operator")
    pair.server.receive_control(b"x", encode(hello), pair.now_ns)
    ((_, parts),) = pair.server.control_to_send()
    refused = msgspec.msgpack.decode(parts[0])
    assert refused["code"] == "version"
    assert "99" in refused["message"]
    assert str(m.PROTOCOL_VERSION) in refused["message"]


def test_what_was_not_received_cannot_be_acknowledged(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    with pytest.raises(LocalProtocolError, match="acknowledged"):
        operator.protocol.acknowledge(1, 0, 255)


def test_pausing_between_frames_holds_the_next_one(pair, operator):
    path_id = operator.register(recipe())
    operator.does(m.Pause)
    operator.scan(path_id)
    pair.turn(20)
    assert pair.instrument.exposed == []
    operator.does(m.Resume)
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(256))


def test_resume_without_a_pause_is_refused_and_changes_nothing(pair, operator):
    refused = operator.does(m.Resume)
    assert isinstance(refused, m.Refused)
    assert refused.code == "not_now"


def test_electrons_without_a_sample_count_and_leave_no_gap(pair, operator):
    pair.dose_limits = DoseLimits(area_e_per_a2=1e9)
    operator.scan(operator.register(recipe()))
    pair.turn(1, samples=0)
    pair.turn(2, samples=16)
    pair.server.exposed(np.zeros((1, 0), "<u2"), 70.0, 0, pair.now_ns)
    operator.does(m.Abort)
    pair.until(lambda: operator.of(m.End))
    (end,) = operator.of(m.End)
    assert end.electrons == pytest.approx(100.0 * end.samples + 70.0)
    assert len(operator.samples()) == end.samples == end.next_index


def test_a_blanker_in_trouble_is_shown_as_beam_on_and_nothing_new_is_accepted(pair, operator):
    path_id = operator.register(recipe())
    operator.scan(path_id)
    pair.turn(2)
    pair.server.beam_trouble("cannot blank: the valve sticks", pair.now_ns)
    pair.turn(100, samples=0)
    (end,) = operator.of(m.End)
    assert (end.reason, end.message) == ("fault", "cannot blank: the valve sticks")
    assert operator.pulse.status.beam_on
    assert operator.pulse.status.beam_fault == "cannot blank: the valve sticks"
    refused = operator.scan(path_id, frame=1)
    assert (refused.code, "may be on" in refused.message) == ("not_now", True)
    pair.server.beam_trouble("", pair.now_ns)
    assert isinstance(operator.scan(path_id, frame=2), m.Done)
    pair.until(lambda: not operator.pulse.status.beam_fault)


@pytest.mark.parametrize(
    ("values", "electrons", "monotonic_ns", "said"),
    [
        (np.zeros((2, 4), "<u2"), 1.0, 0, "shape"),
        (np.zeros(4, "<u2"), 1.0, 0, "shape"),
        (np.zeros((1, 4), "<f4"), 1.0, 0, "type <f4, and states <u2"),
        (np.zeros((1, 17), "<u2"), 1.0, 0, "17 samples where at most 16"),
        (np.zeros((1, 4), "<u2"), float("nan"), 0, "nan electrons"),
        (np.zeros((1, 4), "<u2"), None, 0, "None electrons"),
        (np.zeros((1, 4), "<u2"), 1.0, -1, "time of -1"),
        ([1, 2], 1.0, 0, "list"),
    ],
)
def test_a_block_that_cannot_be_ends_the_frame_and_is_not_sent(pair, operator, values, electrons, monotonic_ns, said):
    operator.scan(operator.register(recipe()))
    pair.turn(1, samples=0)
    pair.server.exposed(values, electrons, monotonic_ns, pair.now_ns)
    pair.until(lambda: operator.of(m.End))
    (end,) = operator.of(m.End)
    assert end.reason == "fault"
    assert said in end.message
    assert not pair.instrument.on


def test_the_operator_who_lost_the_lease_to_another_is_told(pair, operator):
    operator.alive = False
    pair.turn(1100)
    pair.ready(Client(pair, "bob"))
    operator.alive = True
    pair.until(lambda: operator.protocol.state is ClientState.REFUSED)
    pair.turn(1)
    assert ["operated by 'bob'" in notice.message for notice in operator.of(m.Notice) if notice.kind == "link_lost"]


def own_path(points: int) -> PathRecipe:
    rng = np.random.default_rng(1)
    return PathRecipe(pattern=Points.from_array(rng.random((points, 2))), shape=(64, 64), fov_nm=100.0, dwell_us=1.0)


@pytest.mark.parametrize("points", [10, 5_000, 60_000])
def test_an_operators_own_path_comes_in_pieces_and_is_the_same_path(pair, operator, points):
    made = own_path(points)
    fields = msgspec.to_builtins(made, builtin_types=(bytes,))
    longest = 0
    send = pair.server.receive_control

    def receive(connection, parts, now_ns):
        nonlocal longest
        longest = max(longest, len(parts[0]))
        send(connection, parts, now_ns)

    pair.server.receive_control = receive
    number = operator.ask(m.Register, path_id=made.path_id, recipe=fields)
    pair.until(lambda: (answer := operator.protocol.answer(number)) and isinstance(answer, m.Done))
    assert longest <= 64 << 10
    assert pair.server._paths.get(made.path_id).recipe == made
    assert operator.protocol._positions == {}


def test_pieces_survive_a_lost_connection(pair, operator):
    made = own_path(60_000)
    number = operator.ask(m.Register, path_id=made.path_id, recipe=msgspec.to_builtins(made, builtin_types=(bytes,)))
    pair.turn(2)
    operator.break_connections()
    pair.until(lambda: (answer := operator.protocol.answer(number)) and isinstance(answer, m.Done), turns=3000)


def test_an_observers_path_and_its_pieces_are_not_looked_at(pair, operator):
    observer = pair.ready(Client(pair, "eve", "observer"))
    made = own_path(5_000)
    answer = observer.does(m.Register, path_id=made.path_id, recipe=msgspec.to_builtins(made, builtin_types=(bytes,)))
    assert answer.code == "not_operator"
    pair.server.receive_control(observer.control, encode(m.Piece(path_id=made.path_id, offset=0, data=b"x")), 0)
    assert not pair.server._registrations.uploading
    assert pair.server.actions() == []


def test_more_positions_than_were_announced_are_refused(pair, operator):
    made = own_path(5_000)
    fields, data = without_positions(msgspec.to_builtins(made, builtin_types=(bytes,)))
    register = m.Register(request=9_000, path_id=made.path_id, recipe=fields, data_bytes=len(data) - 8)
    pair.server.receive_control(operator.control, encode(register), pair.now_ns)
    for offset in range(0, len(data), m.PIECE_BYTES):
        piece = m.Piece(path_id=made.path_id, offset=offset, data=data[offset : offset + m.PIECE_BYTES])
        pair.server.receive_control(operator.control, encode(piece), pair.now_ns)
    answers = [msgspec.msgpack.decode(parts[0]) for _, parts in pair.server.control_to_send()]
    assert [answer["code"] for answer in answers if answer["type"] == "refused"] == ["malformed"]


def test_a_large_message_before_a_hello_is_not_even_decoded(pair):
    large = m.Register(request=1, path_id="0" * 32, recipe={"x": [0] * 100_000})
    pair.server.receive_control(b"stranger", encode(large), pair.now_ns)
    ((_, parts),) = pair.server.control_to_send()
    assert "the limit is 65536" in msgspec.msgpack.decode(parts[0])["message"]


def test_the_limit_that_the_microscope_states_holds_where_the_server_names_others():
    stated = msgspec.structs.replace(CAPABILITIES, dose_limit_e_per_a2=3.0)
    assert DoseGuard(DoseLimits(session_electrons=1e9), stated).limits.area_e_per_a2 == 3.0


@pytest.mark.parametrize("wrong", [{"dead_man_ms": 240}, {"heartbeat_ms": 100}, {"chunk_samples": 0}, {"lease_ms": 50}])
def test_limits_that_would_not_be_safe_are_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        m.Limits(**wrong)


def test_a_request_replayed_after_hundreds_of_others_is_recognised_and_not_done_again(pair, operator):
    path_id = operator.register(recipe())
    number = operator.ask(m.Scan, series_id=1, series_unique_id="s1", frame=0, path_id=path_id)
    replayed = encode(operator.protocol._unanswered[number])
    pair.until(lambda: operator.of(m.End))
    for _ in range(200):
        operator.does(m.Pause)
        operator.does(m.Resume)
    exposed = len(pair.instrument.exposed)
    pair.server.receive_control(operator.control, replayed, pair.now_ns)
    (answer,) = [msgspec.msgpack.decode(parts[0]) for _, parts in pair.server.control_to_send()]
    assert (answer["code"], answer["message"]) == ("not_now", f"request {number} was answered before")
    pair.turn(20)
    assert len(pair.instrument.exposed) == exposed
