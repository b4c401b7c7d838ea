"""Strain of a recorded crystal comes out as files: right to a fraction of a pixel, with deviation and reference."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from crystals import square_lattice
from PIL import Image
from recording_tools import new_recording

from restore.gridding import FrameGeometry
from restore.strain import main as strain
from scancontrol.cli import main
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand

pytestmark = pytest.mark.slow

SHAPE = (256, 256)


def _stretched(points: np.ndarray) -> np.ndarray:
    """By a bump of 2 % along x in the middle of the frame."""
    return np.stack([np.zeros(len(points)), np.tanh((points[:, 1] - 128) / 50)], 1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame of a stretched crystal, 60 electrons a sample on a twentieth of the pixels, and one of nothing."""
    path = expand(
        PathRecipe(
            pattern=JitteredGrid(coverage=CoverageGoal(value=0.05), seed=1), shape=SHAPE, fov_nm=12.8, dwell_us=2.0
        )
    )
    file = tmp_path_factory.mktemp("strained") / "a.hspy"
    crystal = square_lattice(10, SHAPE, bent=_stretched).read(FrameGeometry.from_path(path), electrons=60).numpy()
    nothing = np.random.default_rng(1).poisson(20, path.count) / 60
    with new_recording(file, [path] * 2) as recording:
        for frame, values in enumerate((crystal, nothing)):
            recording.begin_frame(frame, path)
            counts = np.tile(np.rint(60 * values), (2, 1)).astype("<u2")
            recording.write_chunk(frame, 0, counts, 0, 1_700_000_000_000_000_000, 0.0)
            recording.end_frame(frame, "completed", exposed=path.count)
    return file


def test_export_writes_displacement_strain_and_their_deviations(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(recorded), "--strain", "--h5", "--out", str(tmp_path)]) == 0
    assert "strain of 1 of 2 frames" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["frame_000000_strain.h5"]
    with h5py.File(tmp_path / "frame_000000_strain.h5", "r") as file:
        x = np.arange(SHAPE[1]) - 128
        true = np.tanh(x / 50) - np.polyval(np.polyfit(x, np.tanh(x / 50), 1), x)
        off = file["displacement_x_px"][:] - true
        off -= off.mean()
        slopes = np.polynomial.polynomial.polyfit(x, off.mean(0), 1)
        off -= slopes[1] * x
        assert np.sqrt(np.mean(off**2)) < 0.1
        assert np.sqrt(np.mean(file["displacement_y_px"][:] ** 2)) < 0.1
        strained = file["exx"][16:-16, 16:-16] - np.gradient(true)[16:-16] - slopes[1]
        assert np.sqrt(np.mean(strained**2)) < 0.003
        for name in ("displacement_y_px", "displacement_x_px", "exx", "eyy", "exy", "rotation_rad"):
            assert file[f"{name}_sd"].shape == SHAPE
            assert file[f"{name}_sd"][:].min() > 0
        assert float((file["contradicted"][:] > 0.1).mean()) < 0.05
        assert file.attrs["reference_region_px"].tolist() == [0, 0, *SHAPE]
        assert file.attrs["pixel_nm"] == pytest.approx(0.05)
        assert np.linalg.norm(file.attrs["lattice_vectors_px"], axis=1) == pytest.approx([10, 10], abs=0.2)


def test_pictures_are_relative_to_the_region_that_was_chosen_and_say_so(recorded: Path, tmp_path: Path) -> None:
    assert strain([str(recorded), "--out", str(tmp_path), "--frames", "0", "--region", "100,20,60,40"]) == 0
    assert len(list(tmp_path.iterdir())) == 13
    with Image.open(tmp_path / "frame_000000_exx.tif") as picture:
        assert "reference: rows 100 to 160, columns 20 to 60" in picture.tag_v2[270]
        exx = np.asarray(picture)
    assert abs(exx[100:160, 20:60].mean()) < 5e-4
    assert exx[100:160, 110:146].mean() > 0.01  # the bump is stretched, the reference hardly


def test_a_region_outside_of_the_frame_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(recorded), "--out", str(tmp_path), "--frames", "0", "--region"]
    assert strain([*asked, "250,0,20,20"]) == 2
    assert strain([*asked, "1,2,3"]) == 2
    assert "TOP,LEFT,ROWS,COLS" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("asked", [["--strain", "--png"], ["--strain", "--csv"], ["--region", "0,0,9,9", "--tiff"]])
def test_what_holds_no_strain_is_refused(recorded: Path, tmp_path: Path, asked: list[str]) -> None:
    assert main(["export", str(recorded), *asked, "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
