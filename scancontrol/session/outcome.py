"""What became of a script's scan, read from the daemon's status. Pure."""

from __future__ import annotations

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import ScanEnded

__all__ = ["completed", "has", "not_begun", "over", "scans"]


def over(status: Snapshot, number: int) -> bool:
    """Whether the scan of that order has the beam no more, and will not have it."""
    return status.orders.number >= number and status.orders.standing != number


def scans(status: Snapshot, number: int) -> bool:
    """Whether the scan of that order has the beam now."""
    return status.scan_order == number and status.scan.phase.value in ("scanning", "paused")


def has(status: Snapshot, number: int, frame: int) -> bool:
    """Whether that frame is whole, or will not be."""
    return status.scan_order != number or status.scan.frames_completed > frame or over(status, number)


def not_begun(status: Snapshot, number: int) -> ScanEnded:
    """Why an order was not begun."""
    if status.not_begun is not None and status.not_begun[0] == number:
        return ScanEnded("refused", status.not_begun[1])
    return ScanEnded("aborted", "a Blank or an Abort came before it began")


def completed(status: Snapshot, number: int) -> AcquisitionStatus:
    """The status of the scan of that order, which is over.

    Raises:
        ScanEnded: it did not complete, or did not begin.
    """
    if status.scan_order != number:
        raise not_begun(status, number)
    scan = status.scan
    if scan.finish_reason != "completed":
        raise ScanEnded(scan.finish_reason or "fault", scan.explanation or scan.message, scan.recording)
    return scan
