"""Carries a Blank to the microscope, until it is confirmed, over a thread and a connection that do nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from scancontrol.daemon.orders import Orders
from scancontrol.link.blank import BlankLine
from scancontrol.transport.keys import ClientSecurity

__all__ = ["Blanker"]

_LOOK_S = 0.005  # how soon a Blank is seen; looking costs nothing that could be felt
_SAY_S = 1.0


class Blanker:
    """Says what :attr:`Orders.blank_to_say` wants said, as long as it wants that.

    ``notice`` takes a line for the operator: that it was confirmed, or that it is not yet.

    Raises:
        InvalidInput: the address is none, or is on the network and no keys are given.
    """

    def __init__(
        self,
        orders: Orders,
        address: str,
        *,
        name: str,
        security: ClientSecurity | None,
        notice: Callable[[str, str], None],
    ) -> None:
        self._orders, self._notice = orders, notice
        self._line = BlankLine(address, name=name, security=security)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="blanker", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a Blank that is being said is said to its end."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._line.close()

    def _work(self) -> None:
        told_late: int | None = None
        while not self._ending.wait(_LOOK_S):
            number = self._orders.blank_to_say
            if number is None:
                self._line.keep()
                continue
            if self._line.say(_SAY_S):
                self._orders.confirm(number)
                self._notice("beam blanked and held: the microscope confirms it; Start lifts it", "warning")
            elif number != told_late:
                told_late = number
                text = "BLANK ASKED FOR, NOT CONFIRMED: the microscope does not answer; it is asked until it does"
                self._notice(f"{text}. Use the column's own blanker", "error")
