"""A frame as arrays, and as files that other programs read: nothing is lost and nothing is turned."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from recording_tools import SHAPE, flip, new_recording, samples_of, spiral, write_frame

from scancontrol.errors import InvalidInput
from scancontrol.figures.recording import partial_of
from scancontrol.paths import Region, expand, partial_frame
from scancontrol.recording import About, Recording
from scancontrol.recording.array_files import write_arrays
from scancontrol.recording.arrays import FrameArrays, frame_arrays
from scancontrol.restoration import Provenance

ESTIMATE = np.linspace(-5, 900, SHAPE[0] * SHAPE[1], dtype="f4").reshape(SHAPE)
MADE_BY = Provenance(method="harmonic", face="classical", withheld_rmse=3.0, notices=("one outlier",))
PIXEL_NM = 0.5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = spiral()
    with new_recording(tmp_path / "a.hspy", [path] * 2, about=About(operator="E. Ruska")) as recording:
        for frame in range(2):
            write_frame(recording, frame, path)
            recording.end_frame(frame, "completed", exposed=path.count)
        recording.write_restoration(1, ESTIMATE, ESTIMATE**2, MADE_BY)
    return tmp_path / "a.hspy"


def test_a_path_that_followed_the_specimen_is_read_as_it_was_scanned_and_its_picture_is_the_specimens(
    tmp_path: Path,
) -> None:
    middle = msgspec.structs.replace(spiral().recipe, region=Region(y=0.2, x=0.2, height=0.6, width=0.6))
    straight, path = expand(middle), expand(msgspec.structs.replace(middle, bend_px=(4.0, -3.0)))
    with new_recording(tmp_path / "b.hspy", [path]) as recording:
        write_frame(recording, 0, path)
        recording.end_frame(0, "completed", exposed=path.count)
        recording.write_positions(path.path_id, path.positions, None, path.dwell_us)
    with Recording.open(tmp_path / "b.hspy") as recording:
        assert recording.recipe(0) == path.recipe
        assert expand(recording.recipe(0)).path_id == path.path_id
        np.testing.assert_array_equal(expand(recording.recipe(0)).positions, path.positions)
        stored = recording.positions(0)
        assert stored is not None
        np.testing.assert_allclose(stored[0], path.positions, atol=1e-7)
        found = frame_arrays(recording, 0)
        np.testing.assert_array_equal(partial_of(recording, 0)[0], found.partial)
    np.testing.assert_allclose(found.positions, straight.positions, atol=2.0**-16)
    values = samples_of(0, 0, path.count)[0]
    np.testing.assert_array_equal(found.partial, partial_frame(path, values)[0])
    assert not np.array_equal(found.partial, partial_frame(path.positions, values, SHAPE, dwell_us=path.dwell_us)[0])


def _arrays(file: Path, frame: int = 1) -> FrameArrays:
    with Recording.open(file) as recording:
        return frame_arrays(recording, frame)


def test_one_call_gives_everything_that_is_known_of_a_frame(file: Path) -> None:
    found, path = _arrays(file), spiral()
    np.testing.assert_array_equal(found.samples, samples_of(1, 0, path.count))
    np.testing.assert_array_equal(found.positions, path.positions)
    np.testing.assert_array_equal(found.dwell_us, path.dwell_us)
    np.testing.assert_array_equal(found.estimate, ESTIMATE)
    np.testing.assert_array_equal(found.interval, ESTIMATE**2)
    assert found.dwell_map_us.sum() == pytest.approx(path.dwell_us.sum())
    assert (found.channels, found.pixel_nm, found.made_by) == (("HAADF", "BF"), PIXEL_NM, MADE_BY)
    assert _arrays(file, 0).estimate is None


def test_samples_that_the_disk_damaged_are_in_no_picture_and_in_no_table(file: Path, tmp_path: Path) -> None:
    flip(file, 1, 40)
    found = _arrays(file)
    assert 0 < (~found.sound).sum() < len(found.sound)
    assert found.dwell_map_us.sum() == pytest.approx(found.dwell_us[found.sound].sum())
    write_arrays(found, tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + found.sound.sum()


def test_npz_and_hdf5_hold_every_array_as_it_is(file: Path, tmp_path: Path) -> None:
    found = _arrays(file)
    write_arrays(found, tmp_path / "a.npz")
    write_arrays(found, tmp_path / "a.h5")
    names = ("samples", "sound", "positions", "dwell_us", "partial", "dwell_map_us", "estimate", "interval")
    with np.load(tmp_path / "a.npz") as npz, h5py.File(tmp_path / "a.h5") as hdf5:
        for name in names:
            np.testing.assert_array_equal(npz[name], getattr(found, name))
            np.testing.assert_array_equal(hdf5[name][()], getattr(found, name))
        assert Provenance.from_json(str(npz["made_by"]).encode()) == MADE_BY
        assert (float(npz["pixel_nm"]), float(hdf5.attrs["pixel_nm"])) == (PIXEL_NM, PIXEL_NM)
        for told in (hdf5.attrs["operator"], str(npz["operator"]), found.about["operator"]):
            assert told == "E. Ruska"
        assert hdf5.attrs["microscope"] == str(npz["microscope"]) == "bench STEM, 200 kV, 20 pA"
        assert (hdf5.attrs["method"], hdf5.attrs["withheld_rmse"]) == ("harmonic", 3.0)


def test_csv_has_a_row_for_each_sample_in_nanometres(file: Path, tmp_path: Path) -> None:
    found = _arrays(file)
    write_arrays(found, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    np.testing.assert_allclose(
        [[float(row["y_nm"]), float(row["x_nm"])] for row in rows], found.positions * SHAPE * PIXEL_NM, rtol=1e-14
    )
    assert [int(row["BF"]) for row in rows] == found.samples[1].tolist()


def test_a_file_without_a_known_ending_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"end it in \.csv, \.npz, \.h5"):
        write_arrays(_arrays(file), tmp_path / "a.mat")


@pytest.mark.slow
def test_xarray_has_the_images_over_nanometres(file: Path) -> None:
    pytest.importorskip("xarray")
    found = _arrays(file).to_xarray()
    np.testing.assert_array_equal(found["estimate"], ESTIMATE)
    assert found["estimate"].sel(y=2.0, x=7.5).item() == ESTIMATE[4, 15]
    assert found.x.attrs["units"] == "nm"


@pytest.mark.parametrize("package", ["xarray", "hyperspy"])
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(
    file: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=f"pip install {package}"):
        getattr(_arrays(file), f"to_{package}")()
