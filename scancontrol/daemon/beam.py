"""The thread that owns the link to the microscope: idle, or running one acquisition after another.

Everything that moves the beam happens here, in one thread. The one exception is the emergency blank, which must
not wait for anything: it goes to the microscope over a connection of its own.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from scancontrol.acquisition import Acquisition, AcquisitionStatus, Sink
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.interrupted import Interrupted
from scancontrol.errors import InvalidInput, LinkError, RecordingError, ScanControlError, StorageError
from scancontrol.link.link import MicroscopeLink
from scancontrol.plan.planned import PlannedScan
from scancontrol.processes.logs import set_scan
from scancontrol.recording import RecordingWriter, file_name, record_plan
from scancontrol.transport.keys import ClientSecurity
from scancontrol.wire.messages import Status

__all__ = ["BeamThread", "Run"]

log = logging.getLogger(__name__)

_IDLE_S = 0.05
_RETRY_S = (0.5, 10.0)  # shortest and longest wait before a disk or a microscope that failed is tried again


@dataclass(frozen=True)
class Run:
    """One acquisition: a plan on this microscope, and the file that its samples go to."""

    planned: PlannedScan
    recording: RecordingWriter
    acquisition: Acquisition
    series_id: int
    only_collects: bool = False  # nothing is exposed: what was interrupted is ended


class BeamThread:
    """Connects, keeps the link alive, and runs what :meth:`start` asks for.

    Args:
        address: the microscope's control address.
        operator: whose lease it is.
        security: keys, where the address is not loopback.
        output: folder of the recordings.
        sinks: made anew for each run, told what is scanned and the recording that it is written to. Called
            in this thread, for an interrupted acquisition perhaps before :meth:`connect` has returned.
        on_finished: called in this thread when a run has ended, before the next begins.
        dose: keeps the specimen's dose ledger.
        notice: called with a line for the operator.
        interrupted: an acquisition that an earlier process was cut off from; dealt with before anything else.
        on_interrupted: what is done with it, and with one whose disk or link fails in this process: ``resume`` goes
            on from its next unexposed sample, ``end`` collects what the microscope kept and ends it.
    """

    def __init__(
        self,
        address: str,
        *,
        operator: str,
        security: ClientSecurity | None,
        output: Path,
        keep_restorations: str,
        fsync: bool,
        sinks: Callable[[PlannedScan, RecordingWriter], Sequence[Sink]],
        on_finished: Callable[[Run, AcquisitionStatus], None],
        dose: DoseKeeper,
        notice: Callable[[str, str], None],
        interrupted: Interrupted | None = None,
        on_interrupted: Literal["resume", "end"] = "end",
    ) -> None:
        self._address, self._operator, self._security = address, operator, security
        self._output, self._keep, self._fsync = output, keep_restorations, fsync
        self._sinks, self._on_finished, self._notice, self._dose = sinks, on_finished, notice, dose
        self._orders: queue.Queue[PlannedScan] = queue.Queue(maxsize=1)
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._unfinished, self._on_interrupted = interrupted, on_interrupted
        self._retry_s = 0.0
        self._ends_as: str | None = None  # why an acquisition ended whose recording could not be closed
        begun = -1 if interrupted is None else interrupted.series_id
        self._series = itertools.count(max(int(time.time()) & 0x3FFFFFFF, begun + 1))
        self._link: MicroscopeLink | None = None
        self._failure: BaseException | None = None
        self._held = False
        self.capabilities: Capabilities | None = None
        self.run: Run | None = None
        self.refusal: ScanControlError | None = None  # why the last acquisition asked for was not begun
        self._thread = threading.Thread(target=self._work, name="beam")

    # -- from any thread --------------------------------------------------------------------------------

    def connect(self, timeout_s: float) -> Capabilities:
        """Start the thread and wait until the microscope has answered; raises what went wrong there."""
        self._thread.start()
        self._ready.wait(timeout_s + 30)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        if self.capabilities is None:
            raise LinkError(f"the microscope at {self._address} did not answer in time; see whether it runs")
        return self.capabilities

    def start(self, planned: PlannedScan) -> bool:
        """Ask for an acquisition; False if one is running or waiting."""
        run = self.run
        if self._unfinished is not None or (run is not None and not run.acquisition.wait(0)):
            return False
        try:
            self._orders.put_nowait(planned)
        except queue.Full:
            return False
        return True

    @property
    def busy(self) -> bool:
        """Whether an acquisition runs or waits to."""
        return self.run is not None or self._unfinished is not None or not self._orders.empty()

    @property
    def unfinished(self) -> Path | None:
        """The recording that waits to be gone on with, because its disk or its link failed."""
        unfinished = self._unfinished
        return None if unfinished is None or self.run is not None else unfinished.path

    def give_up(self) -> bool:
        """Let go of :attr:`unfinished`, and of what the microscope keeps for it; False if nothing waits."""
        waits = self.unfinished is not None
        self._unfinished = None
        return waits

    @property
    def microscope(self) -> Status | None:
        """The microscope's own snapshot of itself, as of the last heartbeat."""
        link = self._link
        return None if link is None else link.status

    @property
    def clock(self) -> tuple[int | None, int | None]:
        """The microscope's monotonic clock minus this one in ns, and the bound on its error."""
        link = self._link
        return (None, None) if link is None else (link.clock_offset_ns, link.clock_error_ns)

    @property
    def connected(self) -> bool:
        """Whether the microscope answers now."""
        link = self._link
        return link is not None and link.connected

    @property
    def held(self) -> bool:
        """Whether an emergency blank holds the beam blanked."""
        return self._held

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; :attr:`failure` says why if it does not."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._failure

    def emergency_blank(self, timeout_s: float = 2.0) -> None:
        """Blank now and hold the beam blanked, over a connection of its own. Raises :class:`LinkError`."""
        self._held = True
        with MicroscopeLink(
            self._address, security=self._security, operator=f"{self._operator} (emergency)", observer=True
        ) as link:
            link.connect(timeout_s)
            link.blank(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Abort what runs (which blanks the beam), give the lease back, and end the thread."""
        self._stopping.set()
        run = self.run
        if run is not None:
            run.acquisition.abort("the daemon ends")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # -- the thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._serve()
                except ScanControlError as error:  # the link, the recording's disk, or that of the dose ledger
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
            self._link = None
            self._ready.set()

    def _serve(self) -> None:
        """One connection: until the daemon ends, or an acquisition is left unfinished and needs a fresh one."""
        unfinished = self._unfinished
        have = None if unfinished is None else unfinished.have
        with MicroscopeLink(self._address, security=self._security, operator=self._operator, have=have) as link:
            self.capabilities = link.connect()
            self._link = link
            self._reconcile(link)
            self._ready.set()
            if unfinished is not None:
                self._carry_on(link, unfinished)
                return
            while not self._stopping.is_set() and self._unfinished is None:
                self._turn(link)

    def _reconcile(self, link: MicroscopeLink) -> None:
        found = self._dose.reconcile(link)
        if found:
            self._notice(f"{found:.4g} electrons of scans that were cut off are now in the dose ledger", "warning")

    def _carry_on(self, link: MicroscopeLink, unfinished: Interrupted) -> None:
        """Go on with an acquisition, or end it, as was chosen. Raises what is to be tried again."""
        try:
            unfinished.check(link.capabilities)
        except InvalidInput as error:
            self._unfinished = None
            self._notice(f"{unfinished.path.name} cannot be gone on with: {error}", "error")
            return
        self._run(link, self._rearm(link, unfinished))

    def _turn(self, link: MicroscopeLink) -> None:
        try:
            planned = self._orders.get_nowait()
        except queue.Empty:
            link.receive(_IDLE_S)
            return
        try:
            run = self._arm(link, planned)
        except ScanControlError as error:
            self._notice(str(error), "error")
            self.refusal = error
            return
        self._run(link, run)

    def _run(self, link: MicroscopeLink, run: Run) -> None:
        self.run = run
        set_scan(run.recording.header.series_unique_id)
        log.info("scanning %s into %s", run.planned.plan.name, run.recording.path.name)
        status = run.acquisition.run()
        log.info("ended: %s %s", status.finish_reason, status.message)
        if run.only_collects and status.finish_reason == "completed":
            status = replace(status, finish_reason=self._ends_as or "interrupted")
        stopping = self._stopping.is_set()
        if stopping or status.resumable:
            link.close()  # the lease is free, and the beam certainly off, before anything else is tidied up
        why = status.message if status.resumable else None
        try:
            self._on_finished(run, status)
        except (RecordingError, StorageError) as error:  # the disk takes not even the end: it is written once it does
            why, self._ends_as = str(error), status.finish_reason
        self._unfinished = None
        if why is None:
            self._retry_s, self._ends_as = 0.0, None
        elif not stopping:
            try:
                self._unfinished = Interrupted.look_into(run.recording.path)
            except ScanControlError as error:
                self._notice(f"{run.recording.path.name} cannot be gone on with: {error}", "error")
            self._put_off(why)
        self.run = None

    def _put_off(self, why: str) -> None:
        """Wait a little longer each time before what failed is tried again."""
        self._retry_s = min(max(_RETRY_S[0], 2 * self._retry_s), _RETRY_S[1])
        log.warning("trying again in %.1f s: %s", self._retry_s, why)
        self._stopping.wait(self._retry_s)

    def _rearm(self, link: MicroscopeLink, unfinished: Interrupted) -> Run:
        planned, ends = unfinished.planned, self._on_interrupted == "end" or self._ends_as is not None
        if not ends:
            try:
                planned = PlannedScan(planned.plan, link.capabilities)
            except InvalidInput as error:
                self._notice(f"{unfinished.path.name} is ended, because its plan cannot go on: {error}", "error")
                ends = True
        recording = RecordingWriter.resume(unfinished.path, fsync=self._fsync)
        self._notice(f"{unfinished.path.name} was interrupted and {'is ended' if ends else 'goes on'}", "warning")
        acquisition = self._acquisition(link, recording, planned, 0 if ends else planned.plan.frames)
        return Run(planned, recording, acquisition, unfinished.series_id, only_collects=ends)

    def _arm(self, link: MicroscopeLink, planned: PlannedScan) -> Run:
        capabilities, plan = link.capabilities, planned.plan
        if planned.capabilities != capabilities:  # another microscope answers since the plan was offered
            planned = PlannedScan(plan, capabilities)
        self._dose.check(planned)
        stated, meant = capabilities.beam_current_pa, planned.beam_current_pa
        if abs(meant - stated) > 0.01 * stated:
            told = f"the plan counts dose with {meant:g} pA, the microscope states {stated:g} pA"
            self._notice(f"{told}; set one of them right", "warning")
        microscope = link.status
        if self._held or (microscope is not None and microscope.blanker == "blank"):
            link.set_blanker("auto")  # somebody asked for a scan since it was held, here or at the column
            self._held = False
            self._notice("the emergency blank is lifted by this start", "warning")
        series_id = next(self._series)
        unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{series_id & 0xFFFF:04x}"
        recording = record_plan(
            self._output / file_name(plan, unique),
            planned,
            series_id=series_id,
            series_unique_id=unique,
            keep_restorations=self._keep,  # type: ignore[arg-type]
            fsync=self._fsync,
            sample_dtype=capabilities.sample_dtype,
        )
        return Run(planned, recording, self._acquisition(link, recording, planned, plan.frames), series_id)

    def _acquisition(
        self, link: MicroscopeLink, recording: RecordingWriter, planned: PlannedScan, frames: int
    ) -> Acquisition:
        return Acquisition(
            link,
            recording,
            map(planned.recipe, range(frames)),
            self._sinks(planned, recording),
            frames_planned=planned.plan.frames,
            area=self._dose.area,
            dose=self._dose.series(recording.header.series_unique_id, planned),
            on_notice=lambda notice: self._notice(notice.message, "warning"),
        )
