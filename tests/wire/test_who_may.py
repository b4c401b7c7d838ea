"""Who may ask what of a microscope, and when: one operator, any number of observers, holds of the beam."""

from __future__ import annotations

import msgspec
import pytest
from wire_pair import Client, ends, recipe

from scancontrol.wire import messages as m
from scancontrol.wire.framing import encode
from scancontrol.wire.transitions import ClientState, State


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


def test_a_client_of_another_version_is_told_both_versions(pair):
    hello = m.Hello(protocol_version=99, software="x", name="x", role="operator")
    pair.server.receive_control(b"x", encode(hello), pair.now_ns)
    ((_, parts),) = pair.server.control_to_send()
    refused = msgspec.msgpack.decode(parts[0])
    assert refused["code"] == "version"
    assert "99" in refused["message"]
    assert str(m.PROTOCOL_VERSION) in refused["message"]


def test_the_operator_who_lost_the_lease_to_another_is_told(pair, operator):
    operator.alive = False
    pair.turn(1100)
    pair.ready(Client(pair, "bob"))
    operator.alive = True
    pair.until(lambda: operator.protocol.state is ClientState.REFUSED)
    pair.turn(1)
    assert ["operated by 'bob'" in notice.message for notice in operator.of(m.Notice) if notice.kind == "link_lost"]
