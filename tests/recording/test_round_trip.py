"""What is written comes back, in our reader and in HyperSpy's."""

from __future__ import annotations

from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_tools import MICROSCOPE, SHAPE, header_for, new_recording, samples_of, serpentine, spiral, write_frame

from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.paths import achieved_positions, expand
from scancontrol.recording import About, Capacity, Recording, tree
from scancontrol.recording import layout as layout_module
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.compact import copy_recording
from scancontrol.restoration import Provenance

HARMONIC = Provenance(method="harmonic", face="classical")


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    return generator.normal(size=SHAPE).astype("f4"), generator.random(size=SHAPE).astype("f4")


def test_samples_positions_and_pictures_come_back_as_they_went_in(tmp_path: Path, images: tuple) -> None:
    first, second = spiral(), serpentine()
    made_by = Provenance(
        method="harmonic",
        face="classical",
        weights_hash="ab" * 16,
        withheld_rmse=0.25,
        expected_rmse=0.1,
        samples_used=99,
    )
    with new_recording(tmp_path / "a.hspy", [first, second, first]) as recording:
        for frame, path in enumerate((first, second, first)):
            write_frame(recording, frame, path)
            assert recording.end_frame(frame, "completed", exposed=path.count, electrons=12.5)
        achieved = achieved_positions(first, MICROSCOPE.coil)
        recording.write_positions(first.path_id, first.positions, achieved, first.dwell_us)
        recording.write_positions(second.path_id, second.positions, None, second.dwell_us)
        recording.write_partial(1, images[0])
        recording.write_restoration(2, images[0], images[1], made_by, utc_ns=7)
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.closed
        assert read.reason == "completed"
        assert read.plan_text == "name: test scan\n"
        assert read.capabilities == MICROSCOPE
        assert [f.complete for f in read.frames] == [True, True, True]
        assert len(read.paths) == 2, "a repeated path is stored once"
        for frame, path in enumerate((first, second, first)):
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, path.count))
            np.testing.assert_array_equal(expand(read.recipe(frame)).positions, path.positions)
        nominal, there = read.positions(2) or (None, None)
        np.testing.assert_allclose(nominal, first.positions, atol=1e-7)
        np.testing.assert_allclose(there, achieved, atol=1e-7)
        assert read.positions(1) is not None
        assert read.positions(1)[1] is None
        np.testing.assert_array_equal(read.partial(1), images[0])
        assert read.partial(0) is None
        assert read.restoration(0) is None
        stored = read.restoration(2)
        assert stored is not None
        assert stored.interval is not None
        np.testing.assert_array_equal(stored.estimate, images[0])
        np.testing.assert_array_equal(stored.interval, images[1])
        assert stored.made_by == made_by
        assert stored.utc_ns == 7
        assert 20 < read.verify() <= len(read.rows("chunks"))


def test_frames_may_begin_in_any_order_and_each_is_found_in_its_row(tmp_path: Path) -> None:
    path = serpentine()
    with new_recording(tmp_path / "a.hspy", [path] * 4) as recording:
        for frame in (0, 7, 2, 3):
            assert recording.next_index(frame) == 0
            write_frame(recording, frame, path)
            assert recording.next_index(frame) == path.count
            recording.end_frame(frame, "completed", exposed=path.count)
        with pytest.raises(RecordingError, match="frame 1 has not begun"):
            recording.end_frame(1, "completed", exposed=0)
    with Recording.open(tmp_path / "a.hspy") as read:
        assert [frame.frame for frame in read.frames] == [0, 7, 2, 3]
        for frame in (0, 7, 2, 3):
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, path.count))


