"""What is done to a recording: killed writers, full disks, truncated and foreign files."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recording_tools import SHAPE, new_recording, samples_of, serpentine, spiral, write_frame

from scancontrol.errors import RecordingError
from scancontrol.recording import Capacity, Recording
from scancontrol.recording.compact import compact
from scancontrol.restoration import Provenance

KIT = Path(__file__).parents[1] / "kit"


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_writer_killed_mid_frame_loses_no_chunk_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    hspy = pytest.importorskip("rsciio.hspy")
    place = tmp_path / "killed.hspy"
    stop_after = random.Random(seed).randrange(100, 2500)
    victim = subprocess.Popen(
        [sys.executable, str(KIT / "recording_victim.py"), str(place)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=KIT.parents[1],
        env={**os.environ, "PYTHONPATH": f"{KIT}:."},
    )
    assert victim.stdout is not None
    with victim.stdout:
        heard = [victim.stdout.readline() for _ in range(stop_after)]
        victim.send_signal(signal.SIGKILL)
        heard += victim.stdout.readlines()
    assert victim.wait() == -signal.SIGKILL
    acknowledged: dict[int, int] = {}
    for line in heard:
        if line.endswith("\n"):
            frame, following = map(int, line.split())
            acknowledged[frame] = following
    count = serpentine().count
    signals = {s["metadata"]["General"]["title"].split(": ")[1]: s["data"] for s in hspy.file_reader(place)}
    with Recording.open(place) as read, h5py.File(place) as plain:
        assert not read.closed
        assert read.verify() > 0
        for frame, following in acknowledged.items():
            wanted = samples_of(frame, 0, following)
            assert read.frame(frame).received >= following
            np.testing.assert_array_equal(read.samples(frame, 0, following), wanted)
            span = slice(frame * count, frame * count + following)
            np.testing.assert_array_equal(plain["Experiments/raw samples/data"][:, span], wanted)
            np.testing.assert_array_equal(signals["raw samples"][:, span], wanted)
    recording = Recording.resume(place)
    last = max(acknowledged)
    assert recording.next_index(last) >= acknowledged[last]
    write_from = recording.next_index(last)
    recording.write_chunk(last, write_from, samples_of(last, write_from, count - write_from), 0, 0, 1.0)
    recording.close()
    with Recording.open(place) as read:
        np.testing.assert_array_equal(read.samples(last), samples_of(last, 0, count))


def test_a_disk_too_small_for_the_plan_is_refused_before_an_electron_is_spent(
    tmp_path: Path, file_size_limit: None
) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    with pytest.raises(RecordingError, match=r"(making|reserving) .*a.hspy .*(File too large|HDF5 could not write it)"):
        new_recording(tmp_path / "a.hspy", [serpentine()] * 200)
    assert not any(tmp_path.iterdir())


def test_a_plan_larger_than_the_disk_says_how_much_is_needed_and_free(tmp_path: Path) -> None:
    room = msgspec.structs.replace(Capacity.of([serpentine()]), samples=1 << 43)
    with pytest.raises(
        RecordingError,
        match=r"raw samples = 35184372.* MB do not fit .* MB are free: room for about 0 of 1 frames; free some",
    ):
        new_recording(tmp_path / "a.hspy", [serpentine()], capacity=room)
    assert not any(tmp_path.iterdir())


def test_a_disk_that_runs_full_while_reserving_is_refused_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RecordingError, match=r"reserving \d+\.\d MB for .*No space left.*free some"):
        new_recording(tmp_path / "a.hspy", [serpentine()])
    assert not any(tmp_path.iterdir())


def test_pictures_that_find_no_room_are_counted_and_the_samples_go_on(
    tmp_path: Path, file_size_limit: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The file may not grow past its end here, so the sparse pictures fail and the reserved samples do not."""
    path = serpentine()
    recording = new_recording(tmp_path / "a.hspy", [path])
    at_picture = int(recording._file.regions["partial frames"].offsets[0, 0])
    samples_end = recording._file.regions["raw samples"].end
    assert samples_end <= at_picture, "the reserved part lies first in the file"
    resource.setrlimit(resource.RLIMIT_FSIZE, (samples_end, resource.RLIM_INFINITY))
    recording.begin_frame(0, path)
    assert not recording.write_partial(0, np.ones(SHAPE))
    assert not recording.write_restoration(0, np.ones(SHAPE), None, Provenance(method="m", face="classical"))
    write_frame(recording, 0, path)
    assert recording.end_frame(0, "completed", exposed=path.count)
    recording.close()
    assert caplog.text.count("raw samples go on") == 1
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.images_not_stored == 2
        assert read.partial(0) is None
        assert read.restoration(0) is None
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, path.count))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_is_an_error_and_nothing_more_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = serpentine()
    recording = new_recording(tmp_path / "a.hspy", [path])
    write_frame(recording, 0, path, upto=74)
    real, calls = os.pwrite, iter(range(10))

    def failing(descriptor: int, data: bytes, address: int) -> int:
        if next(calls) == 2:
            raise OSError(code, os.strerror(code))
        return real(descriptor, data, address)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(RecordingError, match=f"writing .*a.hspy failed: {os.strerror(code)}; "):
            recording.write_chunk(0, 74, samples_of(0, 74, 50), 0, 0, 0.0)
    assert recording.next_index(0) == 74
    assert recording.write_chunk(0, 74, samples_of(0, 74, 50), 0, 0, 0.0) == 124, "and a mended disk goes on"
    recording.close()
    with Recording.open(tmp_path / "a.hspy") as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, 124))
        read.verify()


