"""The thread that blanks: nothing of the protocol, and no call of a driver, can delay it.

The server's loop lights the beam and shows :class:`Blanker` the operator's signs of life. Where they stay away for
longer than the dead man allows, whether the operator is silent or the loop is held up (in a driver's call, in a
message), the beam goes off all the same. A blanker that fails is asked again until it obeys.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Blanker"]

log = logging.getLogger(__name__)

_TICK_S = 0.005  # how often the dead man is looked at while the beam is on
_AGAIN_S = 0.01  # between two attempts, and between two looks at a loop that has not noticed a trip
_LATE_S = 0.02  # woken so much later than asked for, this process gets little time: nobody is to blame
_GRACE_NS = 30_000_000  # for the loop to catch up then
_SLOW_S = 0.25  # a call of the instrument's that takes longer has not blanked


class Blanker:
    """Calls ``blank`` of one instrument, on a thread of its own from :meth:`start` to :meth:`stop`.

    The loop calls :meth:`light` before it lights the beam and :meth:`blank` to put it out, then asks :meth:`obeyed`.

    Args:
        blank: the instrument's.
        dead_man_ns: silence after which the beam goes off.
        clock_ns: monotonic nanoseconds.
    """

    def __init__(
        self, blank: Callable[[], None], dead_man_ns: int, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._instrument_blank = blank
        self._dead_man_ns = dead_man_ns
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._heard_ns = 0
        self._lit = False  # the loop has said that it lights, and nobody has blanked since
        self._orders = 0  # how often the beam was to go off
        self._obeyed = 0  # so many of these orders were given before a call began that returned well
        self._trip = ""  # why the dead man acted, until the loop has taken notice
        self._trouble = ""  # how the last attempt failed
        self._calling_since = 0.0  # monotonic seconds; 0 where no call is under way
        self._ending = False
        self._grace_until_ns = 0
        self._thread = threading.Thread(target=self._work, name="blanker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, whether the instrument has obeyed or not."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(1.0)

    def heard(self, heard_ns: int) -> None:
        """The operator was last heard at ``heard_ns``, and the loop is turning."""
        self._heard_ns = max(self._heard_ns, heard_ns)

    def light(self) -> bool:
        """From now on the beam may be on. False, and it must not, where the dead man has acted or a blank is due."""
        with self._changed:
            if self._trip or self._due:
                return False
            self._lit = True
            self._changed.notify_all()
            return True

    def blank(self) -> None:
        """Put the beam out; returns at once."""
        with self._changed:
            self._ask()

    def obeyed(self, wait_s: float = 0.0) -> bool:
        """Whether the instrument has blanked since it was last asked to; waits for it up to ``wait_s``.

        A call that had begun before that does not count: the beam may have been lit while it was under way.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._due, wait_s) if wait_s else not self._due

    @property
    def trouble(self) -> str:
        """Why the beam may be on although it was to go off; empty where all is well."""
        if self._due and self._trouble:
            return self._trouble
        since = self._calling_since
        if since and time.monotonic() - since > _SLOW_S:
            return f"the instrument has been blanking for {time.monotonic() - since:.1f} s"
        return ""

    def take_trip(self) -> str:
        """Why the dead man acted, once; empty if it has not. The loop must call ``blank`` afterwards."""
        with self._changed:
            trip, self._trip = self._trip, ""
            return trip

    @property
    def _due(self) -> bool:
        """Whether the beam is to go off and has not been seen to."""
        return self._obeyed < self._orders

    def _ask(self) -> None:
        self._lit = False
        if not self._due:
            self._trouble = ""
        self._orders += 1
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._ending and not self._due:
                    return
                if not self._due:
                    self._wait()
                    self._look()
                if not self._due:
                    continue
                orders = self._orders
            self._call(orders)
            if self._ending:
                return

    def _wait(self) -> None:
        """Until something is to be done, or the dead man is to be looked at."""
        if not self._lit and not self._trip:
            self._changed.wait_for(lambda: self._lit or self._due or self._ending)
            return
        due_s = _AGAIN_S if self._trip else _TICK_S
        began = time.monotonic()
        self._changed.wait(due_s)
        if time.monotonic() - began > due_s + _LATE_S:
            self._grace_until_ns = self._clock_ns() + _GRACE_NS

    def _look(self) -> None:
        if self._trip:  # until the loop has noticed, whatever it was doing may have lit the beam
            self._ask()
            return
        now_ns = self._clock_ns()
        silent_ns = now_ns - self._heard_ns
        if self._lit and silent_ns > self._dead_man_ns and now_ns >= self._grace_until_ns:
            self._trip = f"nothing heard for {silent_ns / 1e6:.0f} ms, or the server was held up"
            log.warning("the beam goes off: %s", self._trip)
            self._ask()

    def _call(self, orders: int) -> None:
        """Blank, for so many orders."""
        self._calling_since = time.monotonic()
        try:
            self._instrument_blank()
        except Exception as error:
            trouble = f"cannot blank: {type(error).__name__}: {error}"
            if trouble != self._trouble:
                log.critical("the instrument cannot blank the beam; it is asked again until it obeys", exc_info=True)
            self._trouble = trouble
            self._calling_since = 0.0
            time.sleep(_AGAIN_S)
            return
        self._calling_since = 0.0
        with self._changed:
            if self._trouble:
                log.warning("the beam is blanked at last")
            self._obeyed, self._trouble = orders, ""
            self._changed.notify_all()