def test_a_recording_from_before_a_table_was_there_is_read_and_copied(tmp_path: Path, images: tuple) -> None:
    path = serpentine()
    with new_recording(tmp_path / "a.hspy", [path]) as recording:
        write_frame(recording, 0, path)
        made_by = Provenance(
            method="harmonic",
            face="classical",
            weights_hash="ab",
            samples_used=7,
            withheld_rmse=0.25,
            expected_rmse=0.5,
        )
        recording.write_restoration(0, *images, made_by)
        recording.end_frame(0, "completed", exposed=path.count)
    with h5py.File(tmp_path / "a.hspy", "r+") as file:
        for name in (*layout_module.LATER, "restored BF", "partials_written BF", "provenance BF"):
            del file[f"recording/{name}"]
        for name in ("partial frames BF", "restorations BF", "intervals BF"):
            del file[f"Experiments/{name}"]
    with (
        Annotator(tmp_path / "a.hspy") as later,
        pytest.raises(RecordingError, match="frame 0, BF; restore into a copy"),
    ):
        later.write_restoration(0, *images, made_by, channel="BF")
    copy_recording(tmp_path / "a.hspy", tmp_path / "b.hspy")
    for name in ("a.hspy", "b.hspy"):
        with Recording.open(tmp_path / name) as read:
            stored = read.restoration(0)
            assert stored is not None
            assert stored.made_by == msgspec.structs.replace(made_by, expected_rmse=None)
            np.testing.assert_array_equal(stored.estimate, images[0])
            assert read.asked_of(0) == ""
            np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, path.count))


def test_pictures_of_several_detectors_lie_side_by_side_also_in_a_copy(tmp_path: Path, images: tuple) -> None:
    path = spiral()
    with new_recording(tmp_path / "a.hspy", [path] * 3) as recording:
        for frame in range(2):
            write_frame(recording, frame, path)
        recording.write_restoration(0, *images, HARMONIC)
        recording.write_restoration(1, images[0] + 1, None, HARMONIC, channel="BF")
        recording.write_partial(1, images[0], "BF")
        with pytest.raises(InvalidInput, match="channel = SE is not recorded here; choose of HAADF, BF"):
            recording.write_restoration(1, *images, HARMONIC, channel="SE")
    copy_recording(tmp_path / "a.hspy", tmp_path / "b.hspy", restorations="room for all")
    for name in ("a.hspy", "b.hspy"):
        with Recording.open(tmp_path / name) as read:
            assert read.stored("restoration").tolist() == read.stored("restoration", "HAADF").tolist() == [True, False]
            assert read.stored("restoration", "BF").tolist() == read.stored("partial", "BF").tolist() == [False, True]
            assert not read.stored("partial").any()
            np.testing.assert_array_equal(read.restoration(0, "HAADF").estimate, images[0])
            np.testing.assert_array_equal(read.restoration(1, "BF").estimate, images[0] + 1)
            np.testing.assert_array_equal(read.partial(1, "BF"), images[0])
        with h5py.File(tmp_path / name) as file:
            metadata = file["Experiments/restorations BF/metadata/Acquisition_instrument/TEM/Detector"]
            assert metadata.attrs["detector_type"] == "BF"


