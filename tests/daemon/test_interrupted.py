"""What a crash cut off is taken up in the beam's thread, however far the rest of the daemon has come by then."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stalls import Stopwatch

from scancontrol.capabilities import Capabilities
from scancontrol.daemon.beam import BeamThread
from scancontrol.daemon.config import DaemonConfig, PageConfig, RestorerConfig
from scancontrol.daemon.service import Daemon, Launch
from scancontrol.dose.ledger import read_ledger
from scancontrol.errors import LinkError, RecordingError, RequestRefused
from scancontrol.link.link import MicroscopeLink
from scancontrol.microscope.host import serve
from scancontrol.paths import CoverageGoal, JitteredGrid
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingReader, RecordingWriter, record_plan
from simulators.config import SimulatorConfig
from simulators.microscope import SimulatedMicroscope
from simulators.specimens.library import Crystal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = ScanPlan(
    name="cut-off",
    shape=(32, 32),
    fov_nm=10.0,
    dwell_us=10.0,
    frames=2,
    patterns=(JitteredGrid(coverage=CoverageGoal(value=0.1)),),
)


@pytest.fixture
def microscope() -> Iterator[tuple[str, Capabilities]]:
    ready, stop, address = threading.Event(), threading.Event(), []

    def on_ready(at: str) -> None:
        address.append(at)
        ready.set()

    instrument = SimulatedMicroscope(SimulatorConfig(specimen=Crystal(size_nm=2.0, thickness_nm=2.0)))  # soon made
    thread = threading.Thread(target=serve, args=(instrument,), kwargs={"shutdown": stop.is_set, "on_ready": on_ready})
    thread.start()
    assert ready.wait(30)
    yield address[0], instrument.capabilities
    stop.set()
    thread.join(10)


class Until:
    """Asks the daemon to end as soon as something is so."""

    def __init__(self, condition) -> None:
        self.requested = condition


def is_closed(path: Path) -> bool:
    with RecordingReader(path) as read:
        return read.closed


@pytest.mark.parametrize(("choice", "reason"), [("end", "interrupted"), ("resume", "completed")])
def test_what_was_cut_off_does_not_wait_for_the_rest_of_the_daemon(
    microscope: tuple[str, Capabilities], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice, reason: str
) -> None:
    address, capabilities = microscope
    cut_off = record_plan(tmp_path / "cut-off.hspy", PlannedScan(PLAN, capabilities), series_id=1, series_unique_id="s")
    cut_off.begin_frame(0, PlannedScan(PLAN, capabilities).path(0))
    cut_off.abandon()
    connect = BeamThread.connect

    def slow_connect(beam: BeamThread, timeout_s: float) -> Capabilities:
        """The main thread is not scheduled again before the beam's has done all that it has to do."""
        found = connect(beam, timeout_s)
        deadline = time.monotonic() + 30
        while not is_closed(cut_off.path) and beam.alive and time.monotonic() < deadline:
            time.sleep(0.005)
        return found

    monkeypatch.setattr(BeamThread, "connect", slow_connect)
    config = DaemonConfig(
        microscope=address,
        output=str(tmp_path),
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
        on_interrupted=choice,
    )
    shutdown = Until(lambda: is_closed(cut_off.path))
    assert Daemon(config, tmp_path, Launch(), shutdown).run() == 0  # type: ignore[arg-type]
    with RecordingReader(cut_off.path) as read:
        assert read.reason == reason


@pytest.mark.parametrize("choice", ["end", "resume"])
def test_all_that_were_cut_off_are_ended_and_only_the_newest_may_go_on(
    microscope: tuple[str, Capabilities], tmp_path: Path, capsys: pytest.CaptureFixture[str], choice: str
) -> None:
    address, capabilities = microscope
    planned = PlannedScan(PLAN, capabilities)
    for number, name in enumerate(("oldest", "older", "newest"), 1):
        facts = {"series_id": number, "series_unique_id": name, "started_utc_ns": number}
        cut_off = record_plan(tmp_path / f"{name}.hspy", planned, **facts)  # type: ignore[arg-type]
        cut_off.begin_frame(0, planned.path(0))
        cut_off.abandon()
    os.utime(tmp_path / "oldest.hspy")  # a restoration in place, a copy: it looks as if written last
    theirs = record_plan(tmp_path / "theirs.hspy", planned, series_id=9, series_unique_id="theirs")
    config = DaemonConfig(
        microscope=address,
        output=str(tmp_path),
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
        on_interrupted=choice,  # type: ignore[arg-type]
    )
    names = ("oldest", "older", "newest")
    shutdown = Until(lambda: all(is_closed(tmp_path / f"{name}.hspy") for name in names))
    assert Daemon(config, tmp_path, Launch(), shutdown).run() == 0  # type: ignore[arg-type]
    theirs.abandon()
    reasons = []
    for name in names:
        with RecordingReader(tmp_path / f"{name}.hspy") as read:
            reasons.append(read.reason)
    assert reasons == ["interrupted", "interrupted", {"end": "interrupted", "resume": "completed"}[choice]]
    said = capsys.readouterr().err
    assert "theirs.hspy was not ended and is passed over: another process is writing it" in said
    for name in names:
        assert f"{name}.hspy was interrupted and" in said
    assert not is_closed(tmp_path / "theirs.hspy")


