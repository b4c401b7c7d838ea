"""What the page's commands do. A Blank or an Abort takes effect at once, in whichever thread it arrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.orders import Orders
from scancontrol.daemon.page.messages import Abort, Command, EmergencyBlank, Pause, Record, Resume, ShowChannel, Start
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.plan.plan import ScanPlan

__all__ = ["Steering"]


class Steering:
    """The page's hand on the orders and on the acquisition that runs. ``say`` takes a line and its level."""

    def __init__(
        self,
        orders: Orders,
        beam: BeamThread,
        plans: Mapping[str, ScanPlan],
        shown: ShownChannel,
        say: Callable[[str, str], None],
    ) -> None:
        self._orders, self._beam, self._plans, self._shown, self._say = orders, beam, plans, shown, say

    def stop(self, command: Abort | EmergencyBlank) -> None:
        """Take a Blank or an Abort. Returns at once and waits for nothing."""
        if isinstance(command, EmergencyBlank):
            self._orders.blank()
            return
        if self._beam.snapshot.unfinished is not None and self._orders.snapshot.aborting:
            self._beam.give_up()  # asked for again while only its last samples are waited for
        self._orders.abort()

    def carry_out(self, command: Command) -> None:
        """Take a command, and say what there is to say of it."""
        try:
            self._carry_out(command)
        except ScanControlError as error:
            self._say(str(error), "warning")

    def _carry_out(self, command: Command) -> None:
        run = self._beam.run
        match command:
            case EmergencyBlank():
                self._say("blank asked for: nothing that was ordered before will light the beam", "warning")
            case Abort():
                self._say("abort asked for: nothing that was ordered before will light the beam", "info")
            case Start(plan=name, number=number):
                if name not in self._plans:
                    raise InvalidInput("plan", name, "is not offered", f"choose of {', '.join(self._plans)}")
                self._orders.start(name, number, self._beam.hold)
            case Pause():
                if run is None or not run.acquisition.pause():
                    self._say("pause: nothing is scanned now", "warning")
            case Resume(number=number):
                self._orders.check(number, "resume")
                if run is None or not run.acquisition.resume():
                    self._say("resume: nothing is paused now", "warning")
            case ShowChannel(channel=name):
                known = self._beam.channels
                if name not in known:
                    raise InvalidInput("channel", name, "is not recorded", f"choose of {', '.join(known)}")
                self._shown.name = name
                self._say(f"{name} is shown and restored from here on", "info")
            case Record():
                self._say("every acquisition is recorded: raw samples reach the disk first", "info")
