"""Each browser gets the newest it can use, in a fair order, and never a backlog."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import Notice
from scancontrol.daemon.page.outbox import WINDOW, Outbox, Outgoing
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.restoration import Provenance

IMAGE = np.zeros((2, 2), np.float32)


def show_partial(hub: LiveHub, frame: int) -> None:
    hub.publish_partial(PartialView(1, frame, IMAGE, IMAGE, False, 4, "p"))


def show_restoration(hub: LiveHub, frame: int) -> None:
    hub.publish_restoration(RestorationView(1, frame, IMAGE, None, Provenance(method="m", face="classical"), 1.0))


def everything(outbox: Outbox, hub: LiveHub, now_s: float) -> list[Outgoing]:
    out = []
    while (outgoing := outbox.next(hub, now_s)) is not None:
        out.append(outgoing)
    return out


def test_nothing_published_means_nothing_to_send() -> None:
    assert Outbox().next(LiveHub(), 0.0) is None


def test_a_browser_that_comes_late_gets_only_the_newest_of_each_kind() -> None:
    hub = LiveHub()
    for frame in range(100):
        show_partial(hub, frame)
        show_restoration(hub, frame)
    sent = everything(Outbox(), hub, 0.0)
    assert sorted((str(o.slot), o.view.frame) for o in sent) == [("partial", 99), ("restoration", 99)]  # type: ignore[union-attr]


def test_without_acknowledgement_images_stop_and_figures_go_on() -> None:
    hub, outbox = LiveHub(), Outbox()
    slots: list[str | None] = []
    for second in range(1, 50):
        show_partial(hub, second)
        hub.publish_status(Snapshot(utc_ns=second))
        slots += [o.slot for o in everything(outbox, hub, float(second))]
    assert slots.count("partial") == WINDOW
    assert slots.count("status") == 49


def test_an_acknowledgement_brings_the_newest_frame_not_the_next() -> None:
    hub, outbox = LiveHub(), Outbox()
    sent: list[Outgoing] = []
    for second in range(1, 50):
        show_partial(hub, second)
        sent += everything(outbox, hub, float(second))
    outbox.acknowledge(sent[-1].seq)
    assert [o.view.frame for o in everything(outbox, hub, 50.0)] == [49]  # type: ignore[union-attr]


def test_kinds_take_turns() -> None:
    hub, outbox = LiveHub(), Outbox()
    slots = []
    for second in range(1, 9):
        show_partial(hub, second)
        show_restoration(hub, second)
        outgoing = outbox.next(hub, float(second))
        assert outgoing is not None
        outbox.acknowledge(outgoing.seq)
        slots.append(outgoing.slot)
    assert slots.count("partial") == slots.count("restoration") == 4


def test_a_fast_scan_is_thinned_to_what_a_screen_can_show() -> None:
    hub, outbox = LiveHub(), Outbox()
    count = 0
    for millisecond in range(1000):
        show_partial(hub, millisecond)
        for outgoing in everything(outbox, hub, millisecond / 1000):
            count += 1
            outbox.acknowledge(outgoing.seq)
    assert 18 <= count <= 20


def test_notices_arrive_once_and_in_order() -> None:
    hub, outbox = LiveHub(), Outbox()
    for text in "abc":
        hub.publish_notice(Notice(text))
    assert [o.view.text for o in everything(outbox, hub, 0.0)] == ["a", "b", "c"]  # type: ignore[union-attr]
    assert everything(outbox, hub, 1.0) == []


class OutboxUnderAnyBrowser(RuleBasedStateMachine):
    """However a browser acknowledges, its window holds and what it is sent only gets newer."""

    def __init__(self) -> None:
        super().__init__()
        self.hub, self.outbox, self.now_s = LiveHub(), Outbox(), 0.0
        self.last: dict[str | None, int] = {}
        self.sent: list[int] = []

    @rule(kind=st.sampled_from([show_partial, show_restoration]), times=st.integers(1, 5))
    def publish(self, kind, times):  # type: ignore[no-untyped-def]
        for _ in range(times):
            kind(self.hub, 0)

    @rule()
    def publish_figures(self) -> None:
        self.hub.publish_status(Snapshot())

    @rule(step_s=st.floats(0, 2))
    def wait(self, step_s: float) -> None:
        self.now_s += step_s

    @rule()
    def send(self) -> None:
        outgoing = self.outbox.next(self.hub, self.now_s)
        if outgoing is not None:
            assert outgoing.seq > self.last.get(outgoing.slot, 0)
            self.last[outgoing.slot] = outgoing.seq
            self.sent.append(outgoing.seq)

    @rule(data=st.data())
    def acknowledge_something_sent(self, data: st.DataObject) -> None:
        if self.sent:
            self.outbox.acknowledge(data.draw(st.sampled_from(self.sent)))

    @rule(seq=st.integers(0, 1 << 53))
    def acknowledge_anything(self, seq: int) -> None:
        self.outbox.acknowledge(seq)

    @invariant()
    def the_window_holds(self) -> None:
        assert 0 <= self.outbox.images_in_flight <= WINDOW


TestOutboxUnderAnyBrowser = OutboxUnderAnyBrowser.TestCase
TestOutboxUnderAnyBrowser.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
