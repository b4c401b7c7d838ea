"""Both ends of the restorer's wire together: nothing is lost or told twice, and the newest frame is next, always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from restorer_pair import MS, RestorerPair, path

from restore.process.conversation import Job
from scancontrol.errors import RemoteProtocolError
from scancontrol.restorer.conversation import Conversation
from scancontrol.restorer.requests import Requests
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode


def test_a_path_is_told_once_and_then_only_samples_travel() -> None:
    pair = RestorerPair()
    pair.settle(4)
    sent = []
    for frame in range(3):
        pair.hand_in(frame)
        pair.client_sends()
        sent += [type(wire.FROM_DAEMON.decode([bytes(memoryview(p).cast("B")) for p in m])[0]) for m in pair.to_server]
        pair.settle(8)
    assert sent == [wire.Register, wire.Restore, wire.Restore, wire.Restore]
    assert [frame.frame for frame in pair.restored] == [0, 1, 2]


def test_the_newest_frame_overtakes_everything_that_has_not_been_sent() -> None:
    pair = RestorerPair()
    pair.settle(4)
    for frame in range(5):
        pair.hand_in(frame, keep=True)
        pair.client_sends()
    pair.settle()
    overtaken = [("s.overtaken", frame, True) for frame in (1, 2, 3)]  # a stream that is remembered by itself
    assert pair.orders == [("s", 0, True), ("s", 4, True), *overtaken]


def test_samples_that_were_let_go_are_read_again_when_their_turn_comes() -> None:
    pair = RestorerPair(waiting_bytes=0)
    pair.lost_files = {1}
    for frame in range(4):
        pair.hand_in(frame, keep=True)
    pair.settle()
    assert sorted(frame.frame for frame in pair.restored) == [0, 2, 3]
    assert [(missed.frame, missed.reason) for missed in pair.missed] == [(1, "frame 1 is gone")]
    assert pair.reads == 3


def test_a_path_that_the_restorer_let_go_is_told_anew() -> None:
    pair = RestorerPair()
    pair.hand_in(0)
    pair.settle()
    pair.forget_paths()
    pair.hand_in(1)
    pair.settle()
    assert pair.out == [0, 1]
    assert not pair.missed


def test_frames_along_a_path_that_cannot_be_restored_are_missed_with_its_reason() -> None:
    pair = RestorerPair()
    pair.bad_paths = {path(7).path_id}
    pair.hand_in(0, along=7, keep=True)
    pair.hand_in(1, along=1)
    pair.settle()
    assert [(missed.frame, missed.reason) for missed in pair.missed] == [(0, "too few samples")]
    assert [frame.frame for frame in pair.restored] == [1]


def test_a_path_is_prepared_before_its_first_frame() -> None:
    pair = RestorerPair()
    pair.requests.prepare(path(3))
    pair.settle()
    assert list(pair.known) == [path(3).path_id]


def test_one_that_speaks_another_version_is_given_up_with_its_own_words() -> None:
    conversation = Conversation(Requests(), 0)
    assert conversation.receive(encode(wire.Refused(code="version", text="install the same release")), 0) == []
    assert conversation.problem(0) == "install the same release"


def test_silence_is_given_up_and_pings_are_what_breaks_it() -> None:
    pair = RestorerPair()
    pair.settle(4)
    assert pair.client.problem(pair.now_ns) is None
    for _ in range(30):
        pair.now_ns += 1000 * MS
        pair.settle(4)
        assert pair.client.problem(pair.now_ns) is None
    pair.now_ns += 11_000 * MS
    assert "said nothing for 11 s" in (pair.client.problem(pair.now_ns) or "")


def test_what_cannot_be_read_changes_nothing() -> None:
    pair = RestorerPair()
    pair.settle(4)
    pair.hand_in(0)
    pair.client_sends()
    with pytest.raises(RemoteProtocolError):
        pair.client.receive([b"\xff"], pair.now_ns)
    pair.settle()
    assert pair.out == [0]


def test_restorations_nobody_asked_for_are_ignored() -> None:
    pair = RestorerPair()
    pair.hand_in(0)
    pair.settle()
    header = wire.Restore(request=0, stream="s", frame=0, path_id=path(0).path_id, count=4, dtype="<u2")
    message, image = pair._answer(Job(b"daemon", header, np.zeros(4, "<u2"), 0))  # said once more
    assert pair.client.receive(encode(message, image.tobytes()), pair.now_ns) == []


class Restoring(RuleBasedStateMachine):
    """A daemon that hands in whatever it likes, a network that delivers when it likes, a restorer that dies."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = RestorerPair(waiting_bytes=24)
        self.next = 0
        self.complete: list[int] = []
        self.forgotten: set[int] = set()

    @rule(keep=st.booleans(), along=st.integers(0, 2), stream=st.sampled_from("ab"))
    def frame(self, keep: bool, along: int, stream: str) -> None:
        self.pair.hand_in(self.next, keep=keep, along=along, stream=stream)
        self.complete.append(self.next)
        self.next += 1

    @rule(stream=st.sampled_from("ab"))
    def look(self, stream: str) -> None:
        self.pair.hand_in(self.next, complete=False, stream=stream)

    @rule(number=st.integers(0, 3))
    def prepare(self, number: int) -> None:
        self.pair.requests.prepare(path(number))

    @rule(what=st.lists(st.sampled_from(["client_sends", "server_hears", "work", "client_hears"]), max_size=12))
    def time_passes(self, what: list[str]) -> None:
        for step in what:
            newest, before = list(self.pair.requests._newest.values()), self.pair.requests._out
            getattr(self.pair, step)()
            now = self.pair.requests._out
            if newest and now is not None and now is not before:
                assert now in newest, "an older frame went out before the newest"

    @rule()
    def die(self) -> None:
        self.pair.die()

    @rule()
    def paths_are_let_go(self) -> None:
        self.pair.forget_paths()

    @rule(stream=st.sampled_from("ab"))
    def forget(self, stream: str) -> None:
        before = set(self.complete) - set(self.pair.out) - self.forgotten
        count = self.pair.requests.forget(stream)
        # Whichever they were: as many as it says never come out.
        left = {asked.frame for asked in self._held()}
        gone = before - left
        assert len(gone) == count
        self.forgotten |= gone

    @precondition(lambda self: self.complete)
    @rule()
    def everything_arrives(self) -> None:
        self.pair.settle()
        assert sorted([*self.pair.out, *self.forgotten]) == self.complete
        assert len(self.pair.requests) == 0

    def _held(self) -> list:  # type: ignore[type-arg]
        requests = self.pair.requests
        out = [requests._out] if requests._out is not None and not requests._out_forgotten else []
        return [asked for asked in (*requests._stored, *requests._newest.values(), *out) if asked.complete]

    @invariant()
    def every_complete_frame_is_held_or_came_out_once(self) -> None:
        out = [*self.pair.out, *self.forgotten]
        held = [asked.frame for asked in self._held()]
        assert sorted([*out, *held]) == self.complete

    @invariant()
    def samples_of_stored_frames_are_bounded(self) -> None:
        assert sum(asked.bytes for asked in self.pair.requests._stored) <= 24 + 16

    @invariant()
    def the_restorer_never_has_more_than_it_said_may_wait(self) -> None:
        assert not self.pair.server._closed


Restoring.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRestoring = Restoring.TestCase
