"""Which samples are handed to the restorer, and when: no process, no socket, no disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from scancontrol.acquisition import FrameEnd, FrameStart
from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.daemon import to_restorer as run_sink
from scancontrol.daemon.config import RestorerConfig
from scancontrol.daemon.page.hub import LiveHub
from scancontrol.daemon.restorations import Restorations
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.daemon.to_restorer import RunSink
from scancontrol.errors import OrderRefused
from scancontrol.paths import Adaptive, Archimedean, CoverageGoal, PathRecipe, expand
from scancontrol.paths.adaptive import second_pass
from scancontrol.restoration import AS_KEPT, Look, Provenance
from scancontrol.restorer import MissedFrame, RestoredFrame, RestorerStatus


class Handed:
    """Stands for the restorer's client: notes what it is handed."""

    status = RestorerStatus()

    def __init__(self) -> None:
        self.takes_s: float | None = 0.01
        self.frames: list[tuple[int, int, bool]] = []
        self.registered: list[str] = []
        self.late_us: list[float] = []
        self.looks: list[tuple[int, Look]] = []
        self.values: list[tuple[str, str, int]] = []  # stream, detector last registered, first value

    def register(self, recipe, coil, detector) -> None:
        self.registered.append(detector.name)
        self.late_us.append(coil.delay_us)

    def restore_s(self, path_id: str) -> float | None:
        return self.takes_s

    def restore(self, frame, path_id, samples, *, stream, complete=True, read_again=None, look=None) -> None:
        if look is not None:
            self.looks.append((frame, look))
            return
        self.frames.append((frame, len(samples), complete))
        self.values.append((stream, self.registered[-1], int(samples[0])))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(s=100.0)
    time = SimpleNamespace(monotonic=lambda: now.s, monotonic_ns=lambda: int(now.s * 1e9))
    monkeypatch.setattr(run_sink, "time", time)
    return now


@pytest.fixture
def path():
    recipe = PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=0.1)), shape=(128, 128), fov_nm=10.0, dwell_us=1000.0
    )
    return expand(recipe)


def sink(handed: Handed) -> RunSink:
    names = tuple(channel.name for channel in Capabilities(name="m").detectors)
    header = SimpleNamespace(series_unique_id="s", series_id=1, keep_restorations="all", channels=names)
    recording = SimpleNamespace(header=header, path=Path("r.hspy"), wants_restoration=lambda frame: True)
    return RunSink(
        handed, recording, Capabilities(name="m"), True, lambda: names[0], lambda frame, made_by, interval: None
    )


def scan(sink: RunSink, path, frame: int, clock, *, until: int | None = None, chunk: int = 16) -> None:
    """The beam's own time passes while the samples come."""
    sink.frame_started(FrameStart(1, frame, path, 0, 0, 0))
    for first in range(0, path.count if until is None else until, chunk):
        count = min(chunk, path.count - first)
        clock.s += count * path.duration_us / path.count / 1e6
        sink.samples(frame, first, np.full((1, count), 7, "<u2"))


def test_a_frame_is_handed_in_with_its_last_sample_and_only_once(clock, path):
    handed = Handed()
    run = sink(handed)
    scan(run, path, 0, clock)
    assert handed.frames[-1] == (0, path.count, True)
    run.frame_ended(FrameEnd(1, 0, path, "completed", path.count, True, 0, 0))
    assert [frame for frame in handed.frames if frame[2]] == [(0, path.count, True)]


