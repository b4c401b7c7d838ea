"""What the operator last wanted, held in one place. Nothing lights the beam without asking here first.

One number runs through all orders. A Start says the number that it has seen and is taken only if that is still the
present one, so two clicks on one picture are one acquisition. Every Start that is taken, every Blank and every Abort
makes the number higher by one; a Start therefore stands exactly until a Blank or an Abort comes after it, wherever it
waits meanwhile: in a queue, while it is armed, between two frames, while its link or its disk is away.

Pure but for a lock: no sockets, no clock, no threads. :mod:`~scancontrol.daemon.blanker` carries a Blank to the
microscope, :mod:`~scancontrol.daemon.beam` everything else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from scancontrol.acquisition import Stop
from scancontrol.errors import OrderRefused, StorageError
from scancontrol.plan.plan import ScanPlan

__all__ = ["Orders", "OrdersSnapshot", "StartOrder", "Wanted"]

Wanted = Literal["", "start", "blank", "abort"]


@dataclass(frozen=True)
class StartOrder:
    """A Start that was taken: leave for one acquisition, until a Blank or an Abort comes."""

    number: int
    plan: ScanPlan
    lifts: tuple[str, int] | None = None  # (server id, count of its blanks) of the hold that the operator had seen
    operator: str | None = None  # who gave it, where that was said


@dataclass(frozen=True)
class OrdersSnapshot:
    """What is wanted, as of one moment."""

    number: int = 0  # what the next Start or Resume must say
    start: str | None = None  # plan of a Start that was taken and whose acquisition still has the beam
    standing: int | None = None  # the number of that order
    begun: bool = False  # whether it has left the queue
    blank: Literal["off", "asked", "confirmed"] = "off"  # confirmed: the microscope holds the beam blanked
    aborting: bool = False  # Abort was asked for, and what it ends has not ended


class Orders:
    """The operator's orders, of which the last one counts. Methods may be called from any thread and return at once.

    Args:
        keep: writes down what was wanted last, for the next process: a Start before anything rests on it, a Blank or an
            Abort at the next :meth:`write_down`, so that nobody waits for a disk to give one.
    """

    def __init__(self, keep: Callable[[Wanted], None] = lambda wanted: None) -> None:
        self._keep = keep
        self._keeping = threading.Lock()
        self._lock = threading.RLock()
        self._wanted: Wanted = ""
        self._written: Wanted = ""
        self._kept = False  # whether the order that waits is written down
        self._told = OrdersSnapshot()
        self._order: StartOrder | None = None  # the one that stands, waiting or begun
        self._stop: Stop | None = None  # the last one
        self._stopped_at = 0  # orders with a lower number do not stand
        self._blank_number = 0  # the number that the last Blank made

    @property
    def snapshot(self) -> OrdersSnapshot:
        """What is wanted now."""
        return self._told

    # -- from the operator --------------------------------------------------------------------------------

    def start(
        self,
        plan: ScanPlan,
        number: int | None = None,
        lifts: tuple[str, int] | None = None,
        operator: str | None = None,
    ) -> StartOrder:
        """Take a Start. ``number`` is the one that whoever gave it had seen; None says that nobody could give another.

        Raises:
            OrderRefused: it was taken before, a Blank or an Abort came after it, or another Start stands.
            StorageError: what is wanted cannot be written down.
        """
        with self._lock:
            self.check(number, "start")
            if self._order is not None:
                raise OrderRefused("start: an acquisition has the beam; abort it, or start when the beam is free")
            if self._told.blank == "asked":
                raise OrderRefused("start: the microscope has not confirmed the blank yet; start once it has")
            order = self._order = StartOrder(self._told.number + 1, plan, lifts, operator)
            self._wanted, self._kept = "start", False
            self._told = replace(self._told, number=order.number, start=plan.name, standing=order.number, begun=False)
        try:
            self._write_down()
        except BaseException:
            self.ended(order)
            raise
        with self._lock:
            self._kept = self._kept or self._order is order
        return order

    def check(self, number: int | None, what: str) -> None:
        """Check that whoever asks for ``what`` knew of all that was ordered before.

        Raises:
            OrderRefused: something came after the number that they had seen.
        """
        with self._lock:
            if number is None or number == self._told.number:
                return
            if self._stop is not None and number < self._stopped_at:
                raise OrderRefused(f"{what}: {self._stop.message} after this was asked for; ask again if it is wanted")
            raise OrderRefused(f"{what}: it was asked for twice, and is done once")

    def blank(self, message: str = "the beam was blanked from the page") -> None:
        """The beam must go off and stay off, and nothing ordered before stands. Asked until :meth:`confirm`."""
        self._stop_all(Stop("operator_blank", message), "asked")

    def blanked_elsewhere(self, message: str) -> None:
        """The microscope holds the beam blanked because somebody else wanted it: as :meth:`blank`, and confirmed."""
        self._stop_all(Stop("operator_blank", message), "confirmed")

    def abort(self, message: str = "aborted from the page") -> None:
        """What runs or waits must end: nothing ordered before stands."""
        self._stop_all(Stop("aborted", message), None)

    def withdraw(self, number: int, message: str) -> bool:
        """As :meth:`abort`, where the order of that number stands; whether it did. Nobody else's is touched."""
        with self._lock:
            stands = self._order is not None and self._order.number == number and number >= self._stopped_at
            if stands:
                self.abort(message)
            return stands

    def _stop_all(self, stop: Stop, blank: Literal["asked", "confirmed"] | None) -> None:
        with self._lock:
            number = self._told.number + 1
            self._stop, self._stopped_at = stop, number
            self._wanted = "abort" if blank is None else "blank"
            if not self._told.begun:
                self._order = None
            if blank is not None:
                self._blank_number = number
            self._told = replace(
                self._told,
                number=number,
                start=self._told.start if self._told.begun else None,
                standing=self._told.standing if self._told.begun else None,
                blank=self._told.blank if blank is None else blank,
                aborting=self._told.begun and (self._told.aborting or stop.reason == "aborted"),
            )

    def write_down(self) -> None:
        """Have the last Blank or Abort kept for the next process; it holds in this one whatever the disk does."""
        if self._wanted != self._written:
            with contextlib.suppress(StorageError):
                self._write_down()

    def _write_down(self) -> None:
        """The last order reaches the disk last, whoever gets there first."""
        with self._keeping:
            wanted = self._wanted
            self._keep(wanted)
            self._written = wanted

    # -- from those who carry them out --------------------------------------------------------------------

    def take(self) -> StartOrder | None:
        """The Start that waits, once, for whoever carries it out and calls :meth:`ended` afterwards."""
        with self._lock:
            if self._order is None or self._told.begun or not self._kept:
                return None
            self._told = replace(self._told, begun=True)
            return self._order

    def carry_on(self, plan: ScanPlan) -> StartOrder:
        """Leave to go on with what an earlier process was cut off from, until a Blank or an Abort comes."""
        with self._lock:
            self._order = StartOrder(self._told.number, plan)
            self._told = replace(self._told, start=plan.name, standing=self._order.number, begun=True)
            return self._order

    def stopped(self, order: StartOrder) -> Stop | None:
        """What took an order back; None while it stands."""
        with self._lock:
            return None if order.number >= self._stopped_at else self._stop

    def ended(self, order: StartOrder) -> None:
        """What ``order`` had begun does not have the beam any more, or will not begin: another Start may be taken."""
        with self._lock:
            if self._order is order:
                self._order = None
                self._told = replace(self._told, start=None, standing=None, begun=False, aborting=False)

    @property
    def blank_to_say(self) -> int | None:
        """The number of the Blank that the microscope is to be told until it confirms it; None where there is none."""
        with self._lock:
            return self._blank_number if self._told.blank == "asked" else None

    def confirm(self, blank: int) -> None:
        """The microscope holds the beam, as the Blank that :attr:`blank_to_say` named wanted."""
        with self._lock:
            if blank == self._blank_number and self._told.blank == "asked":
                self._told = replace(self._told, blank="confirmed")

    def not_held(self) -> None:
        """The microscope does not hold the beam although it had confirmed that: it is asked to again."""
        with self._lock:
            if self._told.blank == "confirmed":
                self._told = replace(self._told, blank="asked")

    def lifted(self, order: StartOrder) -> None:
        """The microscope lets scans light the beam again, because ``order`` came after the Blank."""
        with self._lock:
            if self.stopped(order) is None:
                self._told = replace(self._told, blank="off")
