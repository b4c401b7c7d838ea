"""The thread that owns the link to the microscope: idle, or running one acquisition after another.

Everything that lights the beam happens here, in one thread, and only while the order that it happens for stands in
:mod:`~scancontrol.daemon.orders`: the link asks before it sends anything that leads to light, the acquisition before
each frame. The Blank alone goes another way, :mod:`~scancontrol.daemon.blanker`, so that it waits for nothing here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from scancontrol.acquisition import AcquisitionStatus, Stop
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.arming import Arming
from scancontrol.daemon.beam_settings import BeamSettings
from scancontrol.daemon.closing import Closing
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.hold_watch import HoldWatch
from scancontrol.daemon.holding_on import hold_on
from scancontrol.daemon.interrupted import Interrupted, Waiting
from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.daemon.outputs import RunOutputs
from scancontrol.daemon.run import Run
from scancontrol.daemon.snapshot import BeamSnapshot
from scancontrol.errors import InvalidInput, LinkError, RecordingError, RecordingInUse, ScanControlError, StorageError
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.planned import PlannedScan
from scancontrol.processes.backoff import Backoff
from scancontrol.processes.logs import set_scan
from scancontrol.recording import RecordingWriter

__all__ = ["BeamThread"]

log = logging.getLogger(__name__)

_IDLE_S = 0.05
_TELL_S = 0.05  # how often the thread says how it is
_RETRY_S = (0.5, 10.0)  # shortest and longest wait before a disk or a microscope that failed is tried again


class BeamThread:
    """Connects, keeps the link alive, and carries out the orders.

    Args:
        settings: see there.
        orders: what is wanted.
        outputs: made anew for each run, in this thread: what its samples go to.
        closing: takes runs that have ended.
        dose: keeps the specimen's dose ledger.
        describing: what a recording says of itself.
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
        outputs: Callable[[PlannedScan, RecordingWriter], RunOutputs],
        closing: Closing,
        dose: DoseKeeper,
        describing: Describing,
        notice: Callable[[str, str], None],
        *,
        interrupted: Sequence[Interrupted] = (),
        ends_as: tuple[str, str] | None = None,
        link: Callable[..., MicroscopeLink] = MicroscopeLink,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._settings, self._orders = settings, orders
        self._closing, self._dose, self._notice = closing, dose, notice
        self._describing, self._described = describing, describing.now
        self._new_link = link
        self._stopping = threading.Event()
        self._clock, self._wait = clock, wait or self._stopping.wait
        self._ready = threading.Event()
        self._given_up = threading.Event()  # what waits to be gone on with need not be
        self._backoff = Backoff(*_RETRY_S)
        self._holds = HoldWatch(orders, notice)
        self._arming = Arming(
            settings,
            orders,
            outputs,
            dose,
            describing,
            self._holds,
            self,
            notice,
            says=self._says_arming,
            on_turn=self._look,
            clock=clock,
            begun=[each.series_id for each in interrupted],
        )
        # Of this thread alone:
        self._order: StartOrder | None = None  # the one that is carried out
        self._waiting, self._newest_ends_as = Waiting(interrupted, notice), ends_as
        self._unfinished: Interrupted | None = None  # of those, the one that is gone on with now
        # Finish reason and message of an acquisition that only waits for its last samples, or for its end:
        self._ends_as: tuple[str, str] | None = None
        self._next_unfinished()
        if self._unfinished is not None:  # it has the beam from the first moment on, so that an Abort finds it
            self._order = orders.carry_on(self._unfinished.planned.plan)
        self._running = False
        self._tell_at = 0.0  # when the snapshot is due
        # Replaced by this thread as a whole, and read by any:
        self._told = BeamSnapshot(address=settings.address)
        self._capabilities: Capabilities | None = None  # of the microscope that is connected
        self._run: Run | None = None  # the acquisition that has the beam
        self._refusal: tuple[StartOrder, ScanControlError] | None = None  # the last Start that could not be, and why
        self._homeless = self._disk_failed = False  # no place for the run's file; the disk took nothing
        self._failure: BaseException | None = None  # what ended this thread
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
    def capabilities(self) -> Capabilities | None:
        """What the microscope that answers now, or did last, states about itself; None before one has."""
        return self._capabilities

    @property
    def run(self) -> Run | None:
        """The acquisition that has the beam, or had it last; complete before it is here."""
        return self._run

    @property
    def detectors(self) -> tuple[str, ...]:
        """Those of the microscope, by name; none before one has answered."""
        capabilities = self._capabilities
        return () if capabilities is None else tuple(channel.name for channel in capabilities.detectors)

    @property
    def channels(self) -> tuple[str, ...]:
        """The detectors that the acquisition records, or the last one did; before it, those of the microscope."""
        run = self._run
        return self.detectors if run is None else run.recording.header.channels

    @property
    def refusal(self) -> tuple[StartOrder, ScanControlError] | None:
        """The last order that was not begun, and why."""
        return self._refusal

    @property
    def short_of_place(self) -> bool:
        """Whether a recording could not be kept where it belongs, or waits for a place or for the disk."""
        return self._homeless or (self._disk_failed and self._unfinished is not None)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; :attr:`failure` says why if it does not."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._failure

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
        return self._order is not None and self.stopped is None

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
                    self._disk_failed = isinstance(error, RecordingError | StorageError)
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
        unfinished, order, settings = self._unfinished, self._order, self._settings
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
            if unfinished is not None and order is not None:
                self._carry_on(link, order, unfinished)
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
            self._turn_to_specimen(link)
            link.receive(_IDLE_S)
            return
        self._order = order
        try:
            run = self._arming.new(link, order)
        except ScanControlError as error:
            self._refusal = (order, error)
            self._notice(str(error), "error")
            self._finished(order)
            return
        self._carry_out(link, run)

    def _turn_to_specimen(self, link: MicroscopeLink) -> None:
        """Show the dose of another specimen as soon as it is named; a ledger that cannot be opened is said."""
        described = self._describing.now
        if described is not self._described:
            self._described = described
            try:
                self._arming.turn_to_specimen(link)
            except ScanControlError as error:
                self._notice(str(error), "error")

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
        self._backoff.reset()
        self._turn_to_next(run.order)

    def _leave_open(self, run: Run, status: AcquisitionStatus) -> None:
        """Let go of a recording that is gone on with, or ended, over a fresh link or once its disk takes samples."""
        run.outputs.finish(0.0, 60.0, self._stopping.is_set)
        if not hold_on(run.recording, self._no_place, self._wait, self._given_up.is_set):
            self._homeless = True
        run.recording.abandon()
        path = run.recording.path
        self._notice(f"{path.name} is left open: {status.explanation}", "warning")
        self._disk_failed = status.finish_reason == "recording"
        if not status.resumable:
            self._ends_as = (status.finish_reason or "", status.message)
        try:
            self._unfinished = Interrupted.look_into(path)
        except ScanControlError as error:
            self._notice(f"{path.name} cannot be gone on with: {error}", "error")
            self._turn_to_next(run.order)
        self._put_off(status.message)

    def _no_place(self, text: str, level: str) -> None:
        run = self._run
        self._told = replace(self._told, unfinished=None if run is None else run.recording.path.name)
        self._notice(text, level)

    def _finished(self, order: StartOrder) -> None:
        """The beam is free for another order."""
        self._order = None
        self._orders.ended(order)

    # -- going on with what was cut off ----------------------------------------------------------------------

    def _carry_on(self, link: MicroscopeLink, order: StartOrder, unfinished: Interrupted) -> None:
        """Go on with an acquisition, or end it, as was chosen. What is raised is to be tried again."""
        stop = self._orders.stopped(order)
        try:
            unfinished.check(link.capabilities)
            if stop is not None and self._ends_as is None:
                self._ends_as = (stop.reason, stop.message)
            run = self._arming.again(link, order, unfinished, self._waiting, self._ends_as)
        except (InvalidInput, RecordingInUse) as error:
            self._notice(f"{unfinished.path.name} cannot be gone on with: {error}", "error")
            self._turn_to_next(order)
            return
        self._carry_out(link, run)

    def _turn_to_next(self, order: StartOrder | None) -> None:
        """What was gone on with is over: the next one has the beam, or else another order."""
        self._next_unfinished()
        if self._unfinished is None and order is not None:
            self._finished(order)

    def _next_unfinished(self) -> None:
        self._unfinished = self._waiting.next()
        self._ends_as = self._newest_ends_as if self._unfinished is not None and not self._waiting else None

    def _put_off(self, why: str) -> None:
        """Wait a little longer each time before what failed is tried again."""
        retry_s = self._backoff.next_s()
        log.warning("trying again in %.1f s: %s", retry_s, why)
        until = self._clock() + retry_s
        while self._clock() < until and not self._wait(0.05):
            if self._given_up.is_set():
                self._given_up.clear()
                if self._unfinished is not None:
                    self._notice(f"{self._unfinished.path.name} is given up and left as it is", "warning")
                    self._turn_to_next(self._order)

    # -- what this thread sees and says ------------------------------------------------------------------------

    def _look(self, link: MicroscopeLink) -> None:
        """Notice what others did to the beam, and say how things are. Cheap enough for every turn of an acquisition."""
        now = self._clock()
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL_S
        self._tell(link)
        if self._told.status is not None and self._told.connected:
            self._holds.seen(self._told.status)

    def _says_arming(self, step: str) -> None:
        self._told = replace(self._told, arming=step)

    def _tell(self, link: MicroscopeLink | None) -> None:
        waits = None if self._running or self._unfinished is None else self._unfinished.path.name
        told = replace(self._told, connected=False, arming=None, unfinished=waits)
        if link is not None and self._capabilities is not None:
            self._capabilities = link.capabilities  # of the microscope that is there now
            told = told.seen_over(link)
        self._told = told