def test_a_folder_that_is_missing_or_not_writable_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"making .*nowhere/a\.hspy failed: No such file .*make the folder first"):
        new_recording(tmp_path / "nowhere" / "a.hspy", [spiral()])
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="failed: Not a directory"):
        new_recording(tmp_path / "file" / "a.hspy", [spiral()])


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("good") / "a.hspy"
    path = spiral()
    with new_recording(place, [path]) as recording:
        write_frame(recording, 0, path)
        recording.write_positions(path.path_id, path.positions, path.positions, path.dwell_us)
        recording.write_partial(0, np.ones(SHAPE))
    return place.read_bytes()


@pytest.mark.parametrize("keep", [0, 1, 7, 100, 1000, 5000, 20000, -1])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, good_bytes: bytes, keep: int) -> None:
    (tmp_path / "short.hspy").write_bytes(good_bytes[:keep])
    with pytest.raises(RecordingError, match=r"short\.hspy"):
        Recording.open(tmp_path / "short.hspy")


def test_samples_that_rot_on_the_disk_are_found_by_their_checksum(tmp_path: Path, good_bytes: bytes) -> None:
    place = tmp_path / "rotten.hspy"
    place.write_bytes(good_bytes)
    with Recording.open(place) as read:
        address = int(read.regions()["raw samples"].offsets[1, 0]) + 2 * 40
        read.verify()
    spoiled = bytearray(good_bytes)
    spoiled[address] ^= 1
    place.write_bytes(spoiled)
    with (
        Recording.open(place) as read,
        pytest.raises(RecordingError, match=r"samples 37 to 74 of frame 0 \(chunk 1\) differ"),
    ):
        read.verify()


@pytest.fixture(scope="module")
def good_copy(tmp_path_factory: pytest.TempPathFactory, good_bytes: bytes) -> Path:
    """``good_bytes`` by their name: where an example fails, its arguments are printed."""
    place = tmp_path_factory.mktemp("good") / "copy.hspy"
    place.write_bytes(good_bytes)
    return place


def test_a_recipe_that_is_no_text_any_more_is_refused_by_name(tmp_path: Path, good_bytes: bytes) -> None:
    at = good_bytes.index(b'"shape"') + 2
    place = tmp_path / "damaged.hspy"
    place.write_bytes(good_bytes[:at] + b"\x80" + good_bytes[at + 1 :])
    with Recording.open(place) as read, pytest.raises(RecordingError, match=r"damaged.hspy: the recipe of frame 0"):
        read.recipe(read.frames[0].frame)


@settings(max_examples=40, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
@example(changes=[(0.421875, 128)])
def test_random_damage_is_read_or_refused_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, good_copy: Path, changes: list[tuple[float, int]]
) -> None:
    spoiled = bytearray(good_copy.read_bytes())
    tables = 30_000  # the tree and the tables lie in front; damage there is what a reader can stumble over
    for where, value in changes:
        spoiled[int(where * min(tables, len(spoiled)))] = value
    place = tmp_path_factory.getbasetemp() / "damaged.hspy"
    place.write_bytes(spoiled)
    try:
        with Recording.open(place) as read:
            for frame in read.frames:
                read.samples(frame.frame)
                read.positions(frame.frame)
                read.partial(frame.frame)
                read.restoration(frame.frame)
                read.recipe(frame.frame)
            read.verify()
    except RecordingError as error:
        assert "damaged.hspy" in str(error)  # noqa: PT017 - damage may also be harmless


def test_a_foreign_hdf5_file_a_text_and_a_missing_file_are_refused_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = np.zeros(3)
    (tmp_path / "text.hspy").write_text("not HDF5 at all")
    for name, words in (
        ("foreign.h5", "is not a scancontrol recording"),
        ("text.hspy", "not a readable recording"),
        ("nowhere.hspy", "does not exist"),
    ):
        with pytest.raises(RecordingError, match=rf"{name}.*{words}"):
            Recording.open(tmp_path / name)


