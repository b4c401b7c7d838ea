"""The real link over real sockets to a real instrument: a recording that is played back."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acquisition_tools import MICROSCOPE, plan_of, recipes_of, values_of
from stalls import Stopwatch

from scancontrol.acquisition import Acquisition
from scancontrol.link.link import MicroscopeLink
from scancontrol.microscope.drivers.recording import Replay
from scancontrol.microscope.host import serve
from scancontrol.paths import expand
from scancontrol.plan.plan import ScanPlan, parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan
from scancontrol.wire.messages import Scan
from scancontrol.wire.server import ServerProtocol

KIT = Path(__file__).parents[1] / "kit"
pytestmark = pytest.mark.slow


def recorded(place: Path, plan: ScanPlan) -> Path:
    with record_plan(place, PlannedScan(plan, MICROSCOPE)) as recording:
        for frame, recipe in enumerate(recipes_of(plan)):
            path = expand(recipe)
            recording.begin_frame(frame, path)
            recording.write_chunk(frame, 0, values_of(frame, 0, path.count), 0, 0, 0.0)
            recording.end_frame(frame, "completed", exposed=path.count)
    return place


class CountingReplay(Replay):
    """Counts how often each sample of each frame was handed out as exposed; hands out nothing beyond ``most``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.exposed: dict[tuple[int, int], int] = {}
        self.most = math.inf

    def read(self, max_samples: int) -> Any:
        if len(self.exposed) >= self.most:
            return None
        first = self._next
        block = super().read(max_samples)
        if block is not None:
            for index in range(first, first + block.values.shape[1]):
                self.exposed[self._frame, index] = self.exposed.get((self._frame, index), 0) + 1
        return block


@contextmanager
def served(instrument: Replay) -> Iterator[str]:
    ready, stop, address = threading.Event(), threading.Event(), []

    def on_ready(at: str) -> None:
        address.append(at)
        ready.set()

    thread = threading.Thread(target=serve, args=(instrument,), kwargs={"shutdown": stop.is_set, "on_ready": on_ready})
    thread.start()
    try:
        assert ready.wait(5)
        yield address[0]
    finally:
        stop.set()
        thread.join(5)


def test_a_recording_played_back_as_a_microscope_is_recorded_again_sample_for_sample(tmp_path: Path) -> None:
    plan = plan_of(6)
    original = recorded(tmp_path / "original.hspy", plan)
    with served(Replay(original, speed=math.inf)) as address, MicroscopeLink(address) as link:
        capabilities = link.connect(5)
        with Recording.open(original) as read:
            plan_again = parse_plan(read.plan_text)
        planned = PlannedScan(plan_again, capabilities)
        recording = record_plan(tmp_path / "copy.hspy", planned, series_id=3, series_unique_id="again")
        recipes = map(planned.recipe, range(plan_again.frames))
        status = Acquisition(link, recording, recipes).run()
    assert (status.finish_reason, status.message, status.samples_lost) == ("completed", "", 0)
    recording.close()
    with Recording.open(original) as first, Recording.open(tmp_path / "copy.hspy") as second:
        for frame in range(6):
            np.testing.assert_array_equal(first.samples(frame), second.samples(frame))
        assert second.electrons == pytest.approx(
            sum(expand(r).electrons(capabilities.beam_current_pa) for r in recipes_of(plan))
        )


def test_a_recording_is_played_back_at_the_pace_of_the_beam(tmp_path: Path) -> None:
    plan = plan_of(1, dwell_us=2000.0)
    original = recorded(tmp_path / "original.hspy", plan)
    duration_s = expand(recipes_of(plan)[0]).duration_us * 1e-6
    with served(Replay(original)) as address, MicroscopeLink(address) as link:
        link.connect(5)
        recording = record_plan(tmp_path / "copy.hspy", PlannedScan(plan, link.capabilities), series_id=1)
        with Stopwatch() as watch:
            status = Acquisition(link, recording, recipes_of(plan)).run()
            took_s, given_s = time.monotonic() - watch.began, watch.s
    recording.close()
    assert status.finish_reason == "completed"
    assert duration_s <= took_s
    assert given_s < duration_s + 1.0


def test_a_path_that_the_recording_does_not_hold_is_refused_with_words(tmp_path: Path) -> None:
    original = recorded(tmp_path / "original.hspy", plan_of(1))
    with served(Replay(original)) as address, MicroscopeLink(address) as link:
        link.connect(5)
        other = plan_of(1, coverage=0.5)
        recording = record_plan(tmp_path / "copy.hspy", PlannedScan(other, link.capabilities), series_id=1)
        status = Acquisition(link, recording, recipes_of(other)).run()
    recording.close(status.finish_reason or "")
    assert status.finish_reason == "fault"
    assert "scan with the plan that the recording carries" in status.message


