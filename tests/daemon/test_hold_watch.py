"""A hold that nobody here asked for stops what was ordered and is told once; one that is lost is asked for again."""

from __future__ import annotations

from typing import Any

from plan_tools import plan_with

from scancontrol.daemon.hold_watch import HoldWatch
from scancontrol.daemon.orders import Orders
from scancontrol.wire.messages import Status

SERVER, ANOTHER = "a" * 32, "b" * 32
ANY = Status(
    number=1,
    client_ns=0,
    monotonic_ns=0,
    utc_ns=0,
    server_id=SERVER,
    state="idle",
    blanker="auto",
    beam_on=False,
    operator="ada",
    series_id=None,
    frame=None,
    next_index=0,
    queued_scans=0,
    next_sequence=0,
    retained_bytes=0,
    session_electrons=0.0,
)


def status(blanker: str, blanks: int, server_id: str = SERVER) -> Status:
    changes: Any = {"blanker": blanker, "blanks": blanks, "server_id": server_id}
    return Status(**{name: getattr(ANY, name) for name in ANY.__struct_fields__} | changes)


def watch() -> tuple[HoldWatch, Orders, list[str]]:
    orders, told = Orders(), list[str]()
    return HoldWatch(orders, lambda text, level: told.append(text)), orders, told


def test_a_hold_of_somebody_else_ends_what_was_ordered_and_is_told_once() -> None:
    holds, orders, told = watch()
    order = orders.start(plan_with(), 0)
    for _ in range(3):
        holds.seen(status("blank", 1))
    stop = orders.stopped(order)
    assert stop is not None
    assert stop.reason == "operator_blank"
    assert orders.snapshot.blank == "confirmed"
    assert len(told) == 1


def test_a_blank_of_our_own_that_the_microscope_reports_is_nobody_elses() -> None:
    holds, orders, told = watch()
    orders.blank()
    number = orders.snapshot.number
    holds.seen(status("blank", 1))
    assert told == []
    assert orders.snapshot.number == number


def test_a_second_blank_elsewhere_after_a_start_had_lifted_the_first_is_noticed() -> None:
    holds, orders, told = watch()
    holds.seen(status("blank", 1))
    order = orders.start(plan_with(), orders.snapshot.number, lifts=(SERVER, 1))
    holds.lifted(order)
    orders.lifted(order)
    holds.seen(status("unblank", 1))
    assert orders.stopped(order) is None
    holds.seen(status("blank", 2))
    assert orders.stopped(order) is not None
    assert len(told) == 2


def test_a_microscope_that_came_back_without_the_hold_is_asked_for_it_again() -> None:
    holds, orders, _ = watch()
    orders.blank()
    blank = orders.blank_to_say
    assert blank is not None
    orders.confirm(blank)
    holds.seen(status("blank", 1))
    assert orders.blank_to_say is None
    holds.seen(status("auto", 0, ANOTHER))  # its server was started anew, and knows of no hold
    assert orders.blank_to_say == blank


def test_a_beam_that_was_never_held_asks_for_nothing() -> None:
    holds, orders, told = watch()
    before = orders.snapshot
    holds.seen(status("auto", 0))
    holds.seen(status("unblank", 0))
    assert (orders.snapshot, told) == (before, [])


def test_a_hold_that_ended_with_a_server_whose_status_was_never_seen_is_asked_for_again() -> None:
    holds, orders, _ = watch()
    holds.seen(status("auto", 0))
    orders.blank()
    orders.confirm(orders.blank_to_say or 0)  # by a server that another has taken the place of since
    holds.seen(status("auto", 0))
    assert orders.snapshot.blank == "confirmed", "this one may have been told before it was"
    holds.seen(status("auto", 0, ANOTHER))
    assert orders.snapshot.blank == "asked"
