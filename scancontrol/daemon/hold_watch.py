"""Notices a hold of the beam that nobody here asked for, and that it is gone again."""

from __future__ import annotations

from collections.abc import Callable

from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.wire.messages import Status

__all__ = ["HoldWatch"]


class HoldWatch:
    """Tells the orders, and the operator with ``notice``, what others did to the beam. Of one thread alone."""

    def __init__(self, orders: Orders, notice: Callable[[str, str], None]) -> None:
        self._orders, self._notice = orders, notice
        self._seen: tuple[str, int] | None = None  # (server id, its count of blanks) that the orders know of
        self._held = False  # whether the microscope was seen to hold the beam and nobody here has lifted that
        self._server = ""  # whose status was seen last

    def lifted(self, order: StartOrder) -> None:
        """The microscope has ended the hold that ``order`` lifts."""
        self._seen, self._held = order.lifts, False

    def seen(self, status: Status) -> None:
        """Compare the microscope's latest status with what was known before."""
        hold, another = (status.server_id, status.blanks), status.server_id != self._server
        self._server = status.server_id
        if status.blanker == "blank" and hold != self._seen:
            self._seen, self._held = hold, True
            if self._orders.snapshot.blank == "off":
                blank = self._orders.blank if status.beam_on else self._orders.blanked_elsewhere
                blank("somebody blanked the beam at the microscope or from another terminal")
                self._notice("the beam was blanked elsewhere and is held; Start lifts it", "warning")
        elif status.blanker != "blank" and (self._held or another):  # of the one before nobody may have seen the hold
            self._held = False
            self._orders.not_held()  # another server than the one that had confirmed it, or somebody let go of it
