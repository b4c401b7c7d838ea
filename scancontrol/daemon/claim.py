"""A script's claim to be the only one that may start, for as long as it is heard. What it started ends with it.

A page needs no claim, for a scan does not need the page. A script that holds one must be heard from all the while; one
that dies, hangs or loses its connection is aborted, so that no beam waits on a specimen for somebody who is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from scancontrol.daemon.orders import Orders
from scancontrol.errors import OrderRefused, within

__all__ = ["Claims", "Holder"]


@dataclass(frozen=True)
class Holder:
    """Who holds the claim: ``client`` is whatever tells connections apart."""

    client: object
    operator: str
    within_s: float


class Claims:
    """At most one claim. Methods may be called from any thread and return at once.

    Args:
        orders: where what a lost script had started is taken back.
        say: takes a line for the operators and its level.
        clock: monotonic time in s.
    """

    def __init__(self, orders: Orders, say: Callable[[str, str], None], clock: Callable[[], float]) -> None:
        self._orders, self._say, self._clock = orders, say, clock
        self._lock = threading.Lock()
        self._holder: Holder | None = None
        self._heard_at = 0.0
        self._number: int | None = None  # of the holder's last order
        self._claimed: WeakSet[object] = WeakSet()  # all that ever held it, as long as anything of theirs may wait
        self._gone: WeakSet[object] = WeakSet()  # all that left, likewise

    @property
    def holder(self) -> Holder | None:
        """Who alone may start now."""
        return self._holder

    def operator_of(self, client: object | None) -> str | None:
        """The name that the holder gave; None of everybody else."""
        holder = self._holder
        return holder.operator if holder is not None and holder.client is client else None

    def claim(self, client: object, operator: str, within_s: float) -> None:
        """Let nobody else start, until this client leaves or is not heard for ``within_s``.

        Raises:
            OrderRefused: somebody else holds it, or the client is gone already.
            InvalidInput: ``within_s`` is too short to be kept, or so long that it protects nothing.
        """
        within("within_s", within_s, 0.5, 60.0, "be heard from at least once a minute")
        with self._lock:
            self._check_free(client, "claim")
            if client in self._gone:
                raise OrderRefused("claim: whoever asked for it is gone")
            if self._holder is None:
                self._number = None
            self._claimed.add(client)
            self._holder, self._heard_at = Holder(client, operator, within_s), self._clock()

    def check(self, client: object | None, what: str) -> None:
        """Whether ``client`` may do ``what`` only one at a time may.

        Raises:
            OrderRefused: somebody else holds the claim, or the client has lost its own.
        """
        with self._lock:
            self._check_free(client, what)
            if client is not None and client in self._claimed and self._holder is None:
                raise OrderRefused(f"{what}: this script was not heard in time, and its claim has ended; claim again")

    def _check_free(self, client: object | None, what: str) -> None:
        holder = self._holder
        if holder is not None and holder.client is not client:
            raise OrderRefused(f"{what}: a script of {holder.operator} has the beam until it ends; abort ends its scan")

    def started(self, client: object | None, number: int) -> None:
        """An order of ``client`` was taken: it ends with the client, if that has claimed; at once, if it is gone."""
        with self._lock:
            if client is None or client not in self._claimed:
                return
            if self._holder is not None and self._holder.client is client:
                self._number = number
                return
        self._withdraw(number, "a script ended before what it asked for began")

    def heard(self, client: object) -> None:
        """The client is alive."""
        with self._lock:
            if self._holder is not None and self._holder.client is client:
                self._heard_at = self._clock()

    def left(self, client: object) -> None:
        """The client's connection is gone."""
        with self._lock:
            self._gone.add(client)
        self._end(client, "has ended")

    def look(self) -> None:
        """Notice a holder that is silent for too long."""
        with self._lock:
            holder = self._holder
            if holder is None or self._clock() - self._heard_at <= holder.within_s:
                return
        self._end(holder.client, f"was not heard for {holder.within_s:g} s")

    def _end(self, client: object, what: str) -> None:
        with self._lock:
            holder, number = self._holder, self._number
            if holder is None or holder.client is not client:
                return
            self._holder = self._number = None
        if number is not None:
            self._withdraw(number, f"the script of {holder.operator} {what}")

    def _withdraw(self, number: int, why: str) -> None:
        if self._orders.withdraw(number, why):
            self._say(f"{why}: its scan is aborted", "warning")
