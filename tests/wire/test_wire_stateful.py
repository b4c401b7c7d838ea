"""In no reachable state is the beam on while nobody collects; limits hold; nothing is lost, doubled or left open."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wire_pair import MS, Client, Pair, recipe

from scancontrol.wire import messages as m
from scancontrol.wire.dose_guard import DoseLimits
from scancontrol.wire.transitions import ClientState, State

SESSION_LIMIT = 400_000.0  # electrons; a sample takes 100


class Wire(RuleBasedStateMachine):
    """Both ends, an instrument, and a network and an operator that do whatever they like."""

    @initialize(window=st.sampled_from([1, 4, 16]), room=st.sampled_from([64, 1 << 12, 1 << 20]))
    def begin(self, window: int, room: int) -> None:
        self.pair = Pair(
            m.Limits(chunk_samples=16, retained_bytes=room), dose_limits=DoseLimits(session_electrons=SESSION_LIMIT)
        )
        self.client = self.pair.ready(Client(self.pair, window=window))
        self.path_id = self.client.register(recipe(8, 12))
        self.accepted: set[int] = set()
        self.asked: dict[int, int] = {}  # request → frame
        self.next_frame = 0
        self.chance = random.Random(window * room)

    def collect(self) -> None:
        for number, frame in list(self.asked.items()):
            answer = self.client.protocol.answer(number)
            if answer is not None:
                del self.asked[number]
                if isinstance(answer, m.Done):
                    self.accepted.add(frame)

    @rule(turns=st.integers(1, 30), samples=st.integers(0, 40), ms=st.sampled_from([1, 3, 9]))
    def time_passes(self, turns: int, samples: int, ms: int) -> None:
        self.pair.turn(turns, samples=samples, ms=ms)
        self.collect()

    @rule()
    def scan(self) -> None:
        number = self.client.ask(
            m.Scan, series_id=1, series_unique_id="s1", frame=self.next_frame, path_id=self.path_id
        )
        self.asked[number] = self.next_frame
        self.next_frame += 1

    @rule(kind=st.sampled_from([m.Pause, m.Resume, m.Abort]))
    def steer(self, kind: type[m.Message]) -> None:
        self.client.ask(kind)

    @rule(how=st.sampled_from(["blank", "unblank", "auto", "emergency"]), lets_go=st.booleans())
    def blanker(self, how: str, lets_go: bool) -> None:
        if how == "emergency":
            self.client.ask(m.Blank)
        else:
            self.client.ask(m.SetBlanker, state=how)
        if lets_go:
            self.client.ask(m.SetBlanker, state="auto")

    @rule()
    def all_is_well_for_a_while(self) -> None:
        self.client.reads = self.client.beats = True
        self.pair.network.mangle = lambda parts: [parts]
        self.client.ask(m.SetBlanker, state="auto")
        self.pair.turn(60)
        self.collect()

    @rule(reads=st.booleans())
    def the_caller_reads_or_not(self, reads: bool) -> None:
        self.client.reads = reads

    @rule(beats=st.booleans())
    def the_heart_beats_or_not(self, beats: bool) -> None:
        self.client.beats = beats

    @rule()
    def connections_break(self) -> None:
        self.client.break_connections()

    @rule()
    def the_data_connection_breaks(self) -> None:
        self.client.break_data_connection()

    @rule(frozen_ms=st.sampled_from([50, 300, 1500]))
    def the_client_freezes(self, frozen_ms: int) -> None:
        self.client.alive = False
        self.pair.turn(frozen_ms // 10, ms=10)
        assert frozen_ms < 260 or not self.pair.instrument.on
        self.client.alive = True

    @rule(loss=st.sampled_from([0.0, 0.2, 0.5]), doubling=st.sampled_from([0.0, 0.3]), delay=st.sampled_from([0, 0.3]))
    def the_network_turns_bad(self, loss: float, doubling: float, delay: float) -> None:
        late: list[list] = []

        def mangle(parts: list) -> list[list]:
            if self.chance.random() < loss:
                return []
            if self.chance.random() < delay:
                late.append(parts)
                return []
            out = [parts] * (2 if self.chance.random() < doubling else 1)
            while late:
                out.append(late.pop())
            return out

        self.pair.network.mangle = mangle

    @precondition(lambda self: self.pair.server.state is State.SCANNING)
    @rule(overrun=st.booleans())
    def the_instrument_fails(self, overrun: bool) -> None:
        self.pair.server.failed("broken", self.pair.now_ns, overrun=overrun)
        self.pair.act()

    @invariant()
    def the_beam_is_on_only_while_all_of_it_can_be_sent_and_kept(self) -> None:
        pair = self.pair
        if not pair.instrument.on:
            return
        assert pair.server.state is State.SCANNING
        operator = pair.server._sessions.operator
        assert operator is not None
        assert operator.data is not None
        assert pair.now_ns - operator.heard_ns <= 250 * MS

    @invariant()
    def nothing_is_exposed_twice(self) -> None:
        exposed = self.pair.instrument.exposed
        assert len(set(exposed)) == len(exposed)

    @invariant()
    def the_dose_limit_holds(self) -> None:
        assert len(self.pair.instrument.exposed) * 100.0 <= SESSION_LIMIT

    def teardown(self) -> None:
        """Everything heals; then all that was exposed is here once, and every accepted scan has one end."""
        if not hasattr(self, "pair"):
            return
        pair, client = self.pair, self.client
        pair.network.mangle = lambda parts: [parts]
        client.reads = client.beats = client.alive = True
        pair.until(lambda: client.protocol.state is ClientState.READY, turns=3000)
        pair.turn(300)
        client.ask(m.Abort)
        pair.turn(600)
        self.collect()
        assert pair.server.state in (State.IDLE, State.HELD)
        assert not pair.instrument.on
        for frame in range(self.next_frame):
            exposed = [index for number, index in pair.instrument.exposed if number == frame]
            assert client.samples(frame) == exposed
        ended = [end.frame for end in client.of(m.End)]
        assert len(set(ended)) == len(ended)
        assert self.accepted <= set(ended)
        for end in client.of(m.End):
            assert client.samples(end.frame) == list(range(end.first_index, end.next_index))
            assert end.samples == end.next_index - end.first_index
        assert pair.server.drained


Wire.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWire = pytest.mark.slow(Wire.TestCase)
