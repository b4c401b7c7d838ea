"""A frame goes on only where it is known which of its samples were exposed; the microscope is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from acquisition_tools import MICROSCOPE, MemoryMicroscope, plan_of, recipes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.acquisition import Acquisition, AcquisitionStatus
from scancontrol.acquisition.contracts import NoAccount
from scancontrol.errors import LinkError, RequestRefused, StorageError
from scancontrol.paths import ScanPath
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, RecordingReader, RecordingWriter, record_plan
from scancontrol.wire.messages import End


@pytest.fixture
def plan() -> ScanPlan:
    return plan_of(3)


@pytest.fixture
def recording(tmp_path: Path, plan: ScanPlan) -> Iterator[RecordingWriter]:
    writer = record_plan(tmp_path / "a.hspy", PlannedScan(plan, MICROSCOPE), series_id=1, series_unique_id="s")
    yield writer
    writer.abandon()


Trouble = Callable[["Answering"], None]


class Answering(MemoryMicroscope):
    """At the ``at``-th scan asked for, ``trouble`` happens instead of an answer; the scan was taken up before it."""

    def answers(self, at: int, trouble: Trouble, *, taken_up: bool = True) -> Answering:
        self.at, self.trouble, self.taken_up = at, trouble, taken_up
        return self

    def start(self, path_id: str, series_id: int, frame: int, first_index: int = 0, **named: str) -> None:
        self.at -= 1
        if self.at != 0 or self.taken_up:
            super().start(path_id, series_id, frame, first_index, **named)
        if self.at == 0:
            self.trouble(self)

    def expose_all(self) -> None:
        """Everything that was asked for is exposed, as far as one step goes."""
        while self.queue:
            self._expose()
            if self.queue:
                self._end("heartbeat_lost", "silence")

    def die(self) -> None:
        """The server is killed with all that it kept, and started again; the link makes up the ends."""
        open_frames = [event for event in self.events if isinstance(event, End)]
        self.events.clear()
        self.server_id = "b" * 32
        for end in open_frames:
            self.events.append(msgspec.structs.replace(end, reason="fault", next_index=end.first_index, utc_ns=0))


def dies(microscope: Answering) -> None:
    microscope.expose_all()
    microscope.die()
    raise RequestRefused("no_session", "the session ended before the answer came")


def dies_silently(microscope: Answering) -> None:
    microscope.expose_all()
    microscope.die()
    microscope.events.clear()
    raise LinkError("the microscope did not answer 'scan' within 5 s")


def falls_silent(microscope: Answering) -> None:
    microscope.expose_all()
    raise LinkError("the microscope did not answer 'scan' within 5 s")


def loses_the_session(microscope: Answering) -> None:
    microscope.expose_all()
    raise RequestRefused("no_session", "the session ended before the answer came")


def never_hears(microscope: Answering) -> None:
    raise RequestRefused("no_session", "the session ended before the answer came")


def acquire(microscope: MemoryMicroscope, recording: RecordingWriter, plan: ScanPlan) -> AcquisitionStatus:
    return Acquisition(microscope, recording, recipes_of(plan), frames_planned=plan.frames).run()


def recorded(path: Path) -> set[tuple[int, int]]:
    with RecordingReader(path) as read:
        return {(frame.frame, sample) for frame in read.frames for sample in range(frame.received)}


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_a_killed_server_was_asked_for_is_not_asked_of_its_successor(
    recording: RecordingWriter, plan: ScanPlan, at: int
) -> None:
    microscope = Answering().answers(at, dies)
    status = acquire(microscope, recording, plan)
    assert status.finish_reason == "fault"
    assert set(microscope.exposed.values()) == {1}


@pytest.mark.parametrize("at", [1, 2, 3])
def test_nor_is_it_by_a_daemon_that_is_started_again(recording: RecordingWriter, plan: ScanPlan, at: int) -> None:
    microscope = Answering().answers(at, dies_silently)
    status = acquire(microscope, recording, plan)
    assert (status.finish_reason, status.resumable) == ("link", True)
    recording.abandon()
    going_on = RecordingWriter.resume(recording.path)
    successor = MemoryMicroscope(server_id=microscope.server_id, exposed=microscope.exposed)
    status = acquire(successor, going_on, plan)
    assert (status.finish_reason, status.resumable) == ("fault", False)
    assert "is gone" in status.message
    assert set(successor.exposed.values()) == {1}
    going_on.abandon()
    with Recording.open(recording.path) as read:
        assert "fault" in {frame.reason for frame in read.frames}


@pytest.mark.parametrize("at", [1, 2, 3])
def test_at_the_same_server_it_goes_on_once_all_that_was_kept_has_come(
    recording: RecordingWriter, plan: ScanPlan, at: int
) -> None:
    microscope = Answering().answers(at, falls_silent)
    assert acquire(microscope, recording, plan).finish_reason == "link"
    recording.abandon()
    going_on = RecordingWriter.resume(recording.path)
    status = acquire(microscope, going_on, plan)
    assert (status.finish_reason, status.frames_completed) == ("completed", 3)
    assert set(microscope.exposed.values()) == {1}
    assert set(microscope.exposed) == recorded(recording.path)
    going_on.abandon()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_session_that_ends_before_the_answer_costs_no_sample_and_exposes_none_twice(
    recording: RecordingWriter, plan: ScanPlan, at: int
) -> None:
    microscope = Answering().answers(at, loses_the_session)
    status = acquire(microscope, recording, plan)
    assert (status.finish_reason, status.frames_completed, status.samples_lost) == ("completed", 3, 0)
    assert set(microscope.exposed.values()) == {1}
    assert set(microscope.exposed) == recorded(recording.path)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_scan_that_was_never_taken_up_is_asked_for_again(recording: RecordingWriter, plan: ScanPlan, at: int) -> None:
    microscope = Answering().answers(at, never_hears, taken_up=False)
    status = acquire(microscope, recording, plan)
    assert (status.finish_reason, status.frames_completed) == ("completed", 3)
    assert set(microscope.exposed.values()) == {1}


def test_where_another_client_had_the_samples_let_go_the_frame_does_not_go_on(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope = Answering().answers(1, falls_silent)
    acquire(microscope, recording, plan)
    recording.abandon()
    microscope.events.clear()
    microscope.lost_samples = len(microscope.exposed)
    going_on = RecordingWriter.resume(recording.path)
    assert acquire(microscope, going_on, plan).finish_reason == "fault"
    assert set(microscope.exposed.values()) == {1}
    going_on.abandon()


def test_nor_where_the_disk_lost_samples_that_were_safe(recording: RecordingWriter, plan: ScanPlan) -> None:
    microscope = Answering().answers(1, falls_silent)
    acquire(microscope, recording, plan)
    recording.abandon()
    microscope.events = type(microscope.events)(event for event in microscope.events if isinstance(event, End))
    going_on = RecordingWriter.resume(recording.path)
    assert acquire(microscope, going_on, plan).finish_reason == "fault"
    assert set(microscope.exposed.values()) == {1}
    going_on.abandon()


@pytest.mark.parametrize("at", ["ask", "ended"])
def test_a_ledger_whose_disk_is_full_is_waited_for_like_the_recordings_own(
    recording: RecordingWriter, plan: ScanPlan, at: str
) -> None:
    full = [True]

    class Ledger(NoAccount):
        def _write(self, when: str) -> None:
            if full[0] and when == at:
                raise StorageError("dose ledger", "journal", "cannot be written (No space left on device)", "make room")

        def ask(self, frame: int, path: ScanPath, first_index: int) -> float | None:
            self._write("ask")
            return None

        def ended(self, end: End) -> None:
            self._write("ended")

    microscope = MemoryMicroscope()
    status = Acquisition(microscope, recording, recipes_of(plan), dose=Ledger()).run()
    assert (status.finish_reason, status.resumable) == ("recording", True)
    recording.abandon()
    full[0] = False
    going_on = RecordingWriter.resume(recording.path)
    status = Acquisition(microscope, going_on, recipes_of(plan), dose=Ledger()).run()
    assert (status.finish_reason, status.frames_completed) == ("completed", 3)
    assert set(microscope.exposed.values()) == {1}
    assert set(microscope.exposed) == recorded(recording.path)
    going_on.abandon()


def test_a_fault_blanks_what_a_microscope_would_still_do_behind_it(recording: RecordingWriter, plan: ScanPlan) -> None:
    microscope = MemoryMicroscope()
    ended: list[int] = []

    def trip(m: MemoryMicroscope) -> None:
        m.paused = len(m.queue) < 2 and not ended  # until the next path has been made, however long that takes
        if len(m.exposed) >= 16 and len(m.queue) == 2 and not ended:
            ended.append(m.queue[0][0])
            m._end("fault", "the high tension tripped")

    microscope.script = trip
    status = acquire(microscope, recording, plan)
    assert (status.finish_reason, status.message) == ("fault", "the high tension tripped")
    assert microscope.calls == ["abort"]
    assert max(frame for frame, _ in microscope.exposed) <= ended[0]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    troubles=st.lists(
        st.tuples(
            st.integers(1, 3), st.sampled_from([dies, dies_silently, falls_silent, loses_the_session, never_hears])
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_servers_and_daemons_do_one_after_another_nothing_is_exposed_twice(
    tmp_path_factory: pytest.TempPathFactory, troubles: list[tuple[int, Trouble]]
) -> None:
    plan = plan_of(3)
    place = tmp_path_factory.mktemp("any") / "a.hspy"
    writer = record_plan(place, PlannedScan(plan, MICROSCOPE), series_id=1, series_unique_id="s")
    microscope = Answering()
    for at, trouble in [*troubles, (0, never_hears)]:  # at last nothing happens
        microscope.answers(at, trouble, taken_up=trouble is not never_hears)
        status = acquire(microscope, writer, plan)
        assert set(microscope.exposed.values()) <= {1}
        if not status.resumable:
            break
        writer.abandon()
        writer = RecordingWriter.resume(place)
    writer.abandon()
    assert recorded(place) <= set(microscope.exposed)
    if all(trouble not in (dies, dies_silently) for _, trouble in troubles):
        assert recorded(place) == set(microscope.exposed)
