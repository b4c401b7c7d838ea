"""The daemon: beam, recorder, restorer and page, wired together. Start reading here.

Four threads, none of which can hold up the beam: the beam's own (:mod:`.beam`), the restorer's client
(:mod:`scancontrol.restorer`), the page's server (:mod:`scancontrol.daemon.page.server`), and this one, which takes the
page's commands and refreshes its figures.
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scancontrol.acquisition import AcquisitionStatus, Background, Partial, PartialFrames, Sink
from scancontrol.daemon.beam import BeamThread, Run
from scancontrol.daemon.config import UNNAMED, DaemonConfig
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.dry_run import RUN_FILE, RunFigures, read_truth
from scancontrol.daemon.health import HealthServer, Snapshot
from scancontrol.daemon.interrupted import Interrupted, newest_unfinished
from scancontrol.daemon.page.hub import LiveHub, PartialView
from scancontrol.daemon.page.messages import Abort, Command, EmergencyBlank, Notice, Pause, Record, Resume, Start
from scancontrol.daemon.page.server import LiveServer
from scancontrol.daemon.progress import Progress, print_line
from scancontrol.daemon.restorations import Restorations
from scancontrol.daemon.signal_watch import SignalWatch
from scancontrol.daemon.snapshot import snapshot_of
from scancontrol.daemon.status import status_view
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput, LinkError, RecordingError, ScanControlError, StorageError
from scancontrol.files import write_text
from scancontrol.paths import ScanPath
from scancontrol.plan.plan import ScanPlan, load_plan
from scancontrol.plan.planned import PlanFigures, PlannedScan
from scancontrol.processes.child import Shutdown
from scancontrol.recording import RecordingWriter
from scancontrol.transport.keys import ClientSecurity

__all__ = ["Daemon", "Orders"]

_REFRESH_S = 0.1
_CATCH_UP_S = 600.0


@dataclass(frozen=True)
class Orders:
    """What the command line asks for beyond the configuration."""

    start: bool = False
    frames: int | None = None
    repeat: bool = False
    truth: Path | None = None
    resume: Path | None = None  # this recording is gone on with


class Daemon:
    """One acquisition daemon. ``base`` is the folder that the configuration's paths are relative to."""

    def __init__(self, config: DaemonConfig, base: Path) -> None:
        self._config, self._base = config, base
        self._output = base / config.output
        self._plans = _load_plans(config.plans, base)
        self._planned: dict[str, PlannedScan] = {}  # the same on the microscope, once it has answered
        self._hub = LiveHub()
        self._finished: queue.SimpleQueue[tuple[Run, AcquisitionStatus, PlanFigures]] = queue.SimpleQueue()
        self._recent: deque[Path] = deque()
        self._figures: PlanFigures | None = None
        self._last: AcquisitionStatus | None = None
        self._shutdown: Shutdown | None = None
        self._truth_path: Path | None = None
        self._truth_shown = False
        self._background: Background | None = None
        self._first_path: ScanPath | None = None
        self._series = ""
        self._page_url: str | None = None
        self._started_utc_ns = time.time_ns()

    # -- the life of the process ------------------------------------------------------------------------

    def run(self, orders: Orders, shutdown: Shutdown) -> int:
        """Run until asked to end; with ``orders.frames``, until those are taken. Returns the exit code."""
        config = self._config
        self._shutdown, self._truth_path = shutdown, orders.truth
        _make_folder(self._output)
        first = self._first_plan(orders)
        interrupted = self._interrupted(orders)
        on_interrupted = "resume" if orders.resume is not None else config.on_interrupted
        goes_on = interrupted is not None and on_interrupted == "resume"
        with ExitStack() as stack:
            self._restorations = Restorations(
                config.restorer, self._hub, self._say, lambda text: print_line(f"restorer    {text}")
            )
            stack.callback(self._restorations.stop)
            ledgers = self._output / "ledger" if config.ledger is None else self._base / config.ledger
            self._dose = DoseKeeper(config.specimen, ledgers, sync=config.fsync)
            stack.callback(self._dose.close)
            beam = BeamThread(
                config.microscope,
                operator=config.operator,
                security=self._security(),
                output=self._output,
                keep_restorations=config.store_restorations,
                fsync=config.fsync,
                sinks=self._sinks,
                on_finished=self._on_finished,
                dose=self._dose,
                notice=self._say,
                interrupted=interrupted,
                on_interrupted=on_interrupted,
            )
            self._beam = beam
            capabilities = beam.connect(config.connect_timeout_s)
            stack.callback(beam.stop, 1.0)
            self._planned = {name: PlannedScan(plan, capabilities) for name, plan in self._plans.items()}
            self._capabilities = capabilities
            if config.page.enabled:
                page = LiveServer(
                    self._hub,
                    host=config.page.host,
                    port=config.page.port,
                    certificate=self._beside(config.page.tls_certificate),
                    key=self._beside(config.page.tls_key),
                )
                url = page.start()
                stack.callback(page.stop)
                self._page_url = url.partition("#")[0]  # its token is for the operator alone
                print_line(f"page        {url}\nobservers   {page.observer_url}")
            health = HealthServer(
                self.snapshot,
                port=config.status_port,
                folder=self._output,
                microscope=config.microscope,
                keys=self._security(),
            )
            stack.callback(health.stop)
            print_line(f"status      http://{health.start(os.getpid())}/status")
            stack.callback(beam.stop, 1.0)  # first of all on the way out, before anything that takes time
            self._restorations.start()
            print_line(f"daemon      {capabilities.name} at {config.microscope}, recordings in {self._output}")
            plan = None if first is None else self._planned[first]
            if plan is not None and orders.frames is not None:
                plan = PlannedScan(msgspec.structs.replace(plan.plan, frames=orders.frames), capabilities)
                self._restorations.wait_ready(60)  # a run that ends by itself is to be restored from its first frame
            if plan is not None and not goes_on:
                self._start_when_free(plan)
            return self._loop(plan, orders, shutdown)

    def _interrupted(self, orders: Orders) -> Interrupted | None:
        """The acquisition that an earlier process was cut off from, if there is one."""
        if orders.resume is not None:
            return Interrupted.look_into(orders.resume)
        found = newest_unfinished(self._output)
        try:
            return None if found is None else Interrupted.look_into(found)
        except ScanControlError as error:
            self._say(f"{found} was interrupted and cannot be gone on with: {error}", "warning")
            return None

    def _start_when_free(self, plan: PlannedScan) -> None:
        """Start, once an interrupted acquisition that is ended first is out of the way."""
        while not self._beam.start(plan) and self._beam.alive and not self._asked_to_end():
            time.sleep(0.02)

    def _security(self) -> ClientSecurity | None:
        keys = self._config.keys
        return None if keys is None else keys.security(self._base)

    def _beside(self, path: str | None) -> Path | None:
        """A path of the configuration, which is relative to its file."""
        return None if path is None else self._base / path

    def _first_plan(self, orders: Orders) -> str | None:
        """The name of the plan to start with."""
        if not orders.start:
            return None
        if not self._plans:
            raise InvalidInput("plans", "none", "leave nothing to start", "name one with --plan or in the file")
        return next(iter(self._plans))

    def _loop(self, plan: PlannedScan | None, orders: Orders, shutdown: Shutdown) -> int:
        progress = Progress()
        while not shutdown.requested():
            self._obey(timeout_s=_REFRESH_S)
            self._refresh()
            progress.show(self._last, self._restorations)
            if not self._beam.alive:
                failure = self._beam.failure
                if isinstance(failure, ScanControlError):
                    raise failure
                raise LinkError(f"the beam's thread ended: {failure}")
            if orders.start and self._beam.refusal is not None and (orders.frames is not None or orders.repeat):
                raise self._beam.refusal  # nobody is there to start another
            try:
                run, status, figures = self._finished.get_nowait()
            except queue.Empty:
                continue
            self._last = status  # a short run may have begun and ended between two looks at it
            if orders.frames is not None and status.finish_reason != "interrupted":
                progress.end()
                return self._end_of_dry_run(run, status, figures)
            if orders.repeat and status.finish_reason == "completed" and plan is not None:
                self._beam.start(plan)
        progress.end()
        return 0

    def _end_of_dry_run(self, run: Run, status: AcquisitionStatus, figures: PlanFigures) -> int:
        """Leave the figures beside the recording; the exit code says whether all frames were taken."""
        restored = self._restorations
        written = RunFigures(
            recording=run.recording.path.name,
            plan=run.planned.plan.name,
            finish_reason=status.finish_reason or "",
            frames=status.frames_completed,
            samples_sent=status.samples_exposed,
            samples_received=status.samples_received,
            samples_lost=status.samples_lost,
            samples_duplicate=status.samples_duplicate,
            frames_restored=restored.frames_restored,
            frames_dropped_live=restored.dropped,
            frame_rate_hz=status.frame_rate_hz,
            beam_frame_time_ms=figures.beam_frame_time_ms,
            restore_latency_ms=restored.latency.percentiles(),
            restore_compute_ms=restored.compute.percentiles(),
            restore_overhead_ms=restored.overhead.percentiles(),
            made_by=restored.made_by,
            coverage={
                "nominal": figures.coverage_nominal,
                "touched": figures.coverage_touched,
                "dose": figures.coverage_dose,
            },
            dose_frame_e_per_a2=figures.dose_frame_e_per_a2,
            restorer_restarts=restored.restarts,
        )
        write_text(self._output / RUN_FILE, msgspec.json.format(msgspec.json.encode(written), indent=2).decode() + "\n")
        print_line(f"recording   {run.recording.path}")
        if status.finish_reason != "completed":
            raise RecordingError(f"the acquisition ended early: {status.finish_reason}; {status.message}")
        return 0

    # -- one acquisition --------------------------------------------------------------------------------

    def _sinks(self, planned: PlannedScan, recording: RecordingWriter) -> Sequence[Sink]:
        """Called in the beam's thread when a run is armed. It rests on nothing that :meth:`run` has yet to do."""
        capabilities = planned.capabilities
        self._first_path = planned.path(0)
        self._figures = planned.figures
        self._series = recording.header.series_unique_id
        series = recording.header.series_id

        def show(partial: Partial) -> None:
            self._hub.publish_partial(
                PartialView(
                    series_id=series,
                    frame=partial.frame,
                    image=partial.mean,
                    weight=partial.weight,
                    complete=partial.complete,
                    samples=partial.samples,
                    path_id=partial.path.path_id,
                    samples_planned=partial.path.count,
                    fov_nm=planned.plan.fov_nm,
                )
            )

        self._background = Background(PartialFrames(recording, capabilities.coil, show))
        names = tuple(channel.name for channel in capabilities.detectors)
        watch = SignalWatch(names, lambda text: self._say(text, "warning"))
        return [self._background, self._restorations.sink_for(recording, capabilities.coil), watch]

    def _on_finished(self, run: Run, status: AcquisitionStatus) -> None:
        """Called in the beam's thread when a run has ended: frames that wait are restored, then the file is closed."""
        hurry = self._shutdown is not None and self._shutdown.requested()
        wait = not hurry and not status.resumable  # what goes on goes on at once
        self._restorations.finish(_CATCH_UP_S if wait else 0.0, give_up=self._asked_to_end)
        if self._background is not None:
            self._background.drain(0.2 if hurry else 60)
            self._background.close(0.2)
        if status.resumable and not hurry:
            run.recording.abandon()
            self._say(f"{run.recording.path.name} is left open, to be gone on with: {status.message}", "warning")
        else:
            run.recording.close(status.finish_reason or "completed")
        self._forget_old(run.recording.path)
        if self._figures is not None:
            self._finished.put((run, status, self._figures))

    def _asked_to_end(self) -> bool:
        return self._shutdown is not None and self._shutdown.requested()

    def _forget_old(self, path: Path) -> None:
        self._recent.append(path)
        while self._config.keep_last and len(self._recent) > self._config.keep_last:
            self._recent.popleft().unlink(missing_ok=True)

    # -- the page ---------------------------------------------------------------------------------------

    def _obey(self, timeout_s: float) -> None:
        """Take the page's commands for ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                command = self._hub.commands.get(timeout=left_s)
            except queue.Empty:
                return
            try:
                self._carry_out(command)
            except ScanControlError as error:
                self._say(str(error), "error")

    def _carry_out(self, command: Command) -> None:
        run = self._beam.run
        done = True
        match command:
            case EmergencyBlank():
                self._beam.emergency_blank()
                self._say("beam blanked and held; Start lifts it", "warning")
            case Start(plan=name):
                planned = self._planned.get(name)
                if planned is None:
                    raise InvalidInput("plan", name, "is not offered", f"choose of {', '.join(self._planned)}")
                done = self._beam.start(planned)
            case Pause():
                done = run is not None and run.acquisition.pause()
            case Resume():
                done = run is not None and run.acquisition.resume()
            case Abort():
                done = run is not None and run.acquisition.abort("asked for on the page")
                done = done or self._beam.give_up()
            case Record():
                self._say("every acquisition is recorded: raw samples reach the disk first", "info")
        if not done and isinstance(command, Start):
            self._say("start: an acquisition runs or is still ending; start again when it has ended", "warning")
        elif not done:
            self._say(f"{type(command).__name__.lower()}: nothing to do that with now", "warning")

    def _say(self, text: str, level: str = "info") -> None:
        self._hub.publish_notice(Notice(text, level))  # type: ignore[arg-type]
        if level != "info":
            print_line(f"{level:<11} {text}", error=True)

    def _refresh(self) -> None:
        beam, restored = self._beam, self._restorations
        if beam.run is not None:
            self._last = beam.run.acquisition.status
        self._show_truth()
        self._hub.publish_status(
            status_view(
                plans=tuple(self._plans),
                figures=self._figures,
                acquisition=self._last,
                microscope=beam.microscope,
                microscope_name=self._capabilities.name,
                address=self._config.microscope,
                connected=beam.connected,
                restorer=restored.state(),
                method=None if restored.made_by is None else restored.made_by.method,
                face=None if restored.made_by is None else restored.made_by.face,
                latency=restored.latency,
                dose_area_e_per_a2=self._dose_area(),
                origin=self._capabilities.origin,
                warnings=self._standing(),
            )
        )

    def _standing(self) -> tuple[str, ...]:
        """What is wrong now, and stays on the page while it is."""
        warnings = []
        if not self._beam.connected:
            warnings.append(f"the microscope at {self._config.microscope} does not answer; trying again")
        if self._beam.unfinished is not None:
            name = self._beam.unfinished.name
            warnings.append(f"{name} waits for its disk or its microscope, and is tried again; Abort gives it up")
        if self._config.specimen.id == UNNAMED and self._config.specimen.limits != DoseLimits():
            warnings.append("the specimen has limits and no id: give it one, or doses of different ones add up")
        if self._beam.held:
            warnings.append("the beam is held blanked; Start lifts it")
        if self._restorations.state().state in ("dead", "restarting"):
            warnings.append("no restorer: partial scans are shown alone, and recorded")
        return tuple(warnings)

    def _dose_area(self) -> float | None:
        """What the most exposed place under the plan's first path has had, by the specimen's ledger."""
        return None if self._first_path is None else self._dose.area_e_per_a2(self._first_path)

    def snapshot(self) -> Snapshot:
        """The whole, as of now. Called in the status server's thread."""
        return snapshot_of(
            now_utc_ns=time.time_ns(),
            started_utc_ns=self._started_utc_ns,
            acquisition=self._last,
            figures=self._figures,
            series_unique_id=self._series or None,
            beam=self._beam,
            microscope_name=self._capabilities.name,
            address=self._config.microscope,
            dose=self._dose,
            area_e_per_a2=self._dose_area(),
            restored=self._restorations,
            page=self._page_url,
            output=self._output,
            warnings=self._standing(),
        )

    def _show_truth(self) -> None:
        if self._truth_shown or self._truth_path is None or self._figures is None or not self._truth_path.exists():
            return
        self._truth_shown = True
        shape = self._plans[self._figures.plan].shape if self._figures.plan in self._plans else None
        if shape is not None:
            self._hub.publish_truth(read_truth(self._truth_path, shape))


def _load_plans(files: Sequence[str], base: Path) -> dict[str, ScanPlan]:
    plans: dict[str, ScanPlan] = {}
    for file in files:
        plan = load_plan(base / file)
        if plan.name in plans:
            raise InvalidInput("plan name", plan.name, "is used by two plans", "give each plan a name of its own")
        plans[plan.name] = plan
    return plans


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise StorageError("output folder", folder, problem, "choose another folder") from error
