"""The hub keeps the newest of each kind, never waits, and lets an emergency blank overtake everything."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from scancontrol.daemon.page.hub import KEPT_NOTICES, MAX_WAITING_COMMANDS, Asked, LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import Abort, Done, EmergencyBlank, Notice, Pause, Refusal, Start
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, OrderRefused
from scancontrol.restoration import Provenance

NEAREST = Provenance(method="nearest", face="classical")


def partial(frame: int, *, complete: bool = False) -> PartialView:
    return PartialView(1, frame, np.zeros((4, 6), np.float32), np.ones((4, 6), np.uint8), complete, 24, "path")


def test_the_newest_view_of_a_kind_replaces_the_one_before() -> None:
    hub = LiveHub()
    for frame in range(5):
        hub.publish_partial(partial(frame))
    newest = hub.newest("partial")
    assert newest is not None
    assert newest[1].frame == 4  # type: ignore[union-attr]
    assert hub.newest("restoration") is None


def test_a_complete_frame_is_not_pushed_out_by_the_start_of_the_next() -> None:
    hub = LiveHub()
    hub.publish_partial(partial(0, complete=True))
    hub.publish_partial(partial(1))
    complete, running = hub.newest("complete"), hub.newest("partial")
    assert complete is not None
    assert running is not None
    assert (complete[1].frame, running[1].frame) == (0, 1)  # type: ignore[union-attr]


def test_sequence_numbers_rise_over_all_kinds() -> None:
    hub = LiveHub()
    hub.publish_partial(partial(0))
    hub.publish_status(Snapshot())
    hub.publish_truth(np.zeros((4, 6), np.float32))
    numbers = [hub.newest(slot)[0] for slot in ("partial", "status", "truth")]  # type: ignore[arg-type, index]
    assert numbers == sorted(set(numbers))


def test_only_the_last_notices_are_kept_each_with_its_time() -> None:
    hub = LiveHub(utc_ns=lambda: 5_000_000)
    for number in range(KEPT_NOTICES + 10):
        hub.publish_notice(Notice(str(number)))
    kept = hub.notices_after(0)
    assert [notice.text for _, notice in kept] == [str(n) for n in range(10, KEPT_NOTICES + 10)]
    assert {notice.utc_ms for _, notice in kept} == {5}
    assert hub.notices_after(kept[-2][0]) == kept[-1:]


@pytest.mark.parametrize("stop", [EmergencyBlank(), Abort()])
def test_nothing_that_was_asked_for_before_a_blank_or_an_abort_outlives_it(stop: Abort | EmergencyBlank) -> None:
    commands = LiveHub().commands
    for command in (Start(plan="a", number=0), Pause(), stop, Start(plan="b", number=1)):
        assert commands.offer(Asked(command))
    assert [commands.get_nowait().command for _ in range(2)] == [stop, Start(plan="b", number=1)]
    assert commands.empty()


@pytest.mark.parametrize("stop", [EmergencyBlank(), Abort()])
def test_a_blank_or_an_abort_acts_in_the_thread_that_brings_it_however_much_waits(stop: Abort | EmergencyBlank) -> None:
    hub, acted = LiveHub(), []
    hub.on_stop = lambda command: acted.append((command, threading.get_ident()))
    assert all(hub.take(Pause()) for _ in range(MAX_WAITING_COMMANDS))
    assert not hub.take(Pause())
    assert acted == []
    assert hub.take(stop)
    assert acted == [(stop, threading.get_ident())]


def test_a_thread_that_waits_for_a_command_gets_it() -> None:
    hub, taken = LiveHub(), []
    waiter = threading.Thread(target=lambda: taken.append(hub.commands.get(timeout=5).command))
    waiter.start()
    assert hub.commands.offer(Asked(Pause()))
    waiter.join(5)
    assert taken == [Pause()]


SHAPE = (4, 6)


@pytest.mark.parametrize(
    "publish",
    [
        lambda hub: hub.publish_partial(
            PartialView(1, 0, np.zeros((4, 6), np.float32), np.ones((6, 4), np.uint8), False, 1, "p")
        ),
        lambda hub: hub.publish_restoration(
            RestorationView(1, 0, np.zeros(SHAPE, np.float32), np.zeros((4, 5), np.float32), NEAREST, None)
        ),
        lambda hub: hub.publish_truth(np.zeros(24, np.float32)),
        lambda hub: hub.publish_truth(np.zeros((0, 6), np.float32)),
    ],
)
def test_images_that_do_not_fit_are_refused_and_change_nothing(publish: Callable[[LiveHub], None]) -> None:
    hub = LiveHub()
    with pytest.raises(InvalidInput, match="shape"):
        publish(hub)
    assert all(hub.newest(slot) is None for slot in ("partial", "complete", "restoration", "truth"))  # type: ignore[arg-type]


class Answers:
    """A client that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def answer(self, message: object) -> None:
        self.told.append(message)


def test_whoever_waits_for_an_answer_hears_that_a_blank_came_first() -> None:
    hub, client = LiveHub(), Answers()
    assert hub.take(Start(plan="a", number=0, request=5), client)
    assert hub.take(Pause(), client)  # which nobody waits for
    assert hub.take(EmergencyBlank())
    (told,) = client.told
    assert isinstance(told, Refusal)
    assert (told.request, told.code) == (5, "refused")
    assert "a Blank or an Abort came after" in told.text


def test_an_answer_carries_the_number_that_it_was_asked_by() -> None:
    client = Answers()
    asked = Asked(Start(plan="a", number=0, request=5), client)
    asked.done(number=3)
    assert asked.refused(InvalidInput("dwell_us", 0.05, "is below 0.125", "raise it"))
    assert client.told[0] == Done(request=5, number=3)
    assert client.told[1] == Refusal(
        code="refused",
        text="dwell_us = 0.05 is below 0.125; raise it",
        request=5,
        quantity="dwell_us",
        value="0.05",
        limit="is below 0.125",
        remedy="raise it",
    )
    assert not Asked(Pause(), client).refused(OrderRefused("nothing is scanned"))  # so it is said to everybody
