"""A daemon's worth of views without a daemon: spiral frames of a synthetic specimen through the real hub.

Used by the browser tests and, by hand, to work on the page: ``PYTHONPATH=tests/kit python
tests/daemon/page/synthetic_daemon.py`` prints a link and scans until Ctrl-C. It obeys the page's commands, so buttons
do what they say.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from plan_tools import MICROSCOPE
from scipy.ndimage import distance_transform_edt, gaussian_filter

from scancontrol.acquisition import AcquisitionStatus, Phase
from scancontrol.acquisition.reasons import explanation
from scancontrol.daemon.config import DaemonConfig, SpecimenConfig
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.desk import Desk
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.drift_follower import DriftSnapshot
from scancontrol.daemon.frame_answers import FrameAnswers
from scancontrol.daemon.orders import Orders
from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import (
    Abort,
    Describe,
    EmergencyBlank,
    LookAt,
    Notice,
    Pause,
    Record,
    Resume,
    ShowChannel,
    Start,
)
from scancontrol.daemon.page.server import LiveServer
from scancontrol.daemon.plans import PlanBook
from scancontrol.daemon.snapshot import BeamSnapshot, DoseSnapshot, RestorationsSnapshot, Snapshot
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean
from scancontrol.paths.geometry import Placement, Region
from scancontrol.paths.known import known_pixels, reach_of
from scancontrol.paths.pattern import CoverageGoal
from scancontrol.plan.figures import PlanFigures
from scancontrol.plan.plan import ScanPlan
from scancontrol.restoration import AS_KEPT, Provenance
from scancontrol.wire.messages import Status

Image = npt.NDArray[np.float32]
PLANS = ("spiral-20", "spiral-10", "spiral-100")


def specimen(side: int) -> Image:
    """Two crystal grains with a tilted boundary on a thickness ramp, in counts; (side, side)."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    boundary = (x - 0.55 + 0.15 * np.sin(3.1 * y)) > 0

    def lattice(angle: float, pitch: float) -> Image:
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        heavy = np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch)
        light = np.cos(2 * np.pi * (u / pitch + 0.5)) + np.cos(2 * np.pi * (v / pitch + 0.5))
        return np.exp(2.4 * (heavy - 2)) + 0.35 * np.exp(3.2 * (light - 2))

    columns = np.where(boundary, lattice(0.2, 1 / 17), lattice(0.95, 1 / 17))
    particle = np.exp(-((((x - 0.3) ** 2 + (y - 0.68) ** 2) / 0.012) ** 3))
    return (420 + 900 * columns * (0.7 + 0.5 * y) + 520 * particle + 160 * x).astype(np.float32)


def spiral_pixels(side: int, coverage: float, placement: Placement | None = None) -> npt.NDArray[np.intp]:
    """Flat indices, in scan order, of the pixels an Archimedean spiral of constant speed touches in a region."""
    turns = coverage * side / 2
    length = int(np.pi * turns * side * 1.6)
    share = np.sqrt(np.linspace(0, 1, length))
    radius, angle = share * side / 2, share * turns * 2 * np.pi
    at_y, at_x = side / 2 + radius * np.sin(angle), side / 2 + radius * np.cos(angle)
    if placement is not None:
        at_y, at_x = side * placement.to_field(np.stack([at_y, at_x], axis=1) / side).T
    flat = np.clip(at_y, 0, side - 1).astype(np.intp) * side + np.clip(at_x, 0, side - 1).astype(np.intp)
    return flat[np.concatenate(([True], flat[1:] != flat[:-1]))]


def fill(image: Image, weight: npt.NDArray[np.uint8]) -> tuple[Image, Image]:
    """Normalised convolution over three widths, and an interval that grows with the distance to the path."""
    estimate = np.full(image.shape, image[weight > 0].mean(), np.float32)
    for sigma in (8.0, 3.0, 1.2):
        mass = gaussian_filter(weight.astype(np.float32), sigma)
        value = gaussian_filter(np.where(weight > 0, image, 0).astype(np.float32), sigma) / np.maximum(mass, 1e-6)
        estimate += np.clip(mass * 2 * np.pi * sigma**2, 0, 1) * (value - estimate)
    spread = np.float32(image[weight > 0].std())
    distance = distance_transform_edt(weight == 0).astype(np.float32)
    return estimate, (0.25 + 1.1 * (1 - np.exp(-distance / 5))).astype(np.float32) * spread


def scan_plan(name: str, side: int) -> ScanPlan:
    """The plan whose name ends in one over its coverage."""
    pattern = Archimedean(coverage=CoverageGoal(value=1 / int(name.rsplit("-", 1)[1])))
    return ScanPlan(name=name, shape=(side, side), fov_nm=12.8, dwell_us=2.0, frames=200, patterns=(pattern,))


