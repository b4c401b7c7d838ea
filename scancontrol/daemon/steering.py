"""What the page's commands do. A Blank or an Abort takes effect at once, in whichever thread it arrives."""

from __future__ import annotations

from collections.abc import Callable

from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.claim import Claims
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.orders import Orders
from scancontrol.daemon.page.hub import Asked
from scancontrol.daemon.page.messages import (
    Abort,
    Claim,
    CorrectDelay,
    Describe,
    EmergencyBlank,
    LookAt,
    Pause,
    Record,
    Resume,
    ShowChannel,
    Start,
)
from scancontrol.daemon.plans import PlanBook
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.errors import InvalidInput, OrderRefused, ScanControlError
from scancontrol.restoration import Look

__all__ = ["Steering"]


class Steering:
    """The page's hand on the orders and on the acquisition that runs.

    ``correct_delay`` and ``look_at`` are those of :class:`scancontrol.daemon.restorations.Restorations`; ``say`` takes
    a line and its level.
    """

    def __init__(
        self,
        orders: Orders,
        beam: BeamThread,
        plans: PlanBook,
        shown: ShownChannel,
        describing: Describing,
        claims: Claims,
        correct_delay: Callable[[], float],
        look_at: Callable[[Look], None],
        say: Callable[[str, str], None],
    ) -> None:
        self._orders, self._beam, self._plans, self._say = orders, beam, plans, say
        self._shown, self._describing, self._claims = shown, describing, claims
        self._correct_delay, self._look_at = correct_delay, look_at

    def stop(self, command: Abort | EmergencyBlank) -> None:
        """Take a Blank or an Abort. Returns at once and waits for nothing."""
        if isinstance(command, EmergencyBlank):
            self._orders.blank(command.reason or "the beam was blanked from the page")
            return
        if self._beam.snapshot.unfinished is not None and self._orders.snapshot.aborting:
            self._beam.give_up()  # asked for again while only its last samples are waited for
        self._orders.abort(command.reason or "aborted from the page")

    def carry_out(self, asked: Asked) -> None:
        """Take a command, and say what there is to say of it: to whoever waits for an answer, else to everybody."""
        try:
            number = self._carry_out(asked)
        except ScanControlError as error:
            if not asked.refused(error):
                self._say(str(error), "warning")
            return
        asked.done(number)

    def _carry_out(self, asked: Asked) -> int | None:
        """Returns the number of an order that was taken.

        Raises:
            ScanControlError: why it is not taken.
        """
        run = self._beam.run
        match asked.command:
            case EmergencyBlank():
                self._say("blank asked for: nothing that was ordered before will light the beam", "warning")
                return self._orders.snapshot.number
            case Abort():
                self._say("abort asked for: nothing that was ordered before will light the beam", "info")
                return self._orders.snapshot.number
            case Start(plan=plan, number=number):
                self._claims.check(asked.client, "start")
                operator = self._claims.operator_of(asked.client)
                order = self._orders.start(self._plans.find(plan), number, self._beam.snapshot.hold, operator)
                self._claims.started(asked.client, order.number)
                return order.number
            case Claim(operator=operator, within_s=within_s):
                if asked.client is not None:
                    self._claims.claim(asked.client, operator, within_s)
            case Pause():
                if run is None or not run.acquisition.pause():
                    raise OrderRefused("pause: nothing is scanned now")
            case Resume(number=number):
                self._orders.check(number, "resume")
                if run is None or not run.acquisition.resume():
                    raise OrderRefused("resume: nothing is paused now")
            case ShowChannel(channel=name, beside=beside):
                known = self._beam.channels
                for one in (name,) if beside is None else (name, beside):
                    if one not in known:
                        raise InvalidInput("channel", one, "is not recorded", f"choose of {', '.join(known)}")
                self._shown.name, self._shown.beside = name, beside or ""
                self._say(
                    f"{name if beside is None else f'{name} and {beside}'} shown and restored from here on", "info"
                )
            case LookAt(look=look):
                self._look_at(look)
                ways = ["from it alone"] * look.alone + ["without a lattice"] * (not look.lattice)
                self._say(f"the newest frame is shown {' and '.join(ways) or 'as it is kept'}", "info")
            case CorrectDelay():
                late_us = self._correct_delay()
                lateness = f"readings are taken to come {late_us:.3g} µs later than the microscope states"
                self._say(f"{lateness}, from the next frame on; calibrate measures it", "info")
            case Describe(about=change):
                told = self._describing.change(change)
                running = " from the next recording on" if self._orders.snapshot.start is not None else ""
                self._say(f"specimen {told.specimen}, operator {told.operator or 'unnamed'}{running}", "info")
            case Record():
                self._say("every acquisition is recorded: raw samples reach the disk first", "info")
        return None