def test_a_microscope_that_does_not_answer_for_a_while_is_waited_for_by_a_daemon_that_runs(
    microscope: tuple[str, Capabilities], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, capabilities = microscope
    cut_off = record_plan(tmp_path / "cut-off.hspy", PlannedScan(PLAN, capabilities), series_id=1, series_unique_id="s")
    cut_off.begin_frame(0, PlannedScan(PLAN, capabilities).path(0))
    cut_off.abandon()
    connect, attempts = MicroscopeLink.connect, []

    def often_in_vain(link: MicroscopeLink, timeout_s: float = 5.0) -> Capabilities:
        attempts.append(address)
        if len(attempts) == 2:  # after what was cut off is ended, for the next thing to do
            raise LinkError("no microscope answers")
        return connect(link, timeout_s)

    monkeypatch.setattr(MicroscopeLink, "connect", often_in_vain)
    config = DaemonConfig(
        microscope=address,
        output=str(tmp_path),
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
        on_interrupted="end",
    )
    shutdown = Until(lambda: len(attempts) == 3)
    assert Daemon(config, tmp_path, Launch(), shutdown).run() == 0  # type: ignore[arg-type]


def test_a_microscope_that_is_not_there_is_waited_for_as_long_as_is_configured(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        config = DaemonConfig(
            microscope=f"tcp://127.0.0.1:{nobody.getsockname()[1]}",
            output=str(tmp_path),
            page=PageConfig(enabled=False),
            restorer=RestorerConfig(enabled=False),
            connect_timeout_s=0.3,
        )
        with Stopwatch() as watch:
            with pytest.raises(LinkError, match=r"no microscope answers at .* within 0\.3 s"):
                Daemon(config, tmp_path, Launch(), Until(lambda: False)).run()  # type: ignore[arg-type]
            assert watch.s < 4, "it would be 5 s where nobody says otherwise"


def test_a_second_daemon_of_one_microscope_is_refused_at_once_by_the_name_of_its_operator(
    microscope: tuple[str, Capabilities], tmp_path: Path
) -> None:
    address, _ = microscope
    with MicroscopeLink(address, operator="E. Ruska") as first:
        first.connect(5)
        config = DaemonConfig(
            microscope=address,
            output=str(tmp_path),
            page=PageConfig(enabled=False),
            restorer=RestorerConfig(enabled=False),
        )
        with pytest.raises(RequestRefused, match=r"operated by 'E\. Ruska'"):
            Daemon(config, tmp_path, Launch(), Until(lambda: False)).run()  # type: ignore[arg-type]


def when_three_frames_are_recorded(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> list[Path]:
    """Have ``act`` done with the recording's path between two writes of its, in mid-scan; then the path is in the list.

    From any other thread it would come at any moment, on a busy machine also after the scan.
    """
    done: list[Path] = []
    end_frame = RecordingWriter.end_frame

    def ending(writer: RecordingWriter, frame: int, *given: Any, **named: Any) -> bool:
        whole = end_frame(writer, frame, *given, **named)
        if frame == 2 and not done:
            act(writer.path)
            done.append(writer.path)
        return whole

    monkeypatch.setattr(RecordingWriter, "end_frame", ending)
    return done


@pytest.mark.parametrize("what", ["the file", "the folder", "the ledger"])
def test_what_is_deleted_in_mid_scan_is_put_back_and_the_plan_completed(
    microscope: tuple[str, Capabilities],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    address, capabilities = microscope
    plan = msgspec.structs.replace(PLAN, name="deleted", dwell_us=200.0, frames=60)
    (tmp_path / "plan.yaml").write_bytes(msgspec.yaml.encode(plan))
    config = DaemonConfig(
        microscope=address,
        plans=("plan.yaml",),
        output="runs",
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
        on_interrupted="resume",
    )
    runs = tmp_path / "runs"  # the ledgers are in it

    def delete(file: Path) -> None:
        if what == "the file":
            file.unlink()
        else:
            shutil.rmtree(runs if what == "the folder" else runs / "ledger")

    deleted = when_three_frames_are_recorded(monkeypatch, delete)
    shutdown = Until(lambda: bool(deleted) and deleted[0].exists() and is_closed(deleted[0]))
    assert Daemon(config, tmp_path, Launch(start=True), shutdown).run() == 0  # type: ignore[arg-type]
    with RecordingReader(deleted[0]) as read:
        assert read.reason == "completed"
        assert [frame.received for frame in read.frames] == [frame.exposed for frame in read.frames]
        assert len(read.frames) == 60
        assert read.examine().damaged == ()
        spent = sum(frame.electrons for frame in read.frames)  # of a frame that was asked for twice, its last part
    whole = plan.frames * PlannedScan(plan, capabilities).path(0).electrons(capabilities.beam_current_pa)
    assert spent <= read_ledger(runs / "ledger" / "unnamed").electrons == pytest.approx(whole, rel=0.01)
    said = capsys.readouterr().err
    of_file = "was deleted, or its folder is gone, while it was written" in said
    of_ledger = "was removed while it was in use; it is put back with every dose known" in said
    assert (of_file, of_ledger) == (what != "the ledger", what != "the file")


def test_a_daemon_that_ends_while_it_waits_for_a_place_says_so_and_leaves_the_samples_elsewhere(
    microscope: tuple[str, Capabilities],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, _ = microscope
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    plan = msgspec.structs.replace(PLAN, name="deleted", dwell_us=200.0, frames=60)
    (tmp_path / "plan.yaml").write_bytes(msgspec.yaml.encode(plan))
    config = DaemonConfig(
        microscope=address,
        plans=("plan.yaml",),
        output="runs",
        ledger=str(tmp_path / "ledger"),
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
    )
    runs = tmp_path / "runs"

    def block(file: Path) -> None:
        shutil.rmtree(runs)
        runs.write_text("in the way")

    deleted = when_three_frames_are_recorded(monkeypatch, block)
    ends = Until(lambda: bool(deleted) and daemon._snapshot.microscope.unfinished is not None)
    daemon = Daemon(config, tmp_path, Launch(start=True), ends)  # type: ignore[arg-type]
    assert daemon.run() == 1
    (left,) = (tmp_path / "elsewhere").glob("*.hspy")
    with RecordingReader(left) as read:
        assert read.examine().samples > 0
        assert read.examine().damaged == ()
    said = capsys.readouterr().err
    assert f"has no place in its folder: all that was written is in {left}" in said
    assert "a recording is not ended" in said


def test_keeping_only_the_last_recordings_never_deletes_what_a_crash_had_cut_off(
    microscope: tuple[str, Capabilities], tmp_path: Path
) -> None:
    address, capabilities = microscope
    cut_off = record_plan(tmp_path / "cut-off.hspy", PlannedScan(PLAN, capabilities), series_id=1, series_unique_id="s")
    cut_off.begin_frame(0, PlannedScan(PLAN, capabilities).path(0))
    cut_off.abandon()
    (tmp_path / "plan.yaml").write_bytes(msgspec.yaml.encode(PLAN))
    config = DaemonConfig(
        microscope=address,
        plans=("plan.yaml",),
        output=str(tmp_path),
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
        keep_last=1,
    )
    seen: set[Path] = set()

    def three_were_there() -> bool:
        seen.update(tmp_path.glob("*.hspy"))
        return len(seen) > 3

    daemon = Daemon(config, tmp_path, Launch(start=True, repeat=True), Until(three_were_there))  # type: ignore[arg-type]
    assert daemon.run() == 0
    assert cut_off.path.exists()
    assert is_closed(cut_off.path)
    assert len(list(tmp_path.glob("*.hspy"))) < len(seen)


def test_a_run_that_was_to_end_by_itself_and_lost_its_file_ends_with_an_error_and_its_samples(
    microscope: tuple[str, Capabilities], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = microscope
    plan = msgspec.structs.replace(PLAN, name="deleted", dwell_us=200.0)
    (tmp_path / "plan.yaml").write_bytes(msgspec.yaml.encode(plan))
    config = DaemonConfig(
        microscope=address,
        plans=("plan.yaml",),
        output="runs",
        page=PageConfig(enabled=False),
        restorer=RestorerConfig(enabled=False),
    )
    deleted = when_three_frames_are_recorded(monkeypatch, Path.unlink)
    launch = Launch(start=True, frames=60)
    with pytest.raises(RecordingError, match=r"the acquisition ended early \(interrupted\)"):
        Daemon(config, tmp_path, launch, Until(lambda: False)).run()  # type: ignore[arg-type]
    with RecordingReader(deleted[0]) as read:
        assert (read.closed, read.reason) == (True, "interrupted")
        assert read.examine().samples > 0
        assert read.examine().damaged == ()
