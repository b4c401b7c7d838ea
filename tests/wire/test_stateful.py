"""In no reachable state is the beam on while nobody collects; limits hold; nothing is lost, doubled or left open."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from wire_pair import MS, Client, Pair, recipe

from scancontrol.dose.limits import DoseLimits
from scancontrol.wire import messages as m
from scancontrol.wire.transitions import ClientState, State

SESSION_LIMIT = 1_500_000.0  # electrons; a sample takes 100
SIDE = 32
CHUNK = 16
TURNS = st.integers(1, 12)


class Wire(RuleBasedStateMachine):
    """Both ends, an instrument, and a network, an operator and a caller that do whatever they like.

    The operator keeps scans queued, so that whatever happens mostly happens to a beam that is on.
    """

    @initialize(
        window=st.sampled_from([2, 6, 16]), room=st.sampled_from([256, 1 << 10, 1 << 20]), seed=st.integers(0, 99)
    )
    def begin(self, window: int, room: int, seed: int) -> None:
        self.window, self.room = window, room
        self.pair = Pair(
            m.Limits(chunk_samples=CHUNK, retained_bytes=room), dose_limits=DoseLimits(session_electrons=SESSION_LIMIT)
        )
        self.client = self.pair.ready(Client(self.pair, window=window))
        self.path_id = self.client.register(recipe(SIDE, SIDE))
        self.accepted: set[int] = set()
        self.asked: dict[int, int] = {}  # request → frame
        self.next_frame = 0
        self.chance = random.Random(seed)
        self.scans = True

    def go_on(self, turns: int, *, samples: int = CHUNK, ms: float = 1.0) -> None:
        """Time passes; the operator asks for another frame where fewer than two are open."""
        for _ in range(turns):
            open_scans = self.pair.server._scanner.open_scans
            if self.scans and len(open_scans) < 2 and not self.asked and self.client.alive:
                number = self.client.ask(
                    m.Scan, series_id=1, series_unique_id="s1", frame=self.next_frame, path_id=self.path_id
                )
                self.asked[number] = self.next_frame
                self.next_frame += 1
            self.pair.turn(1, samples=samples, ms=ms)
            for number, frame in list(self.asked.items()):
                answer = self.client.protocol.answer(number)
                if answer is not None:
                    del self.asked[number]
                    if isinstance(answer, m.Done):
                        self.accepted.add(frame)
            self.check()

    @rule(turns=st.integers(5, 60), samples=st.integers(0, 40), ms=st.sampled_from([1, 3, 9]))
    def time_passes(self, turns: int, samples: int, ms: int) -> None:
        self.go_on(turns, samples=samples, ms=ms)

    @rule(kind=st.sampled_from([m.Pause, m.Resume, m.Abort]), turns=TURNS)
    def steer(self, kind: type[m.Message], turns: int) -> None:
        self.client.ask(kind)
        self.go_on(turns)
        self.client.ask(m.Resume)
        self.go_on(turns)

    @rule(how=st.sampled_from(["blank", "unblank", "auto", "emergency"]), turns=TURNS)
    def blanker(self, how: str, turns: int) -> None:
        if how == "emergency":
            self.client.ask(m.Blank)
        else:
            self.client.ask(m.SetBlanker, state=how)
        self.go_on(turns)
        self.client.ask(m.SetBlanker, state="auto")
        self.go_on(turns)

    @rule(turns=st.integers(1, 80))
    def the_caller_stops_reading_for_a_while(self, turns: int) -> None:
        self.client.reads = False
        self.go_on(turns)
        self.client.reads = True
        self.go_on(5)

    @rule(turns=st.integers(1, 80))
    def the_disk_stops_for_a_while(self, turns: int) -> None:
        self.client.acknowledges = False
        self.go_on(turns)
        self.client.acknowledges = True
        for frame in range(self.next_frame):
            taken = [chunk.next_index for chunk in self.client.of_chunks(frame)]
            self.client.protocol.acknowledge(1, frame, max(taken, default=0))
        self.go_on(5)

    @rule(turns=TURNS)
    def connections_break(self, turns: int) -> None:
        self.client.break_connections()
        self.go_on(turns)

    @rule(turns=TURNS)
    def the_data_connection_breaks(self, turns: int) -> None:
        self.client.break_data_connection()
        self.go_on(turns)

    @rule(frozen_ms=st.sampled_from([50, 300, 600, 1500]), samples=st.sampled_from([0, 1, CHUNK]))
    def the_client_freezes(self, frozen_ms: int, samples: int) -> None:
        self.client.alive = False
        self.go_on(frozen_ms // 10, samples=samples, ms=10)
        self.client.alive = True
        self.go_on(20)

    @rule(
        loss=st.sampled_from([0.05, 0.3]),
        doubling=st.sampled_from([0.0, 0.3]),
        delay=st.sampled_from([0.0, 0.3]),
        turns=st.integers(20, 120),
    )
    def the_network_is_bad_for_a_while(self, loss: float, doubling: float, delay: float, turns: int) -> None:
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
        self.go_on(turns)
        self.pair.network.mangle = lambda parts: [parts]

    @rule(overrun=st.booleans(), turns=TURNS)
    def the_instrument_fails(self, overrun: bool, turns: int) -> None:
        self.pair.server.failed("broken", self.pair.now_ns, overrun=overrun)
        self.pair.act()
        self.go_on(turns)

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        retention = pair.server._retention
        exposed = pair.instrument.exposed
        # What is kept is bounded: the limit, and what one read may hand over in the turn in which it was reached.
        assert retention.bytes <= self.room + 2 * 40
        assert retention.next_sequence <= retention._credit_limit + 8 or not pair.instrument.on
        assert len(exposed) * 100.0 <= SESSION_LIMIT
        if pair.instrument.on:
            assert pair.server.state is State.SCANNING
            operator = pair.server._sessions.operator
            assert operator is not None
            assert operator.data is not None
            assert pair.now_ns - operator.heard_ns <= 250 * MS

    def teardown(self) -> None:
        """Everything heals; then all that was exposed is here once, and every accepted scan has one end."""
        if not hasattr(self, "pair"):
            return
        pair, client = self.pair, self.client
        pair.until(lambda: client.protocol.state is ClientState.READY, turns=3000)
        self.scans = False
        self.go_on(300)
        client.ask(m.Abort)
        self.go_on(600)
        assert pair.server.state in (State.IDLE, State.HELD)
        assert not pair.instrument.on
        assert len(set(pair.instrument.exposed)) == len(pair.instrument.exposed)
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
    max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWire = pytest.mark.slow(Wire.TestCase)