def test_a_detector_chosen_in_mid_frame_is_restored_from_all_of_its_samples(clock, path):
    two = Capabilities(name="m", detectors=(DetectorChannel(name="HAADF"), DetectorChannel(name="BF")))
    header = SimpleNamespace(series_unique_id="s", series_id=1, keep_restorations="all", channels=("HAADF", "BF"))
    stored = []
    recording = SimpleNamespace(
        header=header,
        path=Path("r.hspy"),
        wants_restoration=lambda frame: True,
        write_restoration=lambda *image, channel: stored.append((image[0], channel)),
    )
    handed, chosen = Handed(), ShownChannel("SE")
    run = RunSink(
        handed, recording, two, True, lambda: chosen.among(header.channels), lambda frame, made_by, interval: None
    )
    run.frame_started(FrameStart(1, 0, path, 0, 0, 0))
    values = np.repeat(np.array([[7], [9]], "<u2"), path.count, axis=1)
    run.samples(0, 0, values[:, :100])
    chosen.name = "BF"
    run.samples(0, 100, values[:, 100:])
    run.frame_ended(FrameEnd(1, 0, path, "completed", path.count, True, 0, 0))
    assert handed.frames == [(0, path.count, True)]
    ((stream, detector, value),) = handed.values
    assert (detector, value, run.channel_of(stream)) == ("BF", 9, "BF")
    assert handed.registered[0] == "HAADF", "what is not recorded is not asked for"
    run.store(SimpleNamespace(frame=0, estimate=None, interval=None, made_by=None, stream=stream))
    assert stored == [(0, "BF")]


def test_a_frame_is_settled_once_each_of_its_restorations_came_or_is_missed_whatever_later_ones_wait_for(
    monkeypatch, clock, path
) -> None:
    told = Told(monkeypatch)
    settled = told.restorations.is_settled
    assert not settled(1, 0), "nothing of it was handed in"
    scan(told.sink, path, 0, clock)
    scan(told.sink, path, 1, clock)
    assert not settled(1, 0)
    told.answer(0, path, Provenance(method="m", face="classical"))
    assert settled(1, 0)
    assert not settled(1, 1), "it is restored yet"
    assert not settled(2, 0), "of another series"
    told.restorations._missed(MissedFrame("s.0", 1, "dropped"))
    assert settled(1, 1)


def test_a_frame_that_ended_early_is_handed_in_with_what_there_is(clock, path):
    handed = Handed()
    run = sink(handed)
    scan(run, path, 0, clock, until=800)
    run.frame_ended(FrameEnd(1, 0, path, "aborted", 800, False, 0, 0))
    assert handed.frames[-1] == (0, 800, True)


def test_looks_at_an_unfinished_frame_come_at_the_same_places_of_every_frame(clock, path):
    handed = Handed()
    run = sink(handed)
    places = []
    for frame, chunk in enumerate((16, 23)):
        scan(run, path, frame, clock, chunk=chunk)
        places.append({count for number, count, complete in handed.frames if number == frame and not complete})
        run.settled(frame, "s.0")
    assert places[0] == places[1] != set()


def test_a_look_that_would_not_be_done_before_the_frame_is_not_asked_for(clock, path):
    handed = Handed()
    run = sink(handed)
    slow = RestoredFrame(
        stream="s.0",
        frame=0,
        path_id=path.path_id,
        complete=False,
        estimate=np.zeros((2, 2)),
        interval=None,
        made_by=Provenance(method="m", face="classical", samples_used=1),
        compute_ms=0.0,
        waited_ms=0.0,
        turnaround_ms=path.duration_us / 1e3,
    )
    run.partial_restored(slow)
    scan(run, path, 0, clock)
    assert handed.frames == [(0, path.count, True)]


@pytest.mark.parametrize(("takes_of_scan", "looks"), [(None, False), (0.3, True), (0.7, False)])
def test_the_first_look_waits_for_the_path_to_be_prepared_and_is_given_up_where_it_would_be_late(
    takes_of_scan: float | None, looks: bool, clock, path
) -> None:
    handed = Handed()
    handed.takes_s = None if takes_of_scan is None else takes_of_scan * path.duration_us / 1e6
    scan(sink(handed), path, 0, clock)
    assert (len(handed.frames) > 1) is looks
    assert handed.frames[-1] == (0, path.count, True)


def _recording() -> SimpleNamespace:
    names = tuple(channel.name for channel in Capabilities(name="m").detectors)
    header = SimpleNamespace(series_unique_id="s", series_id=1, keep_restorations="none", channels=names)
    return SimpleNamespace(
        header=header, path=Path("r.hspy"), wants_restoration=lambda frame: True, write_restoration=lambda *a, **b: None
    )


