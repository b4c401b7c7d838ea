"""What is refused and what is survived: paths, requests twice over, nonsense, instruments that fail, limits."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from wire_pair import CAPABILITIES, Client, Pair, ends, recipe

from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.paths import PathRecipe
from scancontrol.paths.patterns.points import Points
from scancontrol.wire import messages as m
from scancontrol.wire.framing import encode
from scancontrol.wire.uploads import without_positions


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


def test_resume_without_a_pause_is_refused_and_changes_nothing(pair, operator):
    refused = operator.does(m.Resume)
    assert isinstance(refused, m.Refused)
    assert refused.code == "not_now"


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