def test_pause_resume_and_abort_reach_the_microscope_over_the_wire(tmp_path: Path) -> None:
    plan = plan_of(4, dwell_us=2000.0)
    instrument = CountingReplay(recorded(tmp_path / "original.hspy", plan))
    with served(instrument) as address, MicroscopeLink(address) as link:
        link.connect(5)
        recording = record_plan(tmp_path / "copy.hspy", PlannedScan(plan, link.capabilities), series_id=1)
        acquisition = Acquisition(link, recording, recipes_of(plan))
        at: dict[str, int] = {}

        def operate() -> None:
            until(lambda: acquisition.status.samples_received > 3)
            assert acquisition.pause()
            until(lambda: acquisition.status.phase.value == "paused")
            at["paused"] = len(instrument.exposed)
            time.sleep(0.1)
            at["still paused"] = len(instrument.exposed)
            assert acquisition.resume()
            until(lambda: len(instrument.exposed) > at["paused"] + 3)
            assert acquisition.abort("seen enough")

        operator = threading.Thread(target=operate)
        operator.start()
        status = acquisition.run()
        operator.join()
    recording.close(status.finish_reason or "")
    assert at["paused"] == at["still paused"]
    assert (status.finish_reason, status.message, status.samples_lost) == ("aborted", "seen enough", 0)
    with Recording.open(tmp_path / "copy.hspy") as read:
        assert sum(frame.received for frame in read.frames) == len(instrument.exposed)


def until(condition: Any, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def test_an_acquisition_killed_mid_frame_goes_on_where_it_was_and_exposes_nothing_twice(tmp_path: Path) -> None:
    plan = plan_of(4, dwell_us=500.0)
    instrument = CountingReplay(recorded(tmp_path / "original.hspy", plan))
    total = sum(expand(recipe).count for recipe in recipes_of(plan))
    place = tmp_path / "copy.hspy"
    with served(instrument) as address:
        for kill_at in (total // 5, total // 2, None):
            instrument.most = (
                math.inf if kill_at is None else kill_at
            )  # it does not come to its end before it is killed
            victim = subprocess.Popen(
                [sys.executable, str(KIT / "acquisition_victim.py"), address, str(place), "4"],
                stdout=subprocess.PIPE,
                text=True,
                cwd=KIT.parents[1],
                env={**os.environ, "PYTHONPATH": f"{KIT}:."},
            )
            assert victim.stdout is not None
            with victim.stdout:
                if kill_at is not None:
                    until(lambda at=kill_at: len(instrument.exposed) >= at, 60)
                    victim.send_signal(signal.SIGKILL)
                    victim.wait()
                    instrument.most = math.inf
                    with Recording.open(place) as read:
                        assert not read.closed
                else:
                    assert victim.stdout.readline() == "scanning\n"
                    said = victim.stdout.readline()
                    victim.wait()
        assert json.loads(said) == {"reason": "completed", "message": "", "lost": 0}
    assert len(instrument.exposed) == total
    assert set(instrument.exposed.values()) == {1}
    with Recording.open(place) as read:
        assert read.closed
        for frame, recipe in enumerate(recipes_of(plan)):
            np.testing.assert_array_equal(read.samples(frame), values_of(frame, 0, expand(recipe).count))


class Killed(BaseException):
    """What a SIGKILL is to a server: nothing is sent any more."""


@pytest.mark.parametrize("exposed_before", [1, 5, 10])  # credit lets so many come before the answer
def test_a_server_killed_while_its_answer_is_waited_for_has_no_sample_exposed_again_by_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exposed_before: int
) -> None:
    plan = plan_of(3, dwell_us=200.0)
    original = recorded(tmp_path / "original.hspy", plan)
    exposed: dict[tuple[int, int], int] = {}
    answers, stop, address = [False], threading.Event(), []
    ready = threading.Event()

    class Mute(ServerProtocol):
        def _request(self, session: Any, message: Any, now_ns: int) -> None:
            said = self._replies.take_control()
            super()._request(session, message, now_ns)
            answered = self._replies.take_control()
            self._replies._control = said if isinstance(message, Scan) and not answers[0] else said + answered

    class Mortal(CountingReplay):
        def read(self, max_samples: int) -> Any:
            block = super().read(max_samples)
            if len(self.exposed) >= exposed_before and not answers[0]:
                raise Killed
            return block

    def serve_twice() -> None:
        for at in ("tcp://127.0.0.1:0", None):
            instrument = Mortal(original)
            instrument.exposed = exposed
            try:
                serve(instrument, at or address[0], shutdown=stop.is_set, on_ready=on_ready)
            except Killed:
                answers[0] = True

    def on_ready(at: str) -> None:
        address.append(at)
        ready.set()

    monkeypatch.setattr("scancontrol.microscope.host.ServerProtocol", Mute)
    thread = threading.Thread(target=serve_twice)
    thread.start()
    try:
        assert ready.wait(5)
        with MicroscopeLink(address[0]) as link:
            link.connect(5)
            recording = record_plan(
                tmp_path / "new.hspy", PlannedScan(plan, link.capabilities), series_id=3, series_unique_id="new"
            )
            status = Acquisition(link, recording, recipes_of(plan)).run()
            recording.close(status.finish_reason or "")
    finally:
        stop.set()
        thread.join(5)
    assert status.finish_reason == "fault"
    assert set(exposed.values()) == {1}
    with Recording.open(tmp_path / "new.hspy") as read:
        assert {(f.frame, sample) for f in read.frames for sample in range(f.received)} <= set(exposed)