@pytest.mark.slow
def test_hyperspys_own_reader_finds_calibrated_axes_units_and_metadata(tmp_path: Path, images: tuple) -> None:
    hspy = pytest.importorskip("rsciio.hspy")
    path = spiral()
    about = About(
        operator="Erwin Müller",
        project="W tips",
        sample="field ion tip",
        notes="after cleaning,\ntip 3",
        detector_settings={"HAADF": {"inner_mrad": 68.0}},
    )
    facts = {"specimen": "tungsten-3", "stage_nm": (2000.0, -1000.0), "about": about}
    with new_recording(tmp_path / "a.hspy", [path, path], **facts) as recording:
        for frame in range(2):
            write_frame(recording, frame, path)
            recording.end_frame(frame, "completed", exposed=path.count)
            recording.write_partial(frame, images[frame])
            recording.write_restoration(frame, images[1 - frame], images[frame], HARMONIC)
    signals = {s["metadata"]["General"]["title"]: s for s in hspy.file_reader(tmp_path / "a.hspy")}
    pictures = ("partial frames", "restorations", "intervals")
    names = ("raw samples", *pictures, *(f"{name} BF" for name in pictures))
    assert set(signals) == {f"test scan: {name}" for name in names}
    partial, raw = signals["test scan: partial frames"], signals["test scan: raw samples"]
    np.testing.assert_array_equal(partial["data"], np.stack(images))
    np.testing.assert_array_equal(signals["test scan: restorations"]["data"], np.stack(images[::-1]))
    axes = [(a["name"], a["units"], float(a["scale"]), int(a["size"]), a["navigate"]) for a in partial["axes"]]
    assert axes == [("frame", "", 1, 2, True), ("y", "nm", 0.5, 24, False), ("x", "nm", 0.5, 32, False)]
    time_axis = raw["axes"][1]
    assert (time_axis["name"], time_axis["units"], float(time_axis["scale"])) == ("dwell time", "µs", 2.0)
    np.testing.assert_array_equal(raw["data"][:, path.count :], samples_of(1, 0, path.count))
    column = partial["metadata"]["Acquisition_instrument"]["TEM"]
    assert (column["beam_energy"], column["beam_current"], column["dwell_time"]) == (200.0, 0.02, 2e-6)
    assert (column["microscope"], column["acquisition_mode"]) == ("bench STEM", "STEM")
    assert column["Detector"]["detector_type"] == "HAADF", "of a picture, the detector that it is of"
    samples = raw["metadata"]["Acquisition_instrument"]["TEM"]
    assert samples["Detector"]["detector_type"] == "HAADF, BF"
    assert column["Detector"]["HAADF"]["inner_mrad"] == 68.0
    assert column["Detector"]["HAADF"]["counts_per_electron"] == 1.0
    assert (column["Stage"]["y"], column["Stage"]["x"]) == (2e-3, -1e-3)
    general = partial["metadata"]["General"]
    assert (general["authors"], general["project"]) == ("Erwin Müller", "W tips")
    assert general["notes"] == "after cleaning, tip 3"
    assert partial["metadata"]["Sample"] == {"name": "tungsten-3", "description": "field ion tip"}
    assert partial["metadata"]["Signal"]["signal_origin"] == "simulation"
    assert partial["metadata"]["General"]["date"] == "2023-11-14"


@pytest.mark.slow
def test_hyperspys_reader_loads_the_file_lazily(tmp_path: Path) -> None:
    hspy = pytest.importorskip("rsciio.hspy")
    path = spiral()
    with new_recording(tmp_path / "a.hspy", [path]) as recording:
        write_frame(recording, 0, path)
    signals = hspy.file_reader(tmp_path / "a.hspy", lazy=True)
    raw = next(s for s in signals if "raw" in s["metadata"]["General"]["title"])
    np.testing.assert_array_equal(raw["data"].compute(scheduler="synchronous"), samples_of(0, 0, path.count))
    from rsciio.hspy._api import _close_tracked_handles

    _close_tracked_handles(tmp_path / "a.hspy")


def test_samples_that_cross_the_storage_blocks_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "SAMPLES_PER_BLOCK", 101)
    path = serpentine()
    with new_recording(tmp_path / "a.hspy", [path, path]) as recording:
        for frame in range(2):
            write_frame(recording, frame, path, step=333)
    with Recording.open(tmp_path / "a.hspy") as read, h5py.File(tmp_path / "a.hspy") as plain:
        for frame in range(2):
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, path.count))
            np.testing.assert_array_equal(read.samples(frame, 90, 250), samples_of(frame, 90, 250))
        data = plain["Experiments/raw samples/data"]
        assert data.chunks == (1, 101)
        np.testing.assert_array_equal(data[:, : path.count], samples_of(0, 0, path.count))