def _replace_data(place: Path, name: str, make: object) -> None:
    with h5py.File(place, "r+") as file:
        del file[name]
        make(file, name)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f, n: f.__setitem__(n, h5py.ExternalLink("/etc/passwd", "/x")), "is missing"),
        (lambda f, n: f.__setitem__(n, h5py.SoftLink("/recording/header")), "is missing"),
        (lambda f, n: f.create_dataset(n, shape=(2, 1 << 40), dtype="<u2", chunks=(1, 1 << 20)), "its header says"),
        (lambda f, n: f.create_group(n), "is not a data set"),
        (
            lambda f, n: f.create_dataset(n, shape=(2, spiral().count), dtype="<u2", chunks=True, compression="gzip"),
            "not stored plainly",
        ),
        (
            lambda f, n: f.create_dataset(n, shape=(2, spiral().count), dtype="<u2", external=[("/x", 0, 9999)]),
            "not stored plainly",
        ),
    ],
)
def test_samples_that_lie_elsewhere_or_nowhere_are_refused(
    tmp_path: Path, good_bytes: bytes, make: object, words: str
) -> None:
    place = tmp_path / "trick.hspy"
    place.write_bytes(good_bytes)
    _replace_data(place, "Experiments/raw samples/data", make)
    with pytest.raises(RecordingError, match=words):
        Recording.open(place)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("fov_nm: 16.0", "fov_nm: -1.0", "fov_nm = -1"),
        ("fov_nm: 16.0", "fov_nm: .nan", "fov_nm = nan"),
        ("- 24\n", "- 99999\n", "rows = 99999"),
        ("- 24\n", "- 0\n", "rows = 0"),
        ("frames: 1\n", "frames: 2\n", "its header says"),
        ("frames: 1\n", "wheels: 1\n", "header is damaged"),
    ],
)
def test_a_header_that_states_nonsense_is_refused(
    tmp_path: Path, good_bytes: bytes, old: str, new: str, words: str
) -> None:
    place = tmp_path / "nonsense.hspy"
    place.write_bytes(good_bytes)
    with h5py.File(place, "r+") as file:
        text = bytes(file["recording/header"][()]).decode()
        assert old in text
        del file["recording/header"]
        file["recording/header"] = np.frombuffer(text.replace(old, new, 1).encode(), dtype="u1")
    with pytest.raises(RecordingError, match=words):
        Recording.open(place)


UNSHARE = shutil.which("unshare") or ""


def _own_mounts() -> bool:
    return bool(UNSHARE) and subprocess.run([UNSHARE, "-rm", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _own_mounts(), reason="this machine lets nobody mount a small disk of their own")
def test_on_a_disk_that_is_really_full_the_samples_are_kept_and_the_pictures_are_not(tmp_path: Path) -> None:
    script = """
from recording_tools import *
path = serpentine()
folder = Path(sys.argv[1])
try:
    new_recording(folder / "large.hspy", [path] * 20000)
except Exception as error:
    said = f"{type(error).__name__}: {error}"
assert not list(folder.iterdir())
recording = new_recording(folder / "a.hspy", [path] * 400)
for frame in range(400):
    write_frame(recording, frame, path, step=768)
    recording.write_partial(frame, np.ones(SHAPE))
    assert recording.end_frame(frame, "completed", exposed=path.count)
recording.close()
with Recording.open(folder / "a.hspy") as read:
    assert all((read.samples(f) == samples_of(f, 0, path.count)).all() for f in range(400))
    print(said)
    print(read.verify(), read.images_not_stored, int(read.stored("partial").sum()))
"""
    start = "import sys\nfrom scancontrol.recording import Recording\n"
    done = subprocess.run(
        [
            UNSHARE,
            "-rm",
            "sh",
            "-c",
            'mount -t tmpfs -o size=2m tmpfs "$1" && "$2" -c "$3" "$1"',
            "sh",
            str(tmp_path),
            sys.executable,
            start + script,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=KIT.parents[1],
        env={**os.environ, "PYTHONPATH": f"{KIT}:."},
    )
    assert done.returncode == 0, done.stderr
    said, figures = done.stdout.strip().split("\n")
    assert said.startswith("RecordingError: raw samples = 75.0 MB do not fit on the disk")
    verified, missing, stored = map(int, figures.split())
    assert verified == 400
    assert missing > 0
    assert stored + missing == 400
    assert done.stderr.count("raw samples go on") == 1


def test_a_recording_that_its_compact_copy_replaces_while_it_is_opened_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.hspy"
    paths = [spiral(), serpentine(), serpentine()]
    recording = new_recording(path, paths)
    write_frame(recording, 0, paths[0])
    recording.abandon()  # as a crash leaves it: room for two more frames, nothing copied yet
    open_file, before = h5py.File, path.stat().st_size
    raced: list[int] = []

    def opened_after_the_replacement(*arguments: Any, **options: Any) -> h5py.File:
        if not raced:
            raced.append(before)
            assert compact(path)
        return open_file(*arguments, **options)

    monkeypatch.setattr("scancontrol.recording.head.h5py.File", opened_after_the_replacement)
    with Recording.open(path) as read:
        assert raced
        assert path.stat().st_size < before, "the copy lies elsewhere in its file"
        read.verify()
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, paths[0].count))
