"""The thread that owns the link to the microscope: idle, or running one acquisition after another.

Everything that lights the beam happens here, in one thread, and only while the order that it happens for stands in
:mod:`~scancontrol.daemon.orders`: the link asks before it sends anything that leads to light, the acquisition before
each frame. The Blank alone goes another way, :mod:`~scancontrol.daemon.blanker`, so that it waits for nothing here.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scancontrol.acquisition import Acquisition, AcquisitionStatus, Stop
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.closing import Closing
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.interrupted import Interrupted, Waiting
from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.daemon.outputs import RunOutputs
from scancontrol.daemon.run import Run
from scancontrol.daemon.snapshot import BeamSnapshot
from scancontrol.errors import (
    InvalidInput,
    LinkError,
    OrderRefused,
    RecordingError,
    RecordingInUse,
    RequestRefused,
    ScanControlError,
    StorageError,
)
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.processes.logs import set_scan
from scancontrol.recording import About, RecordingWriter, file_name, record_plan
from scancontrol.transport.keys import ClientSecurity

__all__ = ["BeamSettings", "BeamThread"]

log = logging.getLogger(__name__)

_IDLE_S = 0.05
_TELL_S = 0.05  # how often the thread says how it is
_RETRY_S = (0.5, 10.0)  # shortest and longest wait before a disk or a microscope that failed is tried again


@dataclass(frozen=True)
class BeamSettings:
    """What the beam's thread is told of the configuration."""

    address: str  # of the microscope
    operator: str  # whose lease it is
    about: About  # what every recording says of itself
    security: ClientSecurity | None  # keys, where the address is not loopback
    output: Path  # folder of the recordings
    keep_restorations: Literal["all", "last", "none"]
    fsync: bool
    on_interrupted: Literal["resume", "end"]  # what is done with an acquisition whose disk or link failed
    connect_timeout_s: float = 5.0


