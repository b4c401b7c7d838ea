"""A script that claims the beam has it alone while it is heard, and its scan ends with it."""

from __future__ import annotations

import pytest
from plan_tools import plan_with

from scancontrol.daemon.claim import Claims
from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.errors import InvalidInput, OrderRefused


class Script:
    """Stands for a connection."""


class Desk:
    """Claims and orders with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s, self.said = 100.0, list[str]()
        self.orders = Orders()
        self.claims = Claims(self.orders, lambda text, level: self.said.append(text), lambda: self.now_s)

    def start(self, client: object | None) -> StartOrder:
        self.claims.check(client, "start")
        order = self.orders.start(plan_with(), self.orders.snapshot.number)
        self.claims.started(client, order.number)
        return order


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_while_a_script_holds_the_claim_nobody_else_starts(desk: Desk) -> None:
    ada, page = Script(), Script()
    desk.claims.claim(ada, "Ada", 2.0)
    for other in (page, None):
        with pytest.raises(OrderRefused, match="a script of Ada has the beam"):
            desk.start(other)
    with pytest.raises(OrderRefused, match="a script of Ada"):
        desk.claims.claim(page, "Grace", 2.0)
    desk.start(ada)
    assert (desk.claims.operator_of(ada), desk.claims.operator_of(page)) == ("Ada", None)


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_script_started_is_aborted_when_its_connection_goes(desk: Desk, begun: bool) -> None:
    ada = Script()
    desk.claims.claim(ada, "Ada", 2.0)
    order = desk.start(ada)
    if begun:
        assert desk.orders.take() is order
    desk.claims.left(ada)
    stop = desk.orders.stopped(order)
    assert stop is not None
    assert (stop.reason, stop.message) == ("aborted", "the script of Ada has ended")
    assert desk.claims.holder is None
    assert desk.said == ["the script of Ada has ended: its scan is aborted"]
    if begun:
        desk.orders.ended(order)
    desk.start(None)


def test_a_script_that_is_silent_for_too_long_loses_its_scan_and_starts_no_more(desk: Desk) -> None:
    ada = Script()
    desk.claims.claim(ada, "Ada", 2.0)
    order = desk.start(ada)
    for _ in range(5):
        desk.now_s += 1.9
        desk.claims.heard(ada)
        desk.claims.look()
    assert desk.orders.stopped(order) is None
    desk.now_s += 2.1
    desk.claims.look()
    assert desk.orders.stopped(order) is not None
    with pytest.raises(OrderRefused, match="claim again"):
        desk.start(ada)
    desk.claims.claim(ada, "Ada", 2.0)  # it may, once it knows
    desk.start(ada)


def test_a_scan_that_somebody_else_started_outlives_every_script(desk: Desk) -> None:
    ada = Script()
    order = desk.start(None)
    desk.claims.claim(ada, "Ada", 2.0)
    desk.claims.left(ada)
    assert desk.orders.stopped(order) is None
    assert desk.said == []


def test_a_scan_begun_after_the_scripts_own_is_not_touched(desk: Desk) -> None:
    ada = Script()
    desk.claims.claim(ada, "Ada", 2.0)
    desk.orders.ended(desk.start(ada))
    later = desk.orders.start(plan_with(), desk.orders.snapshot.number)  # as the daemon's own --repeat does
    desk.claims.left(ada)
    assert desk.orders.stopped(later) is None


def test_a_command_that_waited_while_its_script_died_starts_nothing(desk: Desk) -> None:
    ada = Script()
    desk.claims.claim(ada, "Ada", 2.0)
    desk.claims.check(ada, "start")
    desk.claims.left(ada)
    order = desk.orders.start(plan_with(), desk.orders.snapshot.number)
    desk.claims.started(ada, order.number)
    assert desk.orders.stopped(order) is not None
    with pytest.raises(OrderRefused, match="is gone"):
        desk.claims.claim(ada, "Ada", 2.0)


@pytest.mark.parametrize("within_s", [0.0, 0.1, 61.0, float("nan")])
def test_a_time_that_protects_nothing_is_no_claim(desk: Desk, within_s: float) -> None:
    with pytest.raises(InvalidInput, match="within_s"):
        desk.claims.claim(Script(), "Ada", within_s)


def test_claiming_again_keeps_what_was_started(desk: Desk) -> None:
    ada = Script()
    desk.claims.claim(ada, "Ada", 2.0)
    order = desk.start(ada)
    desk.claims.claim(ada, "Ada", 2.0)
    desk.claims.left(ada)
    assert desk.orders.stopped(order) is not None
