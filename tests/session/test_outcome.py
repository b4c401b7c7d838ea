"""What a script is told of its scan, from each status that a daemon can give."""

from __future__ import annotations

import pytest

from scancontrol.acquisition import AcquisitionStatus, Phase
from scancontrol.daemon.snapshot import OrdersSnapshot, Snapshot
from scancontrol.errors import ScanEnded
from scancontrol.session import outcome

WAITS = Snapshot(orders=OrdersSnapshot(number=4, standing=4))
SCANS = Snapshot(
    orders=OrdersSnapshot(number=4, standing=4),
    scan_order=4,
    scan=AcquisitionStatus(phase=Phase.SCANNING, frames_completed=2),
)
ENDED = Snapshot(
    orders=OrdersSnapshot(number=4),
    scan_order=4,
    scan=AcquisitionStatus(phase=Phase.ENDED, finish_reason="completed", frames_completed=3),
)


@pytest.mark.parametrize(
    ("status", "over", "scans"), [(WAITS, False, False), (SCANS, False, True), (ENDED, True, False)]
)
def test_a_scan_is_over_once_its_order_stands_no_more(status: Snapshot, over: bool, scans: bool) -> None:
    assert (outcome.over(status, 4), outcome.scans(status, 4)) == (over, scans)
    assert not outcome.over(status, 5), "an order that the daemon has not heard of is yet to come"


def test_a_paused_scan_still_has_the_beam_to_itself() -> None:
    paused = Snapshot(scan_order=4, scan=AcquisitionStatus(phase=Phase.PAUSED))
    assert outcome.scans(paused, 4)
    assert not outcome.scans(paused, 3)


def test_a_frame_is_waited_for_while_it_can_still_become_whole() -> None:
    assert [outcome.has(SCANS, 4, frame) for frame in (1, 2)] == [True, False]
    assert outcome.has(ENDED, 4, 7), "its scan is over: it will not be whole"
    assert outcome.has(SCANS, 3, 7), "another scan has the beam"


def test_a_scan_that_did_not_begin_says_why() -> None:
    refused = Snapshot(orders=OrdersSnapshot(number=4), not_begun=(4, "dwell_us = 0.01: raise it"))
    assert outcome.not_begun(refused, 4).reason == "refused"
    with pytest.raises(ScanEnded, match="raise it"):
        outcome.completed(refused, 4)
    with pytest.raises(ScanEnded, match="a Blank or an Abort came before it began") as ended:
        outcome.completed(refused, 5)
    assert ended.value.reason == "aborted"


def test_a_scan_that_was_cut_short_gives_the_reason_and_its_recording_and_one_that_completed_its_status() -> None:
    assert outcome.completed(ENDED, 4) is ENDED.scan
    cut = AcquisitionStatus(finish_reason="dose_limit", explanation="the limit is reached", recording="a.hspy")
    with pytest.raises(ScanEnded, match="the limit is reached") as ended:
        outcome.completed(Snapshot(scan_order=4, scan=cut), 4)
    assert (ended.value.reason, ended.value.recording) == ("dose_limit", "a.hspy")
    with pytest.raises(ScanEnded) as ended:
        outcome.completed(Snapshot(scan_order=4, scan=AcquisitionStatus()), 4)
    assert ended.value.reason == "fault", "an end without a reason is none to trust"