class BeamThread:
    """Connects, keeps the link alive, and carries out the orders.

    Args:
        settings: see there.
        orders: what is wanted.
        plans: what a Start may name.
        outputs: made anew for each run, in this thread: what its samples go to.
        closing: takes runs that have ended.
        dose: keeps the specimen's dose ledger.
        notice: takes a line for the operator and its level.
        interrupted: acquisitions that earlier processes were cut off from, oldest first; dealt with first of all.
        ends_as: finish reason and message with which the newest is ended in any case; None where it may go on.
        link: makes the link.
        clock: monotonic time in s.
        wait: waits so many seconds, or until the daemon ends; whether it does.
    """

    def __init__(
        self,
        settings: BeamSettings,
        orders: Orders,
        plans: Mapping[str, ScanPlan],
        outputs: Callable[[PlannedScan, RecordingWriter], RunOutputs],
        closing: Closing,
        dose: DoseKeeper,
        notice: Callable[[str, str], None],
        *,
        interrupted: Sequence[Interrupted] = (),
        ends_as: tuple[str, str] | None = None,
        link: Callable[..., MicroscopeLink] = MicroscopeLink,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._settings, self._orders, self._plans = settings, orders, plans
        self._outputs, self._closing, self._dose, self._notice = outputs, closing, dose, notice
        self._new_link = link
        self._stopping = threading.Event()
        self._clock, self._wait = clock, wait or self._stopping.wait
        self._ready = threading.Event()
        self._given_up = threading.Event()  # what waits to be gone on with need not be
        self._retry_s = 0.0
        begun = max((each.series_id for each in interrupted), default=-1)
        self._series = itertools.count(max(int(time.time()) & 0x3FFFFFFF, begun + 1))
        # Of this thread alone:
        self._order: StartOrder | None = None  # the one that is carried out
        self._waiting, self._newest_ends_as = Waiting(interrupted, notice), ends_as
        self._unfinished: Interrupted | None = None
        # Finish reason and message of an acquisition that only waits for its last samples, or for its end:
        self._ends_as: tuple[str, str] | None = None
        self._next_unfinished()
        self._running = False
        self._planned: dict[str, PlannedScan] = {}
        self._seen_hold: tuple[str, int] | None = None  # (server id, its count of blanks) that the orders know of
        self._held = False  # whether the microscope was seen to hold the beam and nobody here has lifted that
        self._tell_at = 0.0
        # Replaced by this thread as a whole, and read by any:
        self._told = BeamSnapshot(address=settings.address)
        self._capabilities: Capabilities | None = None
        self._run: Run | None = None
        self._refusal: ScanControlError | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="beam")

    # -- from any thread --------------------------------------------------------------------------------

    def connect(self, timeout_s: float) -> Capabilities:
        """Start the thread and wait until the microscope has answered; raises what went wrong there."""
        self._thread.start()
        self._ready.wait(timeout_s + 30)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        if self._capabilities is None:
            address = self._settings.address
            raise LinkError(f"the microscope at {address} did not answer in time; see whether it runs")
        return self._capabilities

    @property
    def snapshot(self) -> BeamSnapshot:
        """The microscope as this thread last saw it."""
        return self._told

    @property
    def run(self) -> Run | None:
        """The acquisition that has the beam, or had it last; complete before it is here."""
        return self._run

    @property
    def refusal(self) -> ScanControlError | None:
        """Why the last acquisition asked for was not begun."""
        return self._refusal

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; :attr:`failure` says why if it does not."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._failure

    @property
    def hold(self) -> tuple[str, int] | None:
        """The hold that a Start given now would lift: (server id, its count of blanks); None where nothing is held."""
        status = self._told.status
        return (status.server_id, status.blanks) if status is not None and status.blanker == "blank" else None

    def give_up(self) -> None:
        """Let go of a recording that waits for its disk or its link, and of what the microscope keeps for it."""
        self._given_up.set()

    def stop(self, timeout_s: float) -> None:
        """Abort what runs (which blanks the beam), give the lease back, and end the thread."""
        self._stopping.set()
        run = self._run
        if run is not None:
            run.acquisition.abort("the daemon ends")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # -- the permit of what is carried out -----------------------------------------------------------------

    @property
    def stopped(self) -> Stop | None:
        """See :class:`~scancontrol.acquisition.Permit`: why the order that is carried out does not stand any more."""
        return None if self._order is None else self._orders.stopped(self._order)

    def _may_light(self) -> bool:
        return self._order is not None and self._orders.stopped(self._order) is None

    # -- the thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._serve()
                except ScanControlError as error:  # the link, the recording's disk, or that of the dose ledger
                    self._tell(None)
                    passes = self._unfinished is not None or isinstance(error, LinkError | StorageError)
                    if not (passes and self._ready.is_set()):
                        raise
                    self._notice(str(error), "warning")
                    self._put_off(str(error))
        except ScanControlError as error:
            self._failure = error
        except BaseException as error:
            self._failure = error
            log.exception("the beam's thread failed")
        finally:
            self._tell(None)
            self._ready.set()

    def _serve(self) -> None:
        """One connection: until the daemon ends, or an acquisition is left unfinished and needs a fresh one."""
        unfinished, settings = self._unfinished, self._settings
        with self._new_link(
            settings.address,
            security=settings.security,
            operator=settings.operator,
            have=None if unfinished is None else self._waiting.have(unfinished),
            may_light=self._may_light,
        ) as link:
            self._capabilities = link.connect(settings.connect_timeout_s)
            self._say_blank(link)
            self._tell(link)
            found = self._dose.reconcile(link)
            if found:
                self._notice(f"{found:.4g} electrons of scans that were cut off are now in the dose ledger", "warning")
            self._look(link)
            self._ready.set()
            if unfinished is not None:
                self._carry_on(link, unfinished)
                return
            while not self._stopping.is_set() and self._unfinished is None:
                self._turn(link)

    def _say_blank(self, link: MicroscopeLink) -> None:
        """Where a Blank stands, it is the first thing that a new connection says: the server may be another one."""
        number = self._orders.blank_to_say
        if number is not None or self._orders.snapshot.blank == "confirmed":
            link.blank()
            if number is not None:
                self._orders.confirm(number)

    def _turn(self, link: MicroscopeLink) -> None:
        self._look(link)
        order = self._orders.take() if link.connected else None
        if order is None:
            link.receive(_IDLE_S)
            return
        self._order = order
        try:
            run = self._arm(link, order)
        except ScanControlError as error:
            self._refusal = error
            self._notice(str(error), "error")
            self._finished(order)
            return
        self._carry_out(link, run)

    def _arm(self, link: MicroscopeLink, order: StartOrder) -> Run:
        """Everything that an acquisition needs, made before the beam moves. Raises why it cannot or must not be."""
        self._check_hold(link, order)
        planned = self._on_microscope(order.plan, link.capabilities)
        self._dose.check(planned)
        stated, meant = link.capabilities.beam_current_pa, planned.beam_current_pa
        if abs(meant - stated) > 0.01 * stated:
            told = f"the plan counts dose with {meant:g} pA, the microscope states {stated:g} pA"
            self._notice(f"{told}; set one of them right", "warning")
        series_id = next(self._series)
        unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"  # two daemons may share folder and second
        self._still_wanted(order)
        recording = record_plan(
            self._settings.output / file_name(planned.plan, unique),
            planned,
            series_id=series_id,
            series_unique_id=unique,
            specimen=self._dose.config.id,
            stage_nm=self._dose.stage_nm,
            about=self._settings.about,
            keep_restorations=self._settings.keep_restorations,
            fsync=self._settings.fsync,
            sample_dtype=link.capabilities.sample_dtype,
        )
        try:
            self._lift(link, order)
            return self._run_of(link, order, planned, recording, planned.plan.frames)
        except BaseException:
            recording.close("aborted")
            recording.path.unlink(missing_ok=True)
            raise

    def _on_microscope(self, name: str, capabilities: Capabilities) -> PlannedScan:
        planned = self._planned.get(name)
        if planned is None or planned.plan != self._plans[name] or planned.capabilities != capabilities:
            planned = self._planned[name] = PlannedScan(self._plans[name], capabilities)
        return planned

    def _still_wanted(self, order: StartOrder) -> None:
        stop = self._orders.stopped(order)
        if stop is not None:
            raise OrderRefused(f"{order.plan} is not begun: {stop.message}")

    def _check_hold(self, link: MicroscopeLink, order: StartOrder) -> None:
        """Raise :class:`OrderRefused` where the beam was blanked after the Start was given."""
        self._still_wanted(order)
        status = link.status
        if status is not None and status.blanker == "blank" and (status.server_id, status.blanks) != order.lifts:
            raise OrderRefused(f"{order.plan} is not begun: the beam was blanked after that was asked for; start again")

    def _lift(self, link: MicroscopeLink, order: StartOrder) -> None:
        """End the hold that the operator had seen when giving the Start, and none that came later."""
        self._check_hold(link, order)
        if order.lifts is None or order.lifts[0] != link.server_id:
            return
        try:
            link.set_blanker("auto", hold=order.lifts[1])
        except RequestRefused as refused:
            self._still_wanted(order)
            raise OrderRefused(f"{order.plan} is not begun: {refused}") from refused
        self._seen_hold, self._held = order.lifts, False
        self._orders.lifted(order)
        self._notice("the hold of the blank is lifted by this start", "warning")

    def _run_of(
        self,
        link: MicroscopeLink,
        order: StartOrder,
        planned: PlannedScan,
        recording: RecordingWriter,
        frames: int,
        others: Mapping[int, RecordingWriter] | None = None,
    ) -> Run:
        self._dose.under(planned.path(0))
        outputs = self._outputs(planned, recording)
        acquisition = Acquisition(
            link,
            recording,
            map(planned.recipe, range(frames)),
            outputs.sinks,
            frames_planned=planned.plan.frames,
            area=self._dose.area,
            dose=self._dose.series(recording.header.series_unique_id, planned),
            others=others,
            detectors=tuple(channel.name for channel in link.capabilities.detectors),
            permit=self,
            completed_as=(self._ends_as or ("interrupted", "")) if frames == 0 else ("completed", ""),
            on_notice=lambda notice: self._notice(notice.message, "warning"),
            on_turn=lambda: self._look(link),
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

    def _carry_out(self, link: MicroscopeLink, run: Run) -> None:
        self._run, self._running = run, True
        set_scan(run.recording.header.series_unique_id)
        log.info("scanning %s into %s", run.planned.plan.name, run.recording.path.name)
        try:
            status = run.acquisition.run()
        finally:
            for other in run.others:
                other.abandon()
        self._running = False
        log.info("ended: %s: %s", status.finish_reason, status.explanation)
        stopping, left = self._stopping.is_set(), status.resumable or status.owed
        if stopping or left:
            link.close()  # the lease is free, and the beam certainly off, before anything else is tidied up
            self._tell(None)
        if left and not stopping:
            self._leave_open(run, status)
            return
        self._closing.finish(run, status)
        self._retry_s = 0.0
        self._next_unfinished()
        if self._unfinished is None:
            self._finished(run.order)

    def _leave_open(self, run: Run, status: AcquisitionStatus) -> None:
        """Let go of a recording that is gone on with, or ended, over a fresh link or once its disk takes samples."""
        path = run.recording.path
        run.outputs.finish(0.0, 60.0, self._stopping.is_set)
        self._put_back(run.recording)
        run.recording.abandon()
        self._notice(f"{path.name} is left open: {status.explanation}", "warning")
        if not status.resumable:
            self._ends_as = (status.finish_reason or "", status.message)
        try:
            self._unfinished = Interrupted.look_into(path)
        except ScanControlError as error:
            self._notice(f"{path.name} cannot be gone on with: {error}", "error")
            self._next_unfinished()
            if self._unfinished is None:
                self._finished(run.order)
        self._put_off(status.message)

    def _put_back(self, recording: RecordingWriter) -> None:
        """Where the file was deleted under us, hold on to it until there is a place to write it to; the beam is off."""
        wait_s = _RETRY_S[0]
        while True:
            try:
                recording.put_back()
                return
            except RecordingError as error:
                self._told = replace(self._told, unfinished=recording.path.name)
                self._notice(str(error), "error")
            if self._wait(wait_s) or self._given_up.is_set():
                return
            wait_s = min(2 * wait_s, _RETRY_S[1])

    def _finished(self, order: StartOrder) -> None:
        """The beam is free for another order."""
        self._order = None
        self._orders.ended(order)

    # -- going on with what was cut off ----------------------------------------------------------------------

    def _carry_on(self, link: MicroscopeLink, unfinished: Interrupted) -> None:
        """Go on with an acquisition, or end it, as was chosen. Raises what is to be tried again."""
        if self._order is None:
            self._order = self._orders.carry_on(unfinished.planned.plan.name)
        order = self._order
        try:
            unfinished.check(link.capabilities)
            run = self._rearm(link, order, unfinished)
        except (InvalidInput, RecordingInUse) as error:
            self._notice(f"{unfinished.path.name} cannot be gone on with: {error}", "error")
            self._next_unfinished()
            if self._unfinished is None:
                self._finished(order)
            return
        self._carry_out(link, run)

    def _next_unfinished(self) -> None:
        self._unfinished = self._waiting.next()
        self._ends_as = self._newest_ends_as if self._unfinished is not None and not self._waiting else None

    def _rearm(self, link: MicroscopeLink, order: StartOrder, unfinished: Interrupted) -> Run:
        planned, stop, name = unfinished.planned, self._orders.stopped(order), unfinished.path.name
        if stop is not None and self._ends_as is None:
            self._ends_as = (stop.reason, stop.message)
        ends = self._settings.on_interrupted == "end" or self._ends_as is not None or bool(self._waiting)
        if not ends:
            try:
                planned = PlannedScan(planned.plan, link.capabilities)
                self._check_hold(link, order)
            except (InvalidInput, OrderRefused) as error:
                self._notice(f"{name} is ended, because it cannot go on: {error}", "error")
                ends = True
        recording = RecordingWriter.resume(unfinished.path, fsync=self._settings.fsync)
        self._notice(f"{name} was interrupted and {'is ended' if ends else 'goes on'}", "warning")
        others = self._waiting.open(fsync=self._settings.fsync)
        return self._run_of(link, order, planned, recording, 0 if ends else planned.plan.frames, others)

    def _put_off(self, why: str) -> None:
        """Wait a little longer each time before what failed is tried again."""
        self._retry_s = min(max(_RETRY_S[0], 2 * self._retry_s), _RETRY_S[1])
        log.warning("trying again in %.1f s: %s", self._retry_s, why)
        until = self._clock() + self._retry_s
        while self._clock() < until and not self._wait(0.05):
            if self._given_up.is_set():
                self._given_up.clear()
                if self._unfinished is not None:
                    self._notice(f"{self._unfinished.path.name} is given up and left as it is", "warning")
                    self._next_unfinished()
                    if self._order is not None and self._unfinished is None:
                        self._finished(self._order)

    # -- what this thread sees and says ------------------------------------------------------------------------

    def _look(self, link: MicroscopeLink) -> None:
        """Notice what others did to the beam, and say how things are. Cheap enough for every turn of an acquisition."""
        now = self._clock()
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL_S
        self._tell(link)
        status = self._told.status
        if status is None or not self._told.connected:
            return
        hold = (status.server_id, status.blanks)
        if status.blanker == "blank" and hold != self._seen_hold:
            self._seen_hold, self._held = hold, True
            if self._orders.snapshot.blank == "off":
                self._orders.blanked_elsewhere("somebody blanked the beam at the microscope or from another terminal")
                self._notice("the beam was blanked elsewhere and is held; Start lifts it", "warning")
        elif status.blanker != "blank" and self._held:
            self._held = False
            self._orders.not_held()  # another server than the one that had confirmed it, or somebody let go of it

    def _tell(self, link: MicroscopeLink | None) -> None:
        capabilities, unfinished = self._capabilities, self._unfinished
        waits = unfinished is not None and not self._running
        told = replace(self._told, connected=False, unfinished=unfinished.path.name if unfinished and waits else None)
        if link is not None and capabilities is not None:
            capabilities = self._capabilities = link.capabilities  # of the microscope that is there now
            offset_ns, error_ns = link.clock_offset_ns, link.clock_error_ns
            told = replace(
                told,
                name=capabilities.name,
                origin=capabilities.origin,
                connected=link.connected,
                status=link.status,
                clock_offset_us=None if offset_ns is None else offset_ns * 1e-3,
                clock_error_us=None if error_ns is None else error_ns * 1e-3,
            )
        self._told = told