def test_a_file_is_whole_for_h5py_before_its_first_sample(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [spiral()])
    with h5py.File(tmp_path / "a.hspy") as plain:
        assert plain["Experiments/raw samples/data"].shape == (2, spiral().count)
        assert bytes(plain["recording/plan"][()]) == b"name: test scan\n"
    with Recording.open(tmp_path / "a.hspy") as read:
        assert not read.closed
        assert read.reason == "recording"
        assert read.frames == ()
    recording.abandon()


def test_an_aborted_scan_is_given_back_the_room_it_did_not_use(tmp_path: Path, images: tuple) -> None:
    path = serpentine()
    recording = new_recording(tmp_path / "a.hspy", [path] * 200)
    write_frame(recording, 0, path)
    recording.end_frame(0, "completed", exposed=path.count)
    write_frame(recording, 1, path, upto=100)
    assert recording.end_frame(1, "aborted", exposed=100)
    recording.write_partial(0, images[0])
    recording.write_positions(path.path_id, path.positions, path.positions, path.dwell_us)
    before = (tmp_path / "a.hspy").stat().st_size
    recording.close("aborted")
    after = (tmp_path / "a.hspy").stat().st_size
    assert after < before / 20
    assert [p.name for p in tmp_path.iterdir()] == ["a.hspy"]
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.closed
        assert read.reason == "aborted"
        assert [(f.received, f.count, f.exposed, f.reason) for f in read.frames] == [
            (path.count, path.count, path.count, "completed"),
            (100, path.count, 100, "aborted"),
        ]
        np.testing.assert_array_equal(read.samples(1), samples_of(1, 0, 100))
        np.testing.assert_array_equal(read.partial(0), images[0])
        assert read.positions(0) is not None
        assert read.verify() > 0


def test_restorations_can_be_kept_of_every_third_frame_of_the_last_or_of_none(tmp_path: Path, images: tuple) -> None:
    path = spiral()
    for every, kept in ((3, [0, 3]), (0, []), ("last", [0, 1, 2, 3, 4])):
        with new_recording(tmp_path / f"{every}.hspy", [path] * 5, keep_restorations=every) as recording:
            for frame in range(5):
                recording.begin_frame(frame, path)
                stored = recording.write_restoration(frame, images[0] + frame, None, HARMONIC)
                assert stored == recording.wants_restoration(frame) == (frame in kept)
        with Recording.open(tmp_path / f"{every}.hspy") as read:
            for frame in range(5):
                restoration = read.restoration(frame)
                assert (restoration is not None) == (frame in (kept[-1:] if every == "last" else kept))
                if restoration is not None:
                    np.testing.assert_array_equal(restoration.estimate, images[0] + frame)
                    assert restoration.interval is None
                    assert restoration.made_by == HARMONIC


