"""What cuts an acquisition short: aborts, pauses, silence, full disks, lost links; nothing is lost or exposed twice."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import numpy as np
import pytest
from acquisition_tools import (
    MICROSCOPE,
    MemoryMicroscope,
    RememberingSink,
    check_recorded,
    plan_of,
    recipes_of,
    values_of,
    when_exposed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.acquisition import Acquisition, PartialFrames, Phase
from scancontrol.acquisition.contracts import NoAccount
from scancontrol.acquisition.phases import AcquisitionStatus
from scancontrol.dose.running import RunningDose
from scancontrol.errors import LinkError, RemoteProtocolError, RequestRefused
from scancontrol.paths import ScanPath, expand, partial_frame
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, RecordingWriter, record_plan
from scancontrol.wire.assembly import Chunk


def test_an_abort_between_two_frames_does_not_wait_for_the_next(recording: RecordingWriter, plan: ScanPlan) -> None:
    def abort_after_the_first(status: AcquisitionStatus) -> None:
        if status.frames_completed == 1:
            acquisition.abort()

    acquisition = Acquisition(
        MemoryMicroscope(step=1000), recording, recipes_of(plan), interval_s=3600.0, on_status=abort_after_the_first
    )
    status = acquisition.run()
    assert (status.finish_reason, status.frames_completed) == ("aborted", 1)


def test_an_abort_blanks_within_one_chunk_and_everything_exposed_is_kept(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope = MemoryMicroscope()
    acquisition = Acquisition(microscope, recording, recipes_of(plan))
    asked_at: list[int] = []

    def abort(_: MemoryMicroscope) -> None:
        thread = threading.Thread(target=lambda: acquisition.abort("enough"))
        thread.start()
        thread.join()
        asked_at.append(len(microscope.exposed))

    microscope.script = when_exposed(100, abort)
    status = acquisition.run()
    assert (status.finish_reason, status.message) == ("aborted", "enough")
    assert len(microscope.exposed) <= asked_at[0] + microscope.step
    assert not acquisition.abort()
    recording.close("aborted")
    check_recorded(recording.path, microscope)
    with Recording.open(recording.path) as read:
        assert read.reason == "aborted"
        assert read.frames[-1].reason == "aborted"


def test_a_pause_exposes_nothing_until_it_is_resumed(recording: RecordingWriter, plan: ScanPlan) -> None:
    microscope = MemoryMicroscope()
    acquisition = Acquisition(microscope, recording, recipes_of(plan))
    turns: list[int] = []

    def script(m: MemoryMicroscope) -> None:
        if len(m.exposed) >= 64 and not turns:
            assert acquisition.pause()
            assert not acquisition.pause(), "it is being paused already"
            turns.append(len(m.exposed))
        elif turns and acquisition.status.phase is Phase.PAUSED:
            turns.append(len(m.exposed))
            if len(turns) == 20:
                assert acquisition.resume()

    microscope.script = script
    status = acquisition.run()
    assert status.finish_reason == "completed"
    assert microscope.calls == ["pause", "resume"]
    assert max(turns[1:]) - turns[0] <= microscope.step
    recording.close()
    check_recorded(recording.path, microscope)


def test_an_abort_while_paused_ends_the_acquisition(recording: RecordingWriter, plan: ScanPlan) -> None:
    microscope = MemoryMicroscope()
    acquisition = Acquisition(microscope, recording, recipes_of(plan))

    def script(m: MemoryMicroscope) -> None:
        if acquisition.status.phase is Phase.SCANNING:
            acquisition.pause()
        elif acquisition.status.phase is Phase.PAUSED:
            acquisition.abort()

    microscope.script = script
    assert acquisition.run().finish_reason == "aborted"


def test_a_frame_interrupted_by_silence_goes_on_at_its_next_unexposed_sample(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope, sink = MemoryMicroscope(), RememberingSink()
    microscope.script = when_exposed(48, lambda m: m.end_all("heartbeat_lost", "silence"))
    status = Acquisition(microscope, recording, recipes_of(plan), [sink]).run()
    assert status.finish_reason == "completed"
    assert status.interruptions >= 1
    assert (status.frames_completed, status.samples_lost) == (4, 0)
    recording.close()
    check_recorded(recording.path, microscope)
    assert sink.started[1].first_index == 48


def test_an_interruption_ends_the_acquisition_where_the_operator_chose_so(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope = MemoryMicroscope(script=when_exposed(48, lambda m: m.end_all("heartbeat_lost", "silence")))
    status = Acquisition(microscope, recording, recipes_of(plan), interrupted="end").run()
    assert (status.finish_reason, status.resumable) == ("heartbeat_lost", True)
    check_recorded(recording.path, microscope)


@pytest.mark.parametrize("reason", ["dose_limit", "fault", "operator_blank", "overrun", "shutdown"])
def test_what_the_microscope_ends_is_ended_with_its_reason(
    recording: RecordingWriter, plan: ScanPlan, reason: str
) -> None:
    microscope = MemoryMicroscope(script=when_exposed(48, lambda m: m.end_all(reason, "words")))
    status = Acquisition(microscope, recording, recipes_of(plan)).run()
    assert (status.finish_reason, status.message) == (reason, "words")
    check_recorded(recording.path, microscope)


def test_a_full_disk_blanks_the_beam_acknowledges_no_more_and_leaves_a_recording_to_go_on_with(
    recording: RecordingWriter, plan: ScanPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    microscope, sink = MemoryMicroscope(), RememberingSink()
    real = os.pwrite

    def full(*arguments: Any) -> int:
        if len(microscope.exposed) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", full)
    status = Acquisition(microscope, recording, recipes_of(plan), [sink]).run()
    monkeypatch.undo()
    assert (status.finish_reason, status.resumable) == ("recording", True)
    assert "No space left" in status.message
    assert "abort" in microscope.calls
    assert status.samples_lost > 0
    recording.abandon()
    with Recording.open(recording.path) as read:
        for frame, acknowledged in microscope.acknowledged.items():
            assert read.frame(frame).received >= acknowledged
            np.testing.assert_array_equal(read.samples(frame, 0, acknowledged), values_of(frame, 0, acknowledged))
    handed_on = sum(part.shape[1] for parts in sink.values.values() for part in parts)
    assert handed_on == sum(microscope.acknowledged.values())


def test_a_link_that_is_gone_ends_the_acquisition_and_leaves_a_recording_to_go_on_with(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    def cut(_: MemoryMicroscope) -> None:
        raise LinkError("the cable is out")

    microscope = MemoryMicroscope(script=when_exposed(48, cut))
    status = Acquisition(microscope, recording, recipes_of(plan)).run()
    assert (status.finish_reason, status.message, status.resumable) == ("link", "the cable is out", True)
    recording.abandon()
    going_on = RecordingWriter.resume(recording.path)
    second = MemoryMicroscope(exposed=microscope.exposed)
    shown: list[Any] = []
    partial_frames = PartialFrames(going_on, MICROSCOPE.coil, shown.append)
    status = Acquisition(second, going_on, recipes_of(plan), [partial_frames]).run()
    assert (status.finish_reason, status.frames_completed) == ("completed", 4)
    going_on.close()
    check_recorded(recording.path, second)
    interrupted = next(frame for frame, sample in second.exposed if sample == 47)
    path = expand(recipes_of(plan)[interrupted])
    whole, _ = partial_frame(path, values_of(interrupted, 0, path.count)[0])
    with Recording.open(recording.path) as read:
        np.testing.assert_allclose(read.partial(interrupted), whole, rtol=1e-6)


def test_a_microscope_that_speaks_nonsense_is_blanked_and_ends_the_acquisition_without_an_exception(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    def nonsense(_: MemoryMicroscope) -> None:
        raise RemoteProtocolError("a chunk without a frame")

    microscope = MemoryMicroscope(script=when_exposed(48, nonsense))
    status = Acquisition(microscope, recording, recipes_of(plan)).run()
    assert (status.finish_reason, status.message) == ("fault", "a chunk without a frame")
    assert microscope.calls == ["abort"]


def test_a_resumed_acquisition_can_be_aborted_while_it_waits_for_what_the_microscope_kept(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    recording.begin_frame(0, expand(recipes_of(plan)[0]))
    recording.abandon()
    going_on = RecordingWriter.resume(recording.path)
    microscope = MemoryMicroscope()
    acquisition = Acquisition(microscope, going_on, recipes_of(plan))
    microscope.script = lambda m: acquisition.abort("no more") and None
    status = acquisition.run()
    assert (status.finish_reason, len(microscope.exposed)) == ("aborted", 0)
    going_on.abandon()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from(["pause", "resume", "abort", "heartbeat_lost", "fault"])),
        max_size=6,
    ),
    step_size=st.integers(1, 90),
    frames_ahead=st.integers(0, 2),
)
def test_whatever_happens_in_whatever_order_nothing_is_exposed_twice_or_lost(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str]], step_size: int, frames_ahead: int
) -> None:
    plan = plan_of(3)
    place = tmp_path_factory.mktemp("any") / "a.hspy"
    writer = record_plan(place, PlannedScan(plan, MICROSCOPE), series_id=1)
    microscope, sink = MemoryMicroscope(step=step_size), RememberingSink()
    acquisition = Acquisition(microscope, writer, recipes_of(plan), [sink], frames_ahead=frames_ahead)
    waiting, idle = sorted(events), [0]

    def script(m: MemoryMicroscope) -> None:
        idle[0] = idle[0] + 1 if acquisition.status.phase is Phase.PAUSED else 0
        if idle[0] > 10:
            acquisition.resume()
        while waiting and len(m.exposed) >= waiting[0][0]:
            _, what = waiting.pop(0)
            if what in ("heartbeat_lost", "fault"):
                m.end_all(what)
            else:
                getattr(acquisition, what)()

    microscope.script = script
    status = acquisition.run()
    assert status.phase is Phase.ENDED
    assert status.samples_lost == status.samples_duplicate == status.chunks_out_of_turn == 0
    assert len(sink.ended) == status.frames_ended
    writer.close(status.finish_reason or "")
    check_recorded(place, microscope)


def test_a_pause_that_the_microscope_refuses_leaves_the_acquisition_scanning(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    class Deaf(MemoryMicroscope):
        def pause(self) -> None:
            self.calls.append("pause")
            raise RequestRefused("not_now", "cannot pause now")

    microscope = Deaf()
    acquisition = Acquisition(microscope, recording, recipes_of(plan))
    microscope.script = when_exposed(20, lambda m: acquisition.pause())
    assert acquisition.run().finish_reason == "completed"
    assert microscope.calls == ["pause"]


def test_a_microscope_that_counts_more_than_the_limits_leave_is_stopped_and_its_samples_are_kept(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    class Limited(NoAccount):
        def ask(self, frame: int, path: ScanPath, first_index: int) -> float | None:
            self.path = path
            self.running = RunningDose(path, first_index, 20.0, 1.5 * path.electrons(20.0))
            return None  # the microscope is one that does not listen

        def counted(self, chunk: Chunk) -> None:
            share = chunk.count / self.path.count
            self.running.add(chunk.first_index, chunk.count, 5 * share * self.path.electrons(20.0))

    microscope = MemoryMicroscope()
    status = Acquisition(microscope, recording, recipes_of(plan), dose=Limited()).run()
    assert status.finish_reason == "dose_limit"
    assert "5 times what current and dwell say" in status.message
    assert 0 < status.samples_received == len(microscope.exposed) < expand(recipes_of(plan)[0]).count
    check_recorded(recording.path, microscope)


@pytest.mark.parametrize("unheard", ["pause", "resume"])
def test_a_pause_or_its_end_that_is_not_confirmed_is_asked_for_until_it_is(
    recording: RecordingWriter, plan: ScanPlan, unheard: str
) -> None:
    """The microscope obeys and its answer is lost: page and microscope come to one opinion all the same."""

    class Mute(MemoryMicroscope):
        def _lose(self, what: str) -> None:
            if what == unheard and self.calls.count(what) < 3:
                raise LinkError("no answer")

        def pause(self) -> None:
            super().pause()
            self._lose("pause")

        def resume(self) -> None:
            super().resume()
            self._lose("resume")

    microscope = Mute()
    acquisition = Acquisition(microscope, recording, recipes_of(plan))
    opinions: set[tuple[bool, Phase]] = set()

    def script(m: MemoryMicroscope) -> None:
        if len(m.exposed) >= 20 and not m.calls:
            acquisition.pause()
        if acquisition.status.phase is Phase.PAUSED:
            opinions.add((m.paused, acquisition.status.phase))
            acquisition.resume()

    microscope.script = script
    assert acquisition.run().finish_reason == "completed"
    if unheard == "pause":
        assert opinions == {(True, Phase.PAUSED)}
    other = "resume" if unheard == "pause" else "pause"
    assert (microscope.calls.count(unheard), microscope.calls.count(other)) == (3, 1)
