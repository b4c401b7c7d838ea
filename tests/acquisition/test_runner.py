"""What an acquisition does with recipes, commands and mishaps; the microscope is in memory, the disk is real."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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
)

from scancontrol.acquisition import Acquisition, Background, Event, PartialFrames, Phase
from scancontrol.acquisition.contracts import FrameStart
from scancontrol.acquisition.phases import TRANSITIONS, step
from scancontrol.errors import InvalidInput, LocalProtocolError
from scancontrol.paths import achieved_positions, expand, partial_frame
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, RecordingWriter, record_plan


def test_all_frames_of_a_plan_are_recorded_acknowledged_and_handed_on(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope, sink, phases = MemoryMicroscope(), RememberingSink(), []
    acquisition = Acquisition(
        microscope,
        recording,
        recipes_of(plan),
        [sink],
        frames_planned=4,
        on_status=lambda status: phases.append(status.phase),
    )
    assert acquisition.status.phase is Phase.IDLE
    status = acquisition.run()
    assert (status.phase, status.finish_reason) == (Phase.ENDED, "completed")
    assert (status.frames_completed, status.frames_ended, status.samples_lost) == (4, 4, 0)
    assert status.samples_received == status.samples_exposed == len(microscope.exposed)
    assert [phase for i, phase in enumerate(phases) if phases[i - 1 : i] != [phase]] == [
        Phase.ARMING,
        Phase.SCANNING,
        Phase.ENDED,
    ]
    recording.close(status.finish_reason)
    check_recorded(recording.path, microscope)
    for frame, recipe in enumerate(recipes_of(plan)):
        count = expand(recipe).count
        assert microscope.acknowledged[frame] == count
        np.testing.assert_array_equal(np.concatenate(sink.values[frame], axis=1), values_of(frame, 0, count))
    assert [end.complete for end in sink.ended] == [True] * 4


def test_nothing_is_acknowledged_before_it_is_on_the_disk_nor_handed_on_before_it_is_acknowledged(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope, order = MemoryMicroscope(), []

    def acknowledged(frame: int, next_index: int) -> None:
        with Recording.open(recording.path) as read:
            assert read.frame(frame).received == next_index
        order.append(("acknowledged", frame, next_index))

    class Ordered(RememberingSink):
        def samples(self, frame: int, first_index: int, values: np.ndarray) -> None:
            assert order[-1] == ("acknowledged", frame, first_index + values.shape[1])

    microscope.on_acknowledge = acknowledged
    Acquisition(microscope, recording, recipes_of(plan)[:1], [Ordered()]).run()
    assert len(order) > 3


def test_the_next_frame_waits_in_the_microscopes_queue_so_that_the_beam_need_not(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    microscope = MemoryMicroscope(script=slow_start())
    Acquisition(microscope, recording, recipes_of(plan), frames_ahead=2).run()
    assert microscope.longest_queue == 3


def test_frames_begin_no_closer_together_than_their_interval_and_none_is_queued_before(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    now_s, begun_s = 0.0, []

    def turn() -> None:
        nonlocal now_s
        now_s += 0.25

    class Watching(RememberingSink):
        def frame_started(self, start: FrameStart) -> None:
            begun_s.append(now_s)

    microscope = MemoryMicroscope(step=1000)
    acquisition = Acquisition(
        microscope,
        recording,
        recipes_of(plan),
        [Watching()],
        interval_s=10.0,
        link_patience_s=1e6,
        on_turn=turn,
        clock=lambda: now_s,
    )
    assert acquisition.run().frames_completed == 4
    assert all(10 <= gap <= 11 for gap in np.diff(begun_s))
    assert microscope.longest_queue == 1


def slow_start() -> Callable[[MemoryMicroscope], None]:
    """The beam waits until a full queue was asked for, so that its length does not hang on thread timing."""

    def script(microscope: MemoryMicroscope) -> None:
        if microscope.longest_queue < 3:
            microscope.paused = True
        elif "go" not in microscope.calls:
            microscope.calls.append("go")
            microscope.paused = False

    return script


def test_an_adaptive_iterator_that_waits_for_what_it_has_seen_does_not_stop_the_samples(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    seen: queue.Queue[int] = queue.Queue()
    recipes = recipes_of(plan)

    def decide() -> Iterator[Any]:
        yield recipes[0]
        for _ in range(3):
            yield recipes[seen.get(timeout=5) + 1]

    class Deciding(RememberingSink):
        def frame_ended(self, end: Any) -> None:
            seen.put(end.frame)

    status = Acquisition(MemoryMicroscope(), recording, decide(), [Deciding()], frames_ahead=0).run()
    assert (status.finish_reason, status.frames_completed) == ("completed", 4)


def test_a_recipe_that_cannot_be_ends_the_acquisition_after_the_frames_before_it(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    def recipes() -> Iterator[Any]:
        yield from recipes_of(plan)[:2]
        raise InvalidInput("coverage", 2, "is above 1", "lower it")

    microscope = MemoryMicroscope()
    status = Acquisition(microscope, recording, recipes()).run()
    assert (status.finish_reason, status.frames_completed) == ("planning", 2)
    assert "coverage = 2 is above 1" in status.message
    check_recorded(recording.path, microscope)


def test_a_sink_that_fails_is_left_out_and_costs_no_sample(
    recording: RecordingWriter, plan: ScanPlan, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(RememberingSink):
        def samples(self, frame: int, first_index: int, values: np.ndarray) -> None:
            raise RuntimeError("broken")

    microscope, healthy = MemoryMicroscope(), RememberingSink()
    status = Acquisition(microscope, recording, recipes_of(plan), [Failing(), healthy]).run()
    assert (status.finish_reason, status.samples_lost) == ("completed", 0)
    assert caplog.text.count("Failing failed and gets no more samples") == 1
    assert len(healthy.ended) == 4


def test_partial_frames_and_positions_reach_the_recording_and_the_page(
    recording: RecordingWriter, plan: ScanPlan
) -> None:
    shown: list[Any] = []
    coil = MICROSCOPE.coil
    background = Background(PartialFrames(recording, coil, shown.append, interval_s=0.0))
    Acquisition(MemoryMicroscope(), recording, recipes_of(plan), [background]).run()
    background.close()
    recording.close()
    with Recording.open(recording.path) as read:
        for frame, recipe in enumerate(recipes_of(plan)):
            path = expand(recipe)
            mean, weight = partial_frame(path, values_of(frame, 0, path.count)[0])
            np.testing.assert_allclose(read.partial(frame), mean, rtol=1e-6)
            last = [partial for partial in shown if partial.frame == frame][-1]
            assert (last.complete, last.samples) == (True, path.count)
            np.testing.assert_allclose(last.weight, weight, rtol=1e-6)
            nominal, achieved = read.positions(frame)
            np.testing.assert_allclose(nominal, path.positions, atol=1e-7)
            np.testing.assert_allclose(achieved, achieved_positions(path, coil), atol=1e-7)
    assert any(not partial.complete and partial.samples > 0 for partial in shown)


def test_a_background_sink_that_falls_behind_drops_samples_and_says_how_many() -> None:
    gate, got = threading.Event(), []

    class Slow(RememberingSink):
        def samples(self, frame: int, first_index: int, values: np.ndarray) -> None:
            gate.wait(5)
            got.append(values.shape[1])

    background = Background(Slow(), max_samples=100)
    for i in range(50):
        background.samples(0, 10 * i, values_of(0, 10 * i, 10))
    gate.set()
    assert background.drain(5)
    background.close()
    assert 100 <= sum(got) <= 110
    assert background.dropped_samples + sum(got) == 500


def test_every_phase_leads_to_the_end_and_nothing_leads_out_of_it() -> None:
    assert TRANSITIONS[Phase.ENDED] == {}
    for phase in Phase:
        if phase is not Phase.ENDED:
            assert TRANSITIONS[phase][Event.FINISH] is Phase.ENDED
    with pytest.raises(LocalProtocolError, match="cannot pause an acquisition that is ended"):
        step(Phase.ENDED, Event.PAUSE)


def test_a_frame_that_does_not_fit_its_recording_ends_the_acquisition_after_the_frames_before_it(
    tmp_path: Path, plan: ScanPlan
) -> None:
    writer = record_plan(tmp_path / "small.hspy", PlannedScan(plan_of(2), MICROSCOPE), series_id=1)
    microscope = MemoryMicroscope()
    status = Acquisition(microscope, writer, recipes_of(plan)).run()
    assert (status.finish_reason, status.frames_completed, status.samples_lost) == ("recording", 2, 0)
    assert "make it larger" in status.message
    writer.close("recording")
    check_recorded(tmp_path / "small.hspy", microscope)