class SyntheticDaemon:
    """Scans in a thread of its own; ``restorer_state`` and ``publish_once`` let a test set the scene."""

    def __init__(self, hub: LiveHub, *, side: int = 512, coverage: float = 0.05, steps: int = 8, pace_s: float = 0.04):
        self.hub, self.side, self.steps, self.pace_s = hub, side, steps, pace_s
        self.truth = specimen(side)
        self.path = spiral_pixels(side, coverage)
        self.coverage, self.region, self.rotation_deg = coverage, Region(), 0.0
        self.rng = np.random.default_rng(7)
        self.phase, self.reason, self.frame, self.series = "idle", None, 0, 0
        self.restored = -1  # the frame of the newest restoration
        self.plan: str | None = PLANS[0]
        self.recording: str | None = "2026-11-23T1530-spiral-20.h5"
        self.restorer_state, self.restarts, self.blanked = "ready", 0, True
        self.look, self.drift = AS_KEPT, DriftSnapshot()
        self.warnings: tuple[str, ...] = ()
        self.claimed_by: str | None = None
        self.told: dict[str, Any] = {}  # further facts of every restoration
        self.arming: str | None = None
        self.strain: Image | None = None  # of every restoration
        self.taken: list[object] = []
        self.orders, self.confirms, self.catching_up = Orders(), True, 0
        self.received, self.latencies = 0, [7.9]
        self.channels, self.channel = ("HAADF",), "HAADF"
        self.beside: str | None = None
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.book = PlanBook({name: scan_plan(name, side) for name in PLANS}, folder / "presets", self.say)
        self.dose = DoseKeeper(SpecimenConfig(limits=DoseLimits(area_e_per_a2=1e6)), folder / "ledger")
        self.describing = Describing(DaemonConfig(microscope="tcp://127.0.0.1:5555", operator="test"), folder)
        hub.desk = Desk(self.book, self.dose, FrameAnswers(folder, hub), lambda: MICROSCOPE, folder=folder)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="synthetic-daemon", daemon=True)

    def __enter__(self) -> SyntheticDaemon:
        self.hub.publish_truth(self.truth, "HAADF")
        self.publish_status()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join(5)
        self.dose.close()
        self._folder.cleanup()

    def say(self, text: str, level: str = "info") -> None:
        self.hub.publish_notice(Notice(text, level))  # type: ignore[arg-type]

    def _run(self) -> None:
        while not self._end.is_set():
            self.obey(timeout_s=0.0 if self.phase == "scanning" else 0.05)
            if self.phase == "scanning":
                self.scan_frame()
            self.publish_status()

    def obey(self, timeout_s: float) -> None:
        try:
            asked = self.hub.commands.get(timeout=timeout_s) if timeout_s else self.hub.commands.get_nowait()
        except queue.Empty:
            return
        command = asked.command
        if not (isinstance(command, EmergencyBlank) and self.taken[-1:] == [command]):  # it comes over two connections
            self.taken.append(command)
        match command:
            case Start(plan=plan, number=number):
                asked_for = self.book.find(plan)
                self.orders.start(asked_for, number)
                order = self.orders.take()
                assert order is not None
                self.orders.lifted(order)
                self.order = order
                self.plan, self.phase, self.reason, self.blanked = asked_for.name, "scanning", None, False
                self.series, self.frame = self.series + 1, 0
                self.region, self.rotation_deg = asked_for.region, asked_for.rotation_deg
                placement = Placement((self.side, self.side), self.region, self.rotation_deg)
                self.path = spiral_pixels(self.side, self.coverage, placement)
                self.say(f"Started {asked_for.name}.")
            case Pause():
                self.phase, self.blanked = "paused", True
                self.hub.publish_notice(Notice("Paused; beam blanked."))
            case Resume():
                self.phase, self.blanked = "scanning", False
            case Abort():
                self.orders.abort()
                self.orders.ended(self.order)
                self.phase, self.reason, self.blanked = "ended", "aborted", True
                self.hub.publish_notice(Notice(f"Aborted in frame {self.frame + 1}.", "warning"))
            case EmergencyBlank():
                self.orders.blank()
                if self.phase == "scanning":
                    self.orders.ended(self.order)
                if self.confirms:
                    self.orders.confirm(self.orders.blank_to_say or 0)
                self.phase, self.reason, self.blanked = "ended", "operator_blank", True
                self.hub.publish_notice(Notice("Beam blanked by the operator.", "error"))
            case ShowChannel(channel=name, beside=beside):
                self.channel, self.beside = name, beside
                self.say(f"{name} is shown and restored from here on")
            case LookAt(look=look):
                self.look = look
            case Describe(about=change):
                try:
                    self.describing.change(change)
                except InvalidInput as error:
                    asked.refused(error)
                    return
            case Record(on=on):
                self.recording = "2026-11-23T1532-spiral-20.h5" if on else None
        asked.done()

    def scan_frame(self) -> None:
        """One frame in ``steps`` parts, a partial restoration half way, and the final one."""
        noisy = self.rng.poisson(self.truth).astype(np.float32)
        image = np.zeros((self.side, self.side), np.float32)
        weight = np.zeros((self.side, self.side), np.uint8)
        for step, part in enumerate(np.array_split(self.path, self.steps), start=1):
            image.flat[part], weight.flat[part] = noisy.flat[part], 1
            self.received += len(part)
            complete = step == self.steps
            done = sum(len(p) for p in np.array_split(self.path, self.steps)[:step])
            self.hub.publish_partial(
                PartialView(
                    self.series,
                    self.frame,
                    image.copy(),
                    weight.copy(),
                    complete,
                    done,
                    "5f0c",
                    len(self.path),
                    12.8,
                    channel=self.channel,
                )
            )
            if self.restorer_state == "ready" and (complete or step == self.steps // 2):
                start = time.perf_counter()
                estimate, interval = fill(image, weight)
                self.latencies.append((time.perf_counter() - start) * 1e3)
                withheld = float(np.sqrt(np.mean((estimate - self.truth)[weight == 0][::37] ** 2)))
                self.hub.publish_restoration(
                    RestorationView(
                        self.series,
                        self.frame,
                        estimate,
                        interval,
                        Provenance(
                            method="normalised convolution",
                            face="classical",
                            withheld_rmse=withheld,
                            expected_rmse=withheld,
                            **self.told,
                        ),
                        self.latencies[-1],
                        partial=not complete,
                        scanned_utc_ms=time.time_ns() // 1_000_000,
                        **self.known(weight, interval),
                        strain=self.strain,
                        channel=self.channel,
                    )
                )
                self.restored = self.frame
                if self.beside is not None:  # what the other detector sees is bright where this one is dark
                    provenance = Provenance(method="normalised convolution", face="classical")
                    other = RestorationView(
                        self.series, self.frame, 2000 - estimate, interval, provenance, None, channel=self.beside
                    )
                    self.hub.publish_restoration(other, beside=True)
            self.publish_status()
            if self._end.wait(self.pace_s) or not self.hub.commands.empty():
                self.obey(0.0)
            if self.phase != "scanning":
                return
        self.frame += 1

    def known(self, weight: npt.NDArray[np.uint8], interval: Image) -> dict[str, Any]:
        """Where the restoration is a picture, as the daemon says it."""
        if self.region == Region():
            return {}
        known = known_pixels(reach_of(weight > 0), interval)
        return {"known": known, "outline": Placement((self.side,) * 2, self.region, self.rotation_deg).outline()}

    def publish_status(self) -> None:
        touched = len(np.unique(self.path)) / self.side**2
        dose = len(self.path) / self.side**2
        e_per_a2 = 6241.5 * (0.2 / 0.25) ** 2 * dose
        self.hub.publish_status(
            Snapshot(
                utc_ns=time.time_ns(),
                plans=self.book.names,
                channels=self.channels,
                channel=self.channel,
                beside=self.beside,
                detectors=self.channels,
                claimed_by=self.claimed_by,
                description=self.describing.now,
                plan=PlanFigures(
                    plan=self.plan or "",
                    pattern="Archimedean spiral, constant speed",
                    frames=200,
                    dwell_us=2.0,
                    beam_current_pa=20.0,
                    beam_frame_time_ms=len(self.path) * 2e-3,
                    worst_area_frame_e_per_a2=e_per_a2,
                    dose_limit_e_per_a2=50_000.0,
                    coverage_nominal=self.coverage,
                    coverage_touched=touched,
                    coverage_dose=dose,
                    saturation_counts=4095.0,
                ),
                scan=AcquisitionStatus(
                    phase=Phase(self.phase),
                    finish_reason=self.reason,
                    explanation=explanation(self.reason, "") if self.reason else "",
                    frame=self.frame,
                    frames_planned=200,
                    frame_rate_hz=1 / (self.pace_s * self.steps + 0.1),
                    samples_exposed=self.received,
                    samples_received=self.received,
                    recording=self.recording,
                ),
                orders=self.orders.snapshot,
                microscope=BeamSnapshot(
                    name="synthetic STEM",
                    address="tcp://127.0.0.1:5555",
                    origin="simulation",
                    arming=self.arming,
                    connected=True,
                    status=self.microscope(),
                ),
                dose=DoseSnapshot(area_e_per_a2=e_per_a2 * self.frame),
                restorer=RestorationsSnapshot(
                    state=self.restorer_state,  # type: ignore[arg-type]
                    restarts=self.restarts,
                    device="cpu",
                    method="normalised convolution",
                    face="classical",
                    catching_up=self.catching_up,
                    look=self.look,
                    latency_p50_ms=float(np.median(self.latencies)),
                    latency_p99_ms=max(self.latencies),
                ),
                drift=self.drift,
                warnings=self.warnings,
            )
        )

    def microscope(self) -> Status:
        return Status(
            number=1,
            client_ns=1,
            monotonic_ns=1,
            utc_ns=1,
            server_id="0" * 32,
            state="idle" if self.blanked else "scanning",
            blanker="auto" if self.blanked else "unblank",
            beam_on=not self.blanked,
            operator="test",
            series_id=None,
            frame=None,
            next_index=0,
            queued_scans=0,
            next_sequence=0,
            retained_bytes=0,
            session_electrons=0.0,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Show the live page over a synthetic scan")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--link-file", type=Path, help="write the operator's link here")
    args = parser.parse_args()
    hub = LiveHub()
    with LiveServer(hub, port=args.port) as server, SyntheticDaemon(hub, side=args.side):
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        if args.link_file:
            args.link_file.write_text(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
