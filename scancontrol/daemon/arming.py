"""Arming: everything that an acquisition needs, made before the beam moves.

The order is what keeps the beam off where it must be: first whether the Start still stands and nobody has blanked the
beam since; then plan, dose and recording; then the hold that the operator had seen is lifted, and no later one.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from scancontrol.acquisition import Acquisition, Permit
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.beam_settings import BeamSettings
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.hold_watch import HoldWatch
from scancontrol.daemon.interrupted import Interrupted, Waiting
from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.daemon.outputs import RunOutputs
from scancontrol.daemon.run import Run
from scancontrol.errors import InvalidInput, OrderRefused, RequestRefused
from scancontrol.link.link import MicroscopeLink
from scancontrol.paths import Adaptive, PathRecipe
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recent import Recent
from scancontrol.recording import RecordingWriter, file_name, record_plan
from scancontrol.recording.need import RecordingNeed

__all__ = ["Arming", "check_hold", "still_wanted"]

_PLANS_KEPT = 8
_INTERRUPTED = ("interrupted", "")  # finish reason and message of what is only collected


class Arming:
    """Makes the runs, in the thread that owns the link.

    Args:
        settings: see there.
        orders: what is wanted.
        outputs: made anew for each run: what its samples go to.
        dose: keeps the specimen's dose ledger.
        describing: what a recording says of itself.
        holds: is told of the hold that a Start lifts.
        permit: taken back when the order does not stand any more.
        notice: takes a line for the operator and its level.
        says: is told what is being made, before it is.
        on_turn: called often while an acquisition runs.
        clock: monotonic time in s.
        begun: series that were used before, whose numbers are not given again.
    """

    def __init__(
        self,
        settings: BeamSettings,
        orders: Orders,
        outputs: Callable[[PlannedScan, RecordingWriter], RunOutputs],
        dose: DoseKeeper,
        describing: Describing,
        holds: HoldWatch,
        permit: Permit,
        notice: Callable[[str, str], None],
        *,
        says: Callable[[str], None],
        on_turn: Callable[[MicroscopeLink], None],
        clock: Callable[[], float],
        begun: Sequence[int],
    ) -> None:
        self._settings, self._orders, self._outputs = settings, orders, outputs
        self._dose, self._describing = dose, describing
        self._holds, self._permit, self._notice = holds, permit, notice
        self._says, self._on_turn, self._clock = says, on_turn, clock
        self._series = itertools.count(max(int(time.time()) & 0x3FFFFFFF, max(begun, default=-1) + 1))
        self._planned: Recent[ScanPlan, PlannedScan] = Recent(_PLANS_KEPT)  # on the microscope that is there

    def turn_to_specimen(self, link: MicroscopeLink) -> None:
        """Count in the dose ledger of the specimen that is described now. While nothing runs.

        Raises:
            StorageError: its ledger cannot be opened; the one before goes on.
        """
        if self._dose.turn_to(self._describing.now.in_ledger(self._dose.config)):
            self._notice(f"the dose counts for the specimen {self._dose.config.id} from here on", "info")
            self._dose.reconcile(link)

    def new(self, link: MicroscopeLink, order: StartOrder) -> Run:
        """The acquisition that an order asks for, with its recording; the hold that the order may lift is lifted.

        Raises:
            ScanControlError: why it cannot or must not be; nothing is left of it.
        """
        check_hold(self._orders, link, order)
        self.turn_to_specimen(link)
        self._says("the paths of the plan, and its dose")
        planned = self._on_microscope(order.plan, link.capabilities)
        self._dose.check(planned)
        stated, meant = link.capabilities.beam_current_pa, planned.beam_current_pa
        if abs(meant - stated) > 0.01 * stated:
            told = f"the plan counts dose with {meant:g} pA, the microscope states {stated:g} pA"
            self._notice(f"{told}; set one of them right", "warning")
        vary = self._settings.compensate_drift
        need = RecordingNeed.of(planned, self._settings.keep_restorations, paths_vary=vary)
        need.check(self._settings.output)
        self._says(f"a recording of {need.frames} frames: {need}")
        series_id, about = next(self._series), self._describing.about()
        unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"  # two daemons may share folder and second
        still_wanted(self._orders, order)
        recording = record_plan(
            self._settings.output / file_name(planned.plan, unique),
            planned,
            series_id=series_id,
            series_unique_id=unique,
            specimen=self._dose.config.id,
            stage_nm=self._dose.stage_nm,
            about=about if order.operator is None else msgspec.structs.replace(about, operator=order.operator),
            keep_restorations=self._settings.keep_restorations,
            fsync=self._settings.fsync,
            sample_dtype=link.capabilities.sample_dtype,
            paths_vary=vary,
        )
        try:
            self._lift(link, order)
            return self._run_of(link, order, planned, recording)
        except BaseException:
            recording.close("aborted")
            recording.path.unlink(missing_ok=True)
            raise

    def again(
        self,
        link: MicroscopeLink,
        order: StartOrder,
        unfinished: Interrupted,
        others: Waiting,
        ends_as: tuple[str, str] | None,
    ) -> Run:
        """An acquisition that was cut off, with its own recording, and with the ``others`` that wait after it.

        With ``ends_as``, a finish reason and a message, it only collects what the microscope kept.

        Raises:
            InvalidInput: the recording cannot be gone on with.
            RecordingInUse: another process goes on with it.
        """
        planned, name = unfinished.planned, unfinished.path.name
        if ends_as is None and (self._settings.on_interrupted == "end" or others):
            ends_as = _INTERRUPTED
        if ends_as is None:
            try:
                planned = PlannedScan(planned.plan, link.capabilities)
                check_hold(self._orders, link, order)
            except (InvalidInput, OrderRefused) as error:
                self._notice(f"{name} is ended, because it cannot go on: {error}", "error")
                ends_as = _INTERRUPTED
        recorded = unfinished.recipes() if self._settings.compensate_drift or _adapts(planned) else {}
        recording = RecordingWriter.resume(unfinished.path, fsync=self._settings.fsync)
        self._notice(f"{name} was interrupted and {'goes on' if ends_as is None else 'is ended'}", "warning")
        opened = others.open(fsync=self._settings.fsync)
        return self._run_of(link, order, planned, recording, ends_as=ends_as, others=opened, recorded=recorded)

    def _on_microscope(self, plan: ScanPlan, capabilities: Capabilities) -> PlannedScan:
        planned = self._planned.get(plan)
        if planned is None or planned.capabilities != capabilities:
            planned = self._planned[plan] = PlannedScan(plan, capabilities)
        return planned

    def _lift(self, link: MicroscopeLink, order: StartOrder) -> None:
        """End the hold that the operator had seen when giving the Start, and none that came later."""
        check_hold(self._orders, link, order)
        if order.lifts is None or order.lifts[0] != link.server_id:
            self._orders.lifted(order)  # what was held, if anything, is gone with the server that held it
            return
        try:
            link.set_blanker("auto", hold=order.lifts[1])
        except RequestRefused as refused:
            still_wanted(self._orders, order)
            raise OrderRefused(f"{order.plan.name} is not begun: {refused}") from refused
        self._holds.lifted(order)
        self._orders.lifted(order)
        self._notice("the hold of the blank is lifted by this start", "warning")

    def _run_of(
        self,
        link: MicroscopeLink,
        order: StartOrder,
        planned: PlannedScan,
        recording: RecordingWriter,
        *,
        ends_as: tuple[str, str] | None = None,
        others: Mapping[int, RecordingWriter] | None = None,
        recorded: Mapping[int, PathRecipe] | None = None,
    ) -> Run:
        frames = planned.plan.frames if ends_as is None else 0
        self._dose.under(planned.path(0))
        outputs = self._outputs(planned, recording)
        planner, before = (outputs.looks.recipe if _adapts(planned) else planned.recipe), recorded or {}
        recipes: Iterable[PathRecipe] = (before.get(frame) or planner(frame) for frame in range(frames))
        if self._settings.compensate_drift:
            recipes = outputs.drift.recipes(frames, planner, before.get)
        acquisition = Acquisition(
            link,
            recording,
            recipes,
            outputs.sinks,
            frames_planned=planned.plan.frames,
            interval_s=planned.plan.interval_s,
            area=self._dose.area,
            dose=self._dose.series(recording.header.series_unique_id, planned),
            others=others,
            detectors=tuple(channel.name for channel in link.capabilities.detectors),
            permit=self._permit,
            completed_as=ends_as or ("completed", ""),
            on_notice=lambda notice: self._notice(notice.message, "warning"),
            on_turn=lambda: self._on_turn(link),
            clock=self._clock,
        )
        opened = () if others is None else tuple(others.values())
        return Run(
            order,
            planned,
            recording,
            outputs,
            acquisition,
            only_collects=frames == 0,
            others=opened,
            taken_up=others is not None,
        )


def _adapts(planned: PlannedScan) -> bool:
    return any(isinstance(pattern, Adaptive) for pattern in planned.plan.patterns)


def still_wanted(orders: Orders, order: StartOrder) -> None:
    """Whether the order stands.

    Raises:
        OrderRefused: it does not any more; says why.
    """
    stop = orders.stopped(order)
    if stop is not None:
        raise OrderRefused(f"{order.plan.name} is not begun: {stop.message}")


def check_hold(orders: Orders, link: MicroscopeLink, order: StartOrder) -> None:
    """Whether the order stands, and the beam was not blanked after it was given.

    Raises:
        OrderRefused: one of them is not so.
    """
    still_wanted(orders, order)
    status = link.status
    if status is not None and status.blanker == "blank" and (status.server_id, status.blanks) != order.lifts:
        raise OrderRefused(
            f"{order.plan.name} is not begun: the beam was blanked after that was asked for; start again"
        )
