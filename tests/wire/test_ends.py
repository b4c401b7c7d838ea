"""Both ends together: what a client asks, what the beam does, what the client gets."""

from __future__ import annotations

import numpy as np
import pytest
from wire_pair import ends, recipe

from scancontrol.dose.limits import DoseLimits
from scancontrol.wire import messages as m
from scancontrol.wire.transitions import State


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


def test_pausing_between_frames_holds_the_next_one(pair, operator):
    path_id = operator.register(recipe())
    operator.does(m.Pause)
    operator.scan(path_id)
    pair.turn(20)
    assert pair.instrument.exposed == []
    operator.does(m.Resume)
    pair.until(lambda: operator.of(m.End))
    assert operator.samples() == list(range(256))


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
