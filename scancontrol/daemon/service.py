"""The daemon: beam, recorder, restorer and page, wired together. Start reading here.

Six threads, none of which can hold up the beam: the beam's own (:mod:`.beam`), the one that carries a Blank
(:mod:`.blanker`), the one that finishes what has ended (:mod:`.closing`), the restorer's client
(:mod:`scancontrol.restorer`), the page's server (:mod:`.page.server`), and this one, which takes the page's commands
and publishes the snapshot. What is wanted is in :mod:`.orders`, and nowhere else.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.beam_settings import BeamSettings
from scancontrol.daemon.blanker import Blanker
from scancontrol.daemon.claim import Claims
from scancontrol.daemon.closing import Closing
from scancontrol.daemon.config import DaemonConfig
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.desk import Desk
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.drift_follower import DriftFollower, DriftSnapshot
from scancontrol.daemon.dry_run import leave_figures
from scancontrol.daemon.frame_answers import FrameAnswers
from scancontrol.daemon.health import HealthServer
from scancontrol.daemon.interrupted import Interrupted, find_unfinished
from scancontrol.daemon.order_file import OrderFile
from scancontrol.daemon.orders import Orders, StartOrder
from scancontrol.daemon.outputs import RunOutputs
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.page.links import write_links
from scancontrol.daemon.page.messages import PAGE_PROTOCOL, Notice
from scancontrol.daemon.page.server import LiveServer
from scancontrol.daemon.plans import PlanBook, load_plans
from scancontrol.daemon.progress import Progress, print_line
from scancontrol.daemon.restorations import Restorations
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.daemon.shown_truth import ShownTruth
from scancontrol.daemon.snapshot import Snapshot, Versions, disk_free_bytes, rss_bytes
from scancontrol.daemon.steering import Steering
from scancontrol.daemon.warnings import standing_warnings
from scancontrol.errors import InvalidInput, LinkError, OrderRefused, ScanControlError, StorageError
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.processes.child import Shutdown
from scancontrol.recording import RecordingWriter
from scancontrol.transport.keys import ClientSecurity
from scancontrol.wire.messages import PROTOCOL_VERSION, software

__all__ = ["Daemon", "Launch"]

_REFRESH_S = 0.1
_END_S = 2.0  # for the beam and for what is being closed, when the process is asked to end


@dataclass(frozen=True)
class Launch:
    """What the command line asks for beyond the configuration."""

    start: bool = False
    frames: int | None = None  # of the first plan, and then the daemon ends
    repeat: bool = False
    truth: Path | None = None
    resume: Path | None = None  # this recording is gone on with


class Daemon:
    """One acquisition daemon, from its start to its end. It serves once.

    Args:
        config: see there.
        base: the folder that the configuration's paths are relative to.
        launch: what is wanted at once.
        shutdown: says when to end.

    Raises:
        InvalidInput: a plan cannot be, or there is none to start with.
        StorageError: the output folder cannot be made or written.
    """

    def __init__(self, config: DaemonConfig, base: Path, launch: Launch, shutdown: Shutdown) -> None:
        self._config, self._base, self._launch, self._shutdown = config, base, launch, shutdown
        self._output = base / config.output
        configured = load_plans(config.plans, base)
        self._first = self._first_plan(configured)  # to start at once, or None
        self._started: StartOrder | None = None  # this process's own
        self._hub = LiveHub()
        self._shown = ShownChannel(config.restorer.channel)
        self._started_utc_ns = time.time_ns()
        self._page_url: str | None = None  # once the page is served
        self._truth = ShownTruth(launch.truth if config.page.enabled else None, self._hub)
        self._snapshot = Snapshot()  # the last one, replaced as a whole
        _make_folder(self._output)
        presets = self._output / "presets" if config.presets is None else base / config.presets
        self._plans = PlanBook(configured, presets, self._say)
        self._describing = Describing(config, self._output)
        self._order_file = OrderFile(self._output, config.microscope)
        self._orders = Orders(self._order_file.keep)
        self._claims = Claims(self._orders, self._say, time.monotonic)

    # -- the life of the process ------------------------------------------------------------------------

    def run(self) -> int:
        """Run until asked to end; with ``launch.frames``, until those are taken. Returns the exit code."""
        config, security = self._config, self._security()
        with ExitStack() as stack:
            stack.callback(self._order_file.close)
            interrupted = self._interrupted()
            restorations = self._restorations = Restorations(
                config.restorer, self._hub, self._say, lambda text: print_line(f"restorer    {text}")
            )
            stack.callback(restorations.stop)
            ledgers = self._output / "ledger" if config.ledger is None else self._base / config.ledger
            self._dose = DoseKeeper(
                self._describing.now.in_ledger(config.specimen), ledgers, sync=config.fsync, notice=self._say
            )
            stack.callback(self._dose.close)
            self._closing = Closing(self._shutdown.requested, config.keep_last, self._say)
            stack.callback(self._closing.stop, 2.0)
            beam = self._beam = BeamThread(
                BeamSettings(
                    address=config.microscope,
                    operator=config.operator,
                    security=security,
                    output=self._output,
                    keep_restorations=config.store_restorations,
                    fsync=config.fsync,
                    on_interrupted="resume" if self._launch.resume is not None else config.on_interrupted,
                    connect_timeout_s=config.connect_timeout_s,
                    compensate_drift=config.compensate_drift,
                ),
                self._orders,
                self._outputs,
                self._closing,
                self._dose,
                self._describing,
                self._say,
                interrupted=interrupted,
                ends_as=self._ordered_end,
            )
            blanker = Blanker(
                self._orders, config.microscope, name=config.operator, security=security, notice=self._say
            )
            stack.callback(blanker.stop)
            blanker.start()
            capabilities = beam.connect(config.connect_timeout_s)
            stack.callback(beam.stop, 1.0)
            for plan, preset in self._plans.offered():
                if not preset:
                    PlannedScan(plan, capabilities)  # refused now rather than when it is started
            if self._shown.name:
                capabilities.detector(self._shown.name)
            steering = Steering(
                self._orders,
                beam,
                self._plans,
                self._shown,
                self._describing,
                self._claims,
                restorations.correct_delay,
                restorations.look_at,
                self._say,
            )
            self._steering = steering
            self._hub.on_stop, self._hub.clients = steering.stop, self._claims
            frames = FrameAnswers(self._output, self._hub, restorations.is_settled)
            self._hub.desk = Desk(
                self._plans,
                self._dose,
                frames,
                lambda: beam.capabilities,
                folder=self._output,
                keep_restorations=config.store_restorations,
                paths_vary=config.compensate_drift,
            )
            self._publish()
            self._serve_page(stack)
            health = HealthServer(
                lambda: self._snapshot,
                port=config.status_port,
                folder=self._output,
                microscope=config.microscope,
                keys=security,
            )
            stack.callback(health.stop)
            print_line(f"status      http://{health.start(os.getpid())}/status")
            stack.callback(beam.stop, 1.0)  # first of all on the way out, before anything that takes time
            restorations.start()
            print_line(f"daemon      {capabilities.name} at {config.microscope}, recordings in {self._output}")
            if self._launch.frames is not None:
                restorations.wait_ready(60)  # a run that ends by itself is to be restored from its first frame
            goes_on = bool(interrupted) and self._ordered_end is None
            goes_on = goes_on and (self._launch.resume is not None or config.on_interrupted == "resume")
            return self._loop(starts=self._first is not None and not goes_on)

    def _serve_page(self, stack: ExitStack) -> None:
        page = self._config.page
        if not page.enabled:
            return
        server = LiveServer(
            self._hub,
            host=page.host,
            port=page.port,
            certificate=self._beside(page.tls_certificate),
            key=self._beside(page.tls_key),
        )
        url = server.start()
        stack.callback(server.stop)
        self._page_url = url.partition("#")[0]  # its token is for the operator alone
        links = write_links(self._output, operator=url, observers=server.observer_url)
        if sys.stdout is not None and sys.stdout.isatty():
            print_line(f"page        {url}\nobservers   {server.observer_url}")
        else:  # a journal, a file: no place for what gives the beam away
            print_line(f"page        {self._page_url}\nlinks       {links}, which only its owner can read")

    def _loop(self, *, starts: bool) -> int:
        """Take commands and publish, until asked to end. ``starts``: the first plan is to be started once it can be."""
        progress, launch, wanted = Progress(), self._launch, self._orders.snapshot.number
        with ExitStack() as stack:
            stack.callback(progress.end)
            while not self._shutdown.requested():
                if starts and self._beam.snapshot.connected:
                    starts = not self._start(wanted)
                self._obey(timeout_s=_REFRESH_S)
                self._publish()
                progress.show(self._snapshot)
                self._check_beam()
                try:
                    closed = self._closing.closed.get_nowait()
                except queue.Empty:
                    continue
                ours = closed.run.order is self._started or closed.status.finish_reason != "interrupted"
                if launch.frames is not None and ours:
                    progress.end()
                    print_line(f"recording   {closed.run.recording.path}")
                    return leave_figures(self._output, closed, self._restorations)
                same = closed.run.planned.plan == self._first  # and none that somebody else has asked for
                if launch.repeat and same and closed.status.finish_reason == "completed":
                    starts, wanted = True, closed.run.order.number
        return self._exit_code()

    def _exit_code(self) -> int:
        """0, or 1 where a recording is not where it belongs, or waits for its disk, when the process ends."""
        self._beam.stop(_END_S)
        left_open = self._closing.stop(_END_S)
        if not (left_open or self._beam.short_of_place):
            return 0
        print_line(
            "error       a recording is not ended: its disk or its folder does not take it; see above", error=True
        )
        return 1

    def _start(self, number: int) -> bool:
        """Start the first plan for whoever began this process; whether there is nothing left to try."""
        if self._first is None or self._orders.snapshot.start is not None:
            return False  # an interrupted acquisition is ended first
        try:
            self._started = self._orders.start(self._first, number, self._beam.snapshot.hold)
        except OrderRefused as refused:
            self._say(str(refused), "warning")  # somebody blanked or aborted meanwhile
        return True

    def _check_beam(self) -> None:
        """Look whether the beam's thread is well.

        Raises:
            ScanControlError: what ended it, or why it cannot begin what this process is for.
        """
        if not self._beam.alive:
            failure = self._beam.failure
            if isinstance(failure, ScanControlError):
                raise failure
            raise LinkError(f"the beam's thread ended: {failure}")
        launch, refusal = self._launch, self._beam.refusal
        if launch.start and refusal is not None and (launch.frames is not None or launch.repeat):
            raise refusal[1]  # nobody is there to start another

    # -- what is made of the configuration ---------------------------------------------------------------

    def _first_plan(self, plans: dict[str, ScanPlan]) -> ScanPlan | None:
        """The plan to start with; with ``launch.frames``, it has so many."""
        if not self._launch.start:
            return None
        if not plans:
            raise InvalidInput("plans", "none", "leave nothing to start", "name one with --plan or in the file")
        name = next(iter(plans))
        if self._launch.frames is not None:
            plans[name] = msgspec.structs.replace(plans[name], frames=self._launch.frames)
        return plans[name]

    def _interrupted(self) -> tuple[Interrupted, ...]:
        """The acquisitions that earlier processes were cut off from, oldest first; what is not ours is said."""
        if self._launch.resume is not None:
            return (Interrupted.look_into(self._launch.resume),)
        found = find_unfinished(self._output, self._describing.now.specimen)
        for text in found.passed_over:
            self._say(text, "warning")
        return found.ours

    @property
    def _ordered_end(self) -> tuple[str, str] | None:
        """Why what was interrupted must not be gone on with: a Blank or an Abort was the last order before it."""
        if self._launch.resume is not None:
            return None  # somebody has asked for it since
        return {
            "blank": ("operator_blank", "the beam was blanked before the daemon was cut off"),
            "abort": ("aborted", "it was aborted before the daemon was cut off"),
        }.get(self._order_file.last)

    def _security(self) -> ClientSecurity | None:
        keys = self._config.keys
        return None if keys is None else keys.security(self._base)

    def _beside(self, path: Path | None) -> Path | None:
        """A path of the configuration, which is relative to its file."""
        return None if path is None else self._base / path

    def _outputs(self, planned: PlannedScan, recording: RecordingWriter) -> RunOutputs:
        drift = DriftFollower(planned.plan.shape, self._config.compensate_drift, planned.plan.interval_s)
        return RunOutputs(planned, recording, self._hub, self._restorations, self._shown, drift, self._say)

    # -- the page ---------------------------------------------------------------------------------------

    def _obey(self, timeout_s: float) -> None:
        """Take the page's commands for ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                self._steering.carry_out(self._hub.commands.get(timeout=left_s))
            except queue.Empty:
                break
        self._claims.look()
        self._orders.write_down()

    def _say(self, text: str, level: str = "info") -> None:
        self._hub.publish_notice(Notice(text, level))  # type: ignore[arg-type]
        if level != "info":
            print_line(f"{level:<11} {text}", error=True)

    def _publish(self) -> None:
        """Put together what every part says of itself, and let everybody have it."""
        orders = self._orders.snapshot  # before the run: what does not stand any more has its run in place
        run, beam, refusal, holder = self._beam.run, self._beam.snapshot, self._beam.refusal, self._claims.holder
        restorer = self._restorations.snapshot()
        self._snapshot = Snapshot(
            pid=os.getpid(),
            started_utc_ns=self._started_utc_ns,
            utc_ns=time.time_ns(),
            rss_bytes=rss_bytes(),
            disk_free_bytes=disk_free_bytes(self._output),
            page=self._page_url,
            plans=self._plans.names,
            plan=None if run is None else run.planned.figures,
            detectors=self._beam.detectors,
            channels=self._beam.channels,
            channel=self._shown.among(self._beam.channels) if self._beam.channels else None,
            beside=self._shown.beside_among(self._beam.channels) if self._beam.channels else None,
            description=self._describing.now,
            scan=AcquisitionStatus() if run is None else run.acquisition.status,
            scan_order=None if run is None else run.order.number,
            not_begun=None if refusal is None else (refusal[0].number, str(refusal[1])),
            claimed_by=None if holder is None else holder.operator,
            orders=orders,
            microscope=beam,
            dose=self._dose.snapshot(),
            restorer=restorer,
            drift=DriftSnapshot() if run is None else run.outputs.drift.snapshot(),
            versions=Versions(software=software(), wire_protocol=PROTOCOL_VERSION, page_protocol=PAGE_PROTOCOL),
            warnings=standing_warnings(
                beam, orders, restorer.state, self._ledger_trouble(), self._describing.now, self._config
            ),
        )
        self._hub.publish_status(self._snapshot)
        self._truth.look(run)

    def _ledger_trouble(self) -> str:
        """Why nothing can be accounted for in the dose ledger, which is put back where its folder was removed."""
        try:
            self._dose.look()
        except ScanControlError as error:
            return str(error)
        return ""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise StorageError("output folder", folder, problem, "choose another folder") from error