def test_a_resumed_recording_goes_on_from_the_next_unexposed_sample(tmp_path: Path) -> None:
    path = serpentine()
    dying = new_recording(tmp_path / "a.hspy", [path, path])
    write_frame(dying, 0, path, upto=200)
    dying.abandon()
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.next_unexposed(0) == 200
        assert read.next_unexposed(1) == 0
    recording = Recording.resume(tmp_path / "a.hspy")
    recording.begin_frame(0, path)
    assert recording.write_chunk(0, 150, samples_of(0, 150, 300), 1, 2, 3.0) == 450
    assert recording.counts["duplicate_samples"] == 50
    recording.write_chunk(0, 450, samples_of(0, 450, path.count - 450), 1, 2, 3.0)
    recording.end_frame(0, "completed", exposed=path.count)
    write_frame(recording, 1, path)
    recording.close()
    with Recording.open(tmp_path / "a.hspy") as read:
        for frame in range(2):
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, path.count))
        assert read.verify() > 2
    with pytest.raises(RecordingError, match="ended cleanly"):
        Recording.resume(tmp_path / "a.hspy")


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 229), st.integers(0, 120)), max_size=60),
    rows=st.integers(3, 20),
    crash_after=st.integers(0, 60),
)
def test_any_order_of_late_repeated_and_overlapping_chunks_gives_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int, int]], rows: int, crash_after: int
) -> None:
    path = spiral()
    place = tmp_path_factory.mktemp("orders") / "a.hspy"
    room = msgspec.structs.replace(Capacity.of([path] * 3), chunks=rows)
    recording = new_recording(place, [path] * 3, capacity=room)
    wanted = {0: 0, 1: 0, 2: 0}
    for frame in wanted:
        recording.begin_frame(frame, path)
    for step, (frame, first, count) in enumerate(pieces):
        count = min(count, path.count - first)
        if step == crash_after:
            recording.abandon()
            recording = Recording.resume(place)
        answer = recording.write_chunk(frame, first, samples_of(frame, first, count), step, step, float(step))
        if first <= wanted[frame]:
            wanted[frame] = max(wanted[frame], first + count)
        assert answer == wanted[frame] == recording.next_index(frame)
    recording.close()
    with Recording.open(place) as read:
        for frame, received in wanted.items():
            assert read.frame(frame).received == received
            np.testing.assert_array_equal(read.samples(frame), samples_of(frame, 0, received))
        assert len(read.rows("chunks")) <= rows
        read.verify()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r, p: r.write_chunk(7, 0, samples_of(7, 0, 5), 0, 0, 0.0), "frame 7 has not begun"),
        (lambda r, p: r.write_chunk(0, p.count - 2, samples_of(0, 0, 5), 0, 0, 0.0), "of frame 0, whose path has"),
        (lambda r, p: r.write_chunk(0, 0, samples_of(0, 0, 5, 1), 0, 0, 0.0), r"recording holds \(2, n\) <u2"),
        (lambda r, p: r.write_chunk(0, 0, samples_of(0, 0, 5).astype("<f4"), 0, 0, 0.0), "<f4; the recording holds"),
        (lambda r, p: r.begin_frame(0, serpentine()), "began along path"),
        (lambda r, p: r.begin_frame(1, p), "made for 1 frames"),
        (lambda r, p: r.write_partial(0, np.zeros((3, 3))), r"\(3, 3\) px; the recording holds \(24, 32\) px"),
    ],
)
def test_what_does_not_belong_is_refused_and_changes_nothing(tmp_path: Path, call: object, words: str) -> None:
    path = spiral()
    recording = new_recording(tmp_path / "a.hspy", [path])
    recording.begin_frame(0, path)
    before = (tmp_path / "a.hspy").read_bytes()
    with pytest.raises(RecordingError, match=words):
        call(recording, path)  # type: ignore[operator]
    assert (tmp_path / "a.hspy").read_bytes() == before
    recording.abandon()


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    path = spiral()
    recording = new_recording(tmp_path / "a.hspy", [path])
    write_frame(recording, 0, path)
    recording.close()
    with pytest.raises(RecordingError, match="is closed"):
        recording.write_chunk(0, 0, samples_of(0, 0, 5), 0, 0, 0.0) and recording.end_frame(0, "x", exposed=0)
    assert not recording.write_partial(0, np.zeros(SHAPE))
    recording.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    recording = new_recording(tmp_path / "a.hspy", [spiral()])
    with pytest.raises(RecordingError, match="being written by another process"):
        Recording.resume(tmp_path / "a.hspy")
    recording.abandon()


def test_a_recording_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a.hspy").write_text("precious")
    with pytest.raises(RecordingError, match="never overwrites"):
        new_recording(tmp_path / "a.hspy", [spiral()])
    assert (tmp_path / "a.hspy").read_text() == "precious"


def test_a_header_states_its_capacity_from_the_paths() -> None:
    path = spiral()
    capacity = header_for([path, path, serpentine()]).capacity
    assert (capacity.frames, capacity.paths) == (3, 2)
    assert capacity.samples == 2 * path.count + SHAPE[0] * SHAPE[1]
    assert capacity.path_samples == path.count + SHAPE[0] * SHAPE[1]
