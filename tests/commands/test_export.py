"""Pictures out of a recording: calibrated for measuring, honest for showing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording_tools import SHAPE, new_recording, samples_of, spiral, write_frame

from scancontrol.cli import main
from scancontrol.errors import RecordingError
from scancontrol.paths import partial_frame
from scancontrol.recording import About, Recording
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.compact import copy_recording
from scancontrol.restoration import Provenance

ESTIMATE = np.linspace(-5, 900, SHAPE[0] * SHAPE[1], dtype="f4").reshape(SHAPE)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = spiral()
    about = About(operator="E. Ruska", project="P-7", notes="first light", detector_settings={"HAADF": {"gain": "3"}})
    with new_recording(
        tmp_path / "a.hspy", [path] * 3, specimen="gold", stage_nm=(5e3, -2e3), about=about
    ) as recording:
        for frame in range(3):
            write_frame(recording, frame, path)
            recording.end_frame(frame, "completed", exposed=path.count)
        made_by = Provenance(method="harmonic", face="classical", withheld_rmse=3.0, samples_used=9)
        recording.write_restoration(1, ESTIMATE, ESTIMATE**2, made_by)
    return tmp_path / "a.hspy"


@pytest.mark.slow
def test_tiffs_carry_the_numbers_and_a_pixel_size_that_hyperspy_and_imagej_read(recorded: Path, tmp_path: Path) -> None:
    tiff = pytest.importorskip("rsciio.tiff")
    tifffile = pytest.importorskip("tifffile")
    assert main(["export", str(recorded), "--tiff", "--out", str(tmp_path / "out")]) == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        "frame_000000_partial.tif",
        "frame_000001_interval.tif",
        "frame_000001_partial.tif",
        "frame_000001_restoration.tif",
        "frame_000002_partial.tif",
    ]
    signal = tiff.file_reader(str(tmp_path / "out/frame_000001_restoration.tif"))[0]
    np.testing.assert_array_equal(signal["data"], ESTIMATE)
    for axis in signal["axes"]:
        assert axis["units"] in ("µm", "um", "micron")
        assert axis["scale"] == pytest.approx(0.5e-3, rel=1e-6)
    with tifffile.TiffFile(tmp_path / "out/frame_000001_restoration.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "micron"
        about = {name: file.imagej_metadata[name] for name in ("specimen", "operator", "project", "notes", "detectors")}
        assert about == {
            "specimen": "gold",
            "operator": "E. Ruska",
            "project": "P-7",
            "notes": "first light",
            "detectors": "HAADF gain 3",
        }
        assert "stage=y 5, x -2 um" in file.pages[0].description
        assert "RESTORED, not measured: harmonic (classical) from 9 samples" in file.pages[0].description
    path = spiral()
    mean, _ = partial_frame(path, samples_of(2, 0, path.count)[0])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/frame_000002_partial.tif")), mean)


def test_pngs_of_restorations_are_marked_and_those_of_measurements_are_not(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["export", str(recorded), "--png", "--out", str(out), "--frames", "1"]) == 0
    amber = {}
    for kind in ("partial", "restoration", "interval"):
        picture = Image.open(out / f"frame_000001_{kind}.png").convert("RGB")
        assert min(picture.size) >= 512
        pixels = np.asarray(picture).astype(int)
        top = pixels[: pixels.shape[0] // 8]
        amber[kind] = int(((top[..., 0] > 200) & (abs(top[..., 1] - 196) < 40) & (top[..., 2] < 120)).sum())
    assert amber["restoration"] > 200
    assert amber["interval"] > 200
    assert amber["partial"] == 0


def test_the_scale_bar_is_as_long_as_it_says(recorded: Path, tmp_path: Path) -> None:
    assert main(["export", str(recorded), "--png", "--out", str(tmp_path), "--frames", "0", "--what", "partial"]) == 0
    pixels = np.asarray(Image.open(tmp_path / "frame_000000_partial.png").convert("L")).astype(int)
    rows, cols = pixels.shape
    longest = 0
    for row in pixels[int(0.9 * rows) :, : cols // 2]:
        runs = np.diff(np.flatnonzero(np.concatenate([[True], row < 250, [True]])))
        longest = max(longest, int(runs.max()) - 1)
    assert longest == pytest.approx(2.0 / 16.0 * cols, abs=2), "the field is 16 nm wide; a quarter holds 2 nm"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "7"], "frames = 7 is not in the recording; choose of its frames: 0 to 2"),
        (["--frames", "x"], "is not a list of frames"),
        (["--frames", "0", "--what", "restoration"], "are not in"),
    ],
)
def test_what_cannot_be_exported_is_one_message_and_exit_code_2(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["export", str(recorded), "--png", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_output_that_is_no_folder_and_a_truncated_recording_are_one_message(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["export", str(recorded), "--png", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    recorded.write_bytes(recorded.read_bytes()[:9000])
    for command in (["export", "--png", "--out", str(tmp_path / "o")], ["replay"]):
        assert main([command[0], str(recorded), *command[1:]]) == 2
        assert "a.hspy" in capsys.readouterr().err


def test_restorations_can_be_added_later_in_place_or_in_a_copy_with_room(recorded: Path, tmp_path: Path) -> None:
    with Annotator(recorded) as later:
        assert later.has_place(0)
        later.write_restoration(0, ESTIMATE + 1, None, Provenance(method="kriging", face="classical"))
        with pytest.raises(RecordingError, match="has no place for a restoration of frame 9"):
            later.write_restoration(9, ESTIMATE, None, Provenance(method="kriging", face="classical"))
    with Recording.open(recorded) as read:
        stored = read.restoration(0)
        assert stored is not None
        assert stored.made_by.method == "kriging"
        read.verify()
    path = spiral()
    with new_recording(tmp_path / "none.hspy", [path], keep_restorations=0) as recording:
        write_frame(recording, 0, path)
    with Annotator(tmp_path / "none.hspy") as closed:
        assert not closed.has_place(0)
    copy_recording(tmp_path / "none.hspy", tmp_path / "roomy.hspy", restorations="room for all")
    with Annotator(tmp_path / "roomy.hspy") as later:
        later.write_restoration(0, ESTIMATE, ESTIMATE, Provenance(method="m", face="faithful", weights_hash="ff"))
    with Recording.open(tmp_path / "roomy.hspy") as read:
        np.testing.assert_array_equal(read.samples(0), samples_of(0, 0, path.count))
        np.testing.assert_array_equal(read.restoration(0).estimate, ESTIMATE)
        assert read.verify() > 0


def test_a_restoration_says_how_much_of_it_is_lattice(recorded: Path, tmp_path: Path) -> None:
    restored = tmp_path / "b.hspy"
    copy_recording(recorded, restored, restorations="room for all")
    made_by = Provenance(method="lite", face="faithful", lattice_share=0.62, samples_used=9)
    with Annotator(restored) as target:
        target.write_restoration(2, ESTIMATE, None, made_by, channel="HAADF")
    assert main(["export", str(restored), "--tiff", "--frames", "2", "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out/frame_000002_restoration.tif") as picture:
        assert "with 62 % of a lattice that these samples prove" in picture.tag_v2[270]
