"""Samples of another program in, a recording out, and from there as arrays again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scancontrol.cli import main
from scancontrol.recording import Recording


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    columns = np.column_stack([rng.integers(0, 20, 90), rng.integers(0, 32, 90), rng.integers(0, 999, 90)])
    np.savetxt(tmp_path / "scan.csv", columns, "%d", ",", header="row,col,SE2", comments="")
    return tmp_path / "scan.csv"


def test_a_table_becomes_a_recording_and_says_how_it_was_understood(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(table), "--shape", "20,32", "--fov-nm", "64", "--value", "SE2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "whole pixels of 20 x 32" in said
    assert "the dwell is not known: taken as 1 µs" in said
    with Recording.open(table.with_suffix(".hspy")) as recording:
        assert recording.header.shape == (20, 32)
        assert recording.header.pixel_size_nm == 2.0
        assert recording.samples(0).shape == (1, 90)
        assert recording.electrons == 0
        assert recording.reason == "completed"
    assert main(words) == 2
    assert "never overwrites" in capsys.readouterr().err


def test_an_imported_recording_is_exported_as_arrays(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b.hspy"
    options = ["--shape", "20,32", "--fov-nm", "64", "--value", "SE2", "--dwell-us", "3", "--out", str(out)]
    assert main(["import", str(table), *options]) == 0
    for ending in ("csv", "npz", "h5"):
        assert main(["export", str(out), f"--{ending}", "--out", str(tmp_path / "arrays")]) == 0
        assert (tmp_path / "arrays" / f"frame_000000.{ending}").exists()
    with np.load(tmp_path / "arrays/frame_000000.npz") as arrays:
        assert (arrays["dwell_us"] == 3).all()
    capsys.readouterr()
    assert main(["export", str(out), "--csv", "--what", "partial", "--out", str(tmp_path)]) == 2
    assert "chooses pictures" in capsys.readouterr().err


def test_a_shape_that_is_none_is_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(table), "--shape", "512", "--fov-nm", "64"]) == 2
    assert "is not rows,columns" in capsys.readouterr().err
