"""Who of several restorers does what, without a socket: streams stay, paths are known, the dead are replaced."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from restorer_pair import welcome

from restore.process.conversation import Conversations, Job
from restore.process.desk import NOBODY, Desk
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

PATH = "0" * 32


class Office:
    """A desk whose restorers know paths, restore at once when told to, and die when told to."""

    def __init__(self, restorers: int, room: int = 1) -> None:
        self.conversations = Conversations(welcome("m"))
        self.room = room
        self.desk = Desk(self.conversations, [room] * restorers)
        self.at_work: dict[int, list[Job]] = {}
        self.known: list[set[str]] = [set() for _ in range(restorers)]
        self.did: list[tuple[int, str, int]] = []  # restorer, stream, frame
        self.refused: list[wire.Refused] = []

    def ask(self, stream: str, frame: int) -> None:
        header = wire.Restore(request=frame, stream=stream, frame=frame, path_id=PATH, count=2, dtype="<u2")
        self.conversations.receive(b"a", encode(header, np.zeros(2, "<u2").tobytes()), 0)

    def register(self) -> None:
        self.conversations.receive(b"a", encode(wire.Register(path_id=PATH, recipe={})), 0)

    def begin(self) -> None:
        while (begun := self.desk.next()) is not None:
            restorer, job = begun
            in_hand = self.at_work.setdefault(restorer, [])
            in_hand.append(job)
            assert len(in_hand) <= self.room
            assert len(in_hand) == 1 or not any(one.trials for one in in_hand), "who killed one is alone"

    def end(self, restorer: int) -> None:
        job = self.at_work[restorer].pop(0)
        if not self.at_work[restorer]:
            del self.at_work[restorer]
        message = job.message
        answer: wire.RestorerMessage
        if isinstance(message, wire.Register):
            self.known[restorer].add(message.path_id)
            answer = wire.Registered(path_id=PATH, count=2, rows=1, cols=2, method="m", restore_ms=1.0, beam_ms=1.0)
        else:
            assert message.path_id in self.known[restorer], "no frame of a path that it does not know"
            self.did.append((restorer, message.stream, message.frame))
            answer = wire.Refused(code="failed", text="no picture", request=message.request)
        self.desk.done(restorer, job, answer)
        if job.client != NOBODY:
            self.conversations.done(job, answer)
        self.begin()

    def die(self, restorer: int) -> None:
        self.known[restorer].clear()
        if self.at_work.pop(restorer, None):
            self.desk.lost(restorer)
        self.begin()

    def end_of_learning(self) -> None:
        self.begin()
        while any(job.client == NOBODY for jobs in self.at_work.values() for job in jobs):
            self.end(min(self.at_work))

    def refused_of(self, request: int) -> str:
        self.answers()
        return "; ".join(message.text for message in self.refused if message.request == request)

    def settle(self) -> None:
        self.begin()
        while self.at_work:
            self.end(min(self.at_work))

    def answers(self) -> Counter[int | None]:
        told = [wire.FROM_RESTORER.decode(parts)[0] for _, parts in self.conversations.data_to_send()]
        self.refused += [message for message in told if isinstance(message, wire.Refused)]
        return Counter(message.request for message in told if isinstance(message, wire.Refused))


def test_streams_are_shared_out_and_each_stays_where_it_began() -> None:
    office = Office(2)
    office.register()
    office.settle()
    for frame in range(6):
        office.ask("one", frame)
        office.ask("two", 100 + frame)
        office.settle()
    by_stream = {stream: {restorer for restorer, of, _ in office.did if of == stream} for stream in ("one", "two")}
    assert sorted(map(list, by_stream.values())) == [[0], [1]]


def test_two_streams_are_restored_at_the_same_time_and_frames_of_one_in_their_order() -> None:
    office = Office(2)
    office.register()
    office.settle()
    office.ask("one", 0)
    office.ask("one", 1)
    office.ask("two", 10)
    office.begin()
    assert len(office.at_work) == 2, "the second stream does not wait for the first one's next frame"
    office.settle()
    assert [frame for _, stream, frame in office.did if stream == "one"] == [0, 1]


def test_a_dead_ones_streams_and_its_job_are_taken_over_and_it_learns_the_paths_when_it_is_back() -> None:
    office = Office(2)
    office.register()
    office.settle()
    office.ask("one", 0)
    office.begin()
    (dead,) = office.at_work
    office.die(dead)
    office.settle()
    assert office.did == [(1 - dead, "one", 0)]
    office.desk.back(dead)
    office.settle()
    assert office.known[dead] == {PATH}
    office.ask("two", 1)
    office.settle()
    assert office.did[-1] == (dead, "two", 1), "the one that is back has the fewest streams"


def test_a_frame_that_ends_two_restorers_is_refused_and_the_third_lives() -> None:
    office = Office(3)
    office.register()
    office.settle()
    office.ask("one", 7)
    office.begin()
    for _ in range(2):
        (restorer,) = office.at_work
        office.die(restorer)
    assert not office.at_work
    assert office.answers()[7] == 1
    assert "2 restorers ended over it" in office.refused[-1].text


def test_a_frame_that_kills_takes_those_that_were_in_hand_with_it_only_once() -> None:
    office = Office(1, room=4)
    office.register()
    office.settle()
    for frame in range(3):
        office.ask("one", frame)
    office.begin()
    assert len(office.at_work[0]) == 3
    office.die(0)
    office.desk.back(0)
    office.end_of_learning()
    assert len(office.at_work[0]) == 1, "each of them is tried by itself"
    office.die(0)
    office.desk.back(0)
    office.settle()
    assert [frame for *_, frame in office.did] == [1, 2]
    assert "2 restorers ended over it" in office.refused_of(0)


@given(
    st.sampled_from([1, 3]),
    st.lists(st.sampled_from(["ask one", "ask two", "register", "end", "die", "back"]), max_size=60),
    st.data(),
)
def test_every_frame_is_answered_once_whatever_dies(room: int, steps: list[str], data: st.DataObject) -> None:
    office = Office(3, room)
    office.register()
    office.settle()
    asked, dead = 0, set()
    for step in steps:
        if step.startswith("ask") and len(office.at_work) < 3:
            office.ask(step[4:], asked)
            asked += 1
            office.begin()
        elif step == "register" and not office.at_work:
            office.register()
            office.begin()
        elif step == "end" and office.at_work:
            office.end(data.draw(st.sampled_from(sorted(office.at_work))))
        elif step == "die" and office.at_work and len(dead) < 2:
            restorer = data.draw(st.sampled_from(sorted(office.at_work)))
            dead.add(restorer)
            office.die(restorer)
        elif step == "back" and dead:
            restorer = data.draw(st.sampled_from(sorted(dead)))
            dead.discard(restorer)
            office.desk.back(restorer)
            office.begin()
    office.settle()
    answers = office.answers()
    overrun = [message for message in office.refused if message.code == "overrun"]
    if not overrun:
        assert {number: answers[number] for number in range(asked)} == dict.fromkeys(range(asked), 1)


def test_with_nobody_alive_jobs_wait() -> None:
    office = Office(1)
    office.register()
    office.settle()
    office.ask("one", 0)
    office.begin()
    office.die(0)
    assert office.desk.next() is None
    office.desk.back(0)
    office.settle()
    assert office.did == [(0, "one", 0)]


@pytest.mark.parametrize("restorers", [1, 2])
def test_a_path_is_prepared_before_the_frames_that_are_asked_for_after_it(restorers: int) -> None:
    office = Office(restorers)
    office.register()
    office.ask("one", 0)
    office.begin()
    assert [type(job.message) for jobs in office.at_work.values() for job in jobs] == [wire.Register]
    office.settle()
    assert [frame for *_, frame in office.did] == [0]