class Told:
    """The daemon's dealings with a restorer whose answers are given by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handed, self.said = Handed(), []
        monkeypatch.setattr("scancontrol.daemon.restorations.RestorerProcess", lambda *a, **b: self.handed)
        self.restorations = Restorations(
            RestorerConfig(), LiveHub(), lambda text, level: self.said.append((text, level)), lambda text: None
        )
        self.sink = self.restorations.sink_for(
            _recording(), Capabilities(name="m"), lambda: "HAADF", lambda frame, made_by, interval: None
        )

    def answer(self, frame: int, path, made_by: Provenance, look: Look | None = None, level: float = 0.0) -> None:
        image, whole = np.full(path.shape, level, np.float32), look is None
        found = RestoredFrame("s.0", frame, path.path_id, whole, image, None, made_by, 1.0, 1.0, 2.0, look=look)
        self.restorations._restored(found)


def test_a_delay_that_was_found_is_corrected_when_it_is_asked_for_and_only_once(monkeypatch, clock, path) -> None:
    told = Told(monkeypatch)
    with pytest.raises(OrderRefused, match="found none"):
        told.restorations.correct_delay()
    scan(told.sink, path, 0, clock)
    late = Provenance(method="m", face="classical", delay_samples=3.0, delay_sd_samples=0.2, cause="delay")
    told.answer(0, path, late)
    assert told.restorations.correct_delay() == pytest.approx(3000.0), "three dwells of a millisecond"
    with pytest.raises(OrderRefused):
        told.restorations.correct_delay()
    scan(told.sink, path, 1, clock)
    assert told.handed.late_us == [0.0, pytest.approx(3000.0)]
    assert told.restorations.snapshot().late_us == pytest.approx(3000.0)
    told.answer(1, path, msgspec.structs.replace(late, delay_samples=-0.5))
    assert told.restorations.correct_delay() == pytest.approx(2500.0), "what was left of it"


def test_what_a_frame_says_of_its_readings_is_told_the_operator_once(monkeypatch, clock, path) -> None:
    told = Told(monkeypatch)
    doubtful = Provenance(method="m", face="classical", cause="afterglow", notices=("the light lingers",))
    benign = Provenance(method="m", face="classical", notices=("3 of 900 readings were lost",))
    scan(told.sink, path, 0, clock)
    for frame, made_by in enumerate((doubtful, doubtful, benign)):
        told.answer(frame, path, made_by)
    assert told.said == [("frame 0: the light lingers", "warning"), ("frame 2: 3 of 900 readings were lost", "info")]


def test_of_two_detectors_each_frame_is_handed_in_twice_as_two_streams(clock, path):
    handed, names = Handed(), ("HAADF", "BF")
    microscope = Capabilities(name="m", detectors=tuple(DetectorChannel(name=name) for name in names))
    header = SimpleNamespace(series_unique_id="s", series_id=1, keep_restorations="all", channels=names)
    recording = SimpleNamespace(header=header, path=Path("r.hspy"), wants_restoration=lambda frame: True)
    shown = ShownChannel("BF", "HAADF")
    run = RunSink(
        handed,
        recording,
        microscope,
        True,
        lambda: shown.among(names),
        lambda frame, made_by, interval: None,
        beside=lambda: shown.beside_among(names),
    )
    run.frame_started(FrameStart(1, 0, path, 0, 0, 0))
    run.samples(0, 0, np.stack([np.full(path.count, 3, "<u2"), np.full(path.count, 9, "<u2")]))
    assert handed.values == [("s.1", "BF", 9), ("s.0", "HAADF", 3)]
    assert run.unfinished == 2
    run.settled(0, "s.1")
    assert run.unfinished == 1
    shown.beside = ""
    run.frame_started(FrameStart(1, 1, path, 0, 0, 0))
    run.samples(1, 0, np.zeros((2, path.count), "<u2"))
    assert [stream for stream, _, _ in handed.values[2:]] == ["s.1"]


def test_a_detector_is_never_shown_beside_itself_nor_one_that_is_not_recorded():
    assert ShownChannel("BF", "BF").beside_among(("HAADF", "BF")) is None
    assert ShownChannel("BF", "HAADF").beside_among(("BF",)) is None
    assert ShownChannel("EDX", "BF").beside_among(("HAADF", "BF")) == "BF"


def test_another_look_at_the_newest_frame_is_shown_and_what_is_kept_is_restored_as_before(
    monkeypatch, clock, path
) -> None:
    told, single, shown = Told(monkeypatch), Look(alone=True), []
    monkeypatch.setattr(
        told.restorations._hub,
        "publish_restoration",
        lambda view, beside: shown.append((view.estimate[0, 0], view.partial)),
    )
    kept = Provenance(method="m", face="classical", frames=4, age_frames=3)
    alone = Provenance(method="m", face="classical")
    scan(told.sink, path, 0, clock)
    told.answer(0, path, kept, level=1.0)
    told.restorations.look_at(single)
    assert told.handed.looks == [(0, single)], "the newest frame at once"
    told.answer(0, path, alone, single, level=2.0)
    handed = len(told.handed.frames)
    scan(told.sink, path, 1, clock)
    assert told.handed.frames[handed:] == [(1, path.count, True)], "no partial frames, which are not of this look"
    assert told.handed.looks[1:] == [(1, single)]
    told.answer(1, path, kept, level=3.0)
    told.answer(1, path, alone, single, level=4.0)
    assert told.restorations.frames_restored == 2
    assert told.restorations.made_by == kept
    assert told.restorations.snapshot().look == single
    told.restorations.look_at(AS_KEPT)
    told.answer(1, path, alone, single, level=5.0)  # was on its way
    told.answer(1, path, kept, AS_KEPT, level=6.0)
    assert shown == [(1.0, False), (2.0, False), (4.0, False), (6.0, False)]


def test_a_frame_that_looks_again_is_handed_in_with_the_one_before_and_says_so(clock, path):
    handed = Handed()
    run = sink(handed)
    points = second_pass(np.ones((128, 128)), path.positions, 200)
    again = expand(msgspec.structs.replace(path.recipe, pattern=Adaptive(points=200).at(points, (128, 128))))
    scan(run, path, 0, clock)
    scan(run, again, 1, clock)
    scan(run, path, 2, clock)
    whole = [(frame, count) for frame, count, complete in handed.frames if complete]
    assert whole == [(0, path.count), (1, path.count + 200), (2, path.count)]
    assert [stream for stream, _, _ in handed.values if stream.endswith(".pairs")] == ["s.0.pairs"]
    assert run.channel_of("s.0.pairs") == run.channel_of("s.0")
    result = RestoredFrame(
        stream="s.0.pairs",
        frame=1,
        path_id="",
        complete=True,
        estimate=np.zeros((128, 128), np.float32),
        interval=None,
        made_by=Provenance(method="lite", face="faithful"),
        compute_ms=1.0,
        turnaround_ms=2.0,
        waited_ms=0.0,
    )
    assert (run.told(result).made_by.frames, run.told(result).made_by.age_frames) == (2, 1)
    assert run.is_newest(1, "s.0.pairs")
    assert not run.is_newest(0, "s.0"), "the survey does not come back over the picture of both"


def test_a_second_look_that_was_cut_off_is_restored_alone(clock, path):
    handed = Handed()
    run = sink(handed)
    points = second_pass(np.ones((128, 128)), path.positions, 200)
    again = expand(msgspec.structs.replace(path.recipe, pattern=Adaptive(points=200).at(points, (128, 128))))
    scan(run, path, 0, clock)
    scan(run, again, 1, clock, until=128)
    run.frame_ended(FrameEnd(1, 1, again, "aborted", 128, False, 0, 0))
    assert handed.frames[-1] == (1, 128, True)
    assert handed.values[-1][0] == "s.0"
