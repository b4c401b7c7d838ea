"""What the operator last wanted: taken once, and outlived by nothing that was ordered before a Blank or an Abort."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_tools import plan_with

from scancontrol.daemon.order_file import OrderFile, order_file_name
from scancontrol.daemon.orders import Orders, Wanted
from scancontrol.errors import OrderRefused, StorageError
from scancontrol.plan.plan import ScanPlan

HERE, THERE, ELSEWHERE = (f"tcp://127.0.0.1:{port}" for port in (5555, 5556, 5557))


def named(name: str) -> ScanPlan:
    return plan_with(name=name)


def test_an_order_is_on_the_disk_also_where_the_file_or_its_folder_was_removed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    file = OrderFile(tmp_path / "runs", HERE)
    shutil.rmtree(tmp_path / "runs")
    file.keep("blank")
    file.close()
    again = OrderFile(tmp_path / "runs", HERE)
    assert again.last == "blank"
    again.close()


def test_a_start_is_taken_once_for_each_number_that_was_seen() -> None:
    orders = Orders()
    seen = orders.snapshot.number
    order = orders.start(named("survey"), seen)
    assert orders.take() is order
    assert orders.take() is None
    orders.ended(order)  # a survey of 10 ms is over before the second click
    with pytest.raises(OrderRefused, match="asked for twice"):
        orders.start(named("survey"), seen)
    assert orders.start(named("survey"), orders.snapshot.number) is not order


def test_while_an_acquisition_has_the_beam_no_other_is_taken() -> None:
    orders = Orders()
    order = orders.start(named("a"), 0)
    with pytest.raises(OrderRefused, match="has the beam"):
        orders.start(named("b"), orders.snapshot.number)
    assert orders.take() is order
    with pytest.raises(OrderRefused, match="has the beam"):
        orders.start(named("b"), orders.snapshot.number)
    orders.ended(order)
    orders.start(named("b"), orders.snapshot.number)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("stop", ["blank", "abort", "blanked_elsewhere"])
def test_nothing_ordered_before_a_stop_stands_after_it(stop: str, begun: bool) -> None:
    orders = Orders()
    order = orders.start(named("a"), 0)
    seen = orders.snapshot.number
    if begun:
        orders.take()
    getattr(orders, stop)("because of the test")
    found = orders.stopped(order)
    assert found is not None
    assert found.reason == ("aborted" if stop == "abort" else "operator_blank")
    assert orders.take() is None
    with pytest.raises(OrderRefused, match="because of the test after this was asked for"):
        orders.check(seen, "resume")
    if begun:
        orders.ended(order)
    orders.confirm(orders.blank_to_say or 0)
    later = orders.start(named("a"), orders.snapshot.number)
    assert orders.stopped(later) is None
    assert orders.stopped(order) == found, "an old order is not revived by a new one"


def test_a_blank_is_said_until_it_is_confirmed_and_no_start_comes_before_that() -> None:
    orders = Orders()
    orders.blank()
    first = orders.blank_to_say
    assert first is not None
    with pytest.raises(OrderRefused, match="not confirmed"):
        orders.start(named("a"), orders.snapshot.number)
    orders.abort()  # takes nothing back
    assert (orders.blank_to_say, orders.snapshot.blank) == (first, "asked")
    orders.blank()
    orders.confirm(first)  # the answer to the first one says nothing of the second
    assert orders.snapshot.blank == "asked"
    orders.confirm(orders.blank_to_say or 0)
    assert orders.snapshot.blank == "confirmed"
    orders.not_held()  # another server answers now
    assert orders.blank_to_say is not None


def test_only_the_order_that_came_after_a_blank_lifts_it() -> None:
    orders = Orders()
    before = orders.start(named("a"), 0)
    orders.take()
    orders.blank()
    orders.confirm(orders.blank_to_say or 0)
    orders.lifted(before)
    assert orders.snapshot.blank == "confirmed"
    orders.ended(before)
    after = orders.start(named("a"), orders.snapshot.number, ("server", 1))
    orders.take()
    orders.lifted(after)
    assert orders.snapshot.blank == "off"


def test_a_blank_does_not_wait_for_a_disk_on_which_a_start_is_being_written_down() -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow(wanted: Wanted) -> None:
        writing.set()
        assert go_on.wait(10)

    orders = Orders(slow)
    starting = threading.Thread(target=lambda: orders.start(named("a"), 0))
    starting.start()
    assert writing.wait(10)
    assert orders.take() is None, "nothing rests on a Start that is not written down"
    orders.blank()
    assert orders.snapshot.blank == "asked"
    go_on.set()
    starting.join(10)
    assert orders.take() is None


def test_a_start_that_cannot_be_written_down_is_not_taken_and_a_blank_holds_whatever_the_disk_does() -> None:
    def full(wanted: Wanted) -> None:
        raise StorageError("order file", "order.txt", "cannot be written", "make room")

    orders = Orders(full)
    with pytest.raises(StorageError):
        orders.start(named("a"), 0)
    assert orders.snapshot.start is None
    orders.blank()
    orders.write_down()
    assert orders.snapshot.blank == "asked"


@given(st.lists(st.sampled_from(["start", "stale start", "take", "ended", "blank", "abort", "confirm", "lift"])))
def test_an_order_stands_exactly_until_the_next_stop(steps: list[str]) -> None:
    orders, stands, begun = Orders(), None, []
    for step in steps:
        number = orders.snapshot.number
        try:
            if step == "start":
                stands = orders.start(named("p"), number)
            elif step == "stale start" and number:
                with pytest.raises(OrderRefused):
                    orders.start(named("p"), number - 1)
            elif step == "take":
                order = orders.take()
                if order is not None:
                    assert order is stands
                    begun.append(order.number)
            elif step == "ended" and stands is not None:
                orders.ended(stands)
            elif step in ("blank", "abort"):
                getattr(orders, step)()
                if stands is not None:
                    assert orders.stopped(stands) is not None
            elif step == "confirm":
                orders.confirm(orders.blank_to_say or 0)
            elif step == "lift" and stands is not None:
                orders.lifted(stands)
        except OrderRefused:
            pass
        assert orders.snapshot.number >= number
    assert len(set(begun)) == len(begun), "one Start, one acquisition"


def test_the_next_process_knows_what_was_wanted_last(tmp_path: Path) -> None:
    file = OrderFile(tmp_path, HERE)
    assert file.last == ""
    orders = Orders(file.keep)
    orders.start(named("a"), 0)
    file.close()
    again = OrderFile(tmp_path, HERE)
    assert again.last == "start"
    orders = Orders(again.keep)
    orders.blank()
    orders.write_down()
    again.close()
    last = OrderFile(tmp_path, HERE)
    assert last.last == "blank"
    last.close()


def test_a_full_disk_still_takes_a_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OrderFile(tmp_path, HERE)
    size = (tmp_path / order_file_name(HERE)).stat().st_size
    file.keep("abort")
    assert (tmp_path / order_file_name(HERE)).stat().st_size == size, (
        "written over in place: no block is asked of the disk"
    )
    file.close()
    (tmp_path / order_file_name(HERE)).write_bytes(b"\xff nonsense")
    damaged = OrderFile(tmp_path, HERE)
    assert damaged.last == ""

    def read_only(descriptor: int, data: bytes, at: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("scancontrol.daemon.order_file.os.pwrite", read_only)
    with pytest.raises(StorageError, match="Read-only"):
        damaged.keep("start")
    damaged.close()


def test_daemons_of_two_microscopes_share_a_folder_and_each_keeps_its_own_orders(tmp_path: Path) -> None:
    here, there = OrderFile(tmp_path, HERE), OrderFile(tmp_path, THERE)
    here.keep("blank")
    there.keep("start")
    for file in (here, there):
        file.close()
    here, there = OrderFile(tmp_path, HERE), OrderFile(tmp_path, THERE)
    assert (here.last, there.last) == ("blank", "start")
    for file in (here, there):
        file.close()


def test_a_second_daemon_of_one_microscope_in_one_folder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first = OrderFile(tmp_path, HERE)
    first.keep("blank")
    with pytest.raises(StorageError, match="kept by another daemon of this microscope; end that daemon"):
        OrderFile(tmp_path, HERE)
    first.close()
    again = OrderFile(tmp_path, HERE)
    assert again.last == "blank"
    again.close()


def test_at_an_address_that_is_new_the_blank_of_a_process_that_is_gone_counts_and_no_living_ones(
    tmp_path: Path,
) -> None:
    gone, living = OrderFile(tmp_path, HERE), OrderFile(tmp_path, THERE)
    gone.keep("start")
    living.keep("abort")
    gone.close()
    moved = OrderFile(tmp_path, ELSEWHERE)
    assert moved.last == "start"
    moved.close()
    (tmp_path / order_file_name(ELSEWHERE)).unlink()
    living.close()
    moved = OrderFile(tmp_path, ELSEWHERE)
    assert moved.last == "abort"
    moved.close()
