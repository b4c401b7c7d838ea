"""Samples of another program: read by what the file says of itself, recorded as they are, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.plan.positions import Field
from scancontrol.recording import Recording
from scancontrol.recording.array_files import write_arrays
from scancontrol.recording.arrays import FrameArrays, frame_arrays
from scancontrol.recording.foreign import ForeignSamples, read_samples, record_samples

SHAPE = (20, 32)  # rows, columns: what is turned or mirrored shows
FIELD = Field(SHAPE, fov_nm=64.0, dwell_us=2.0)
PLACES = np.random.default_rng(0).random((150, 2))
VALUES = np.arange(150, dtype="<u2") * 7


def _write(path: Path, **arrays: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return path


def _table(path: Path, header: str, columns: list[np.ndarray]) -> Path:
    np.savetxt(path, np.column_stack(columns), "%.17g", ",", header=header, comments="")
    return path


def _recorded(found: ForeignSamples, path: Path) -> FrameArrays:
    record_samples(path, found, FIELD, "foreign")
    with Recording.open(path) as recording:
        assert recording.verify() == 1
        return frame_arrays(recording, 0)


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("x_nm,y_nm,value", (40.0, 64.0)),
        ("x_um,y_um,value", (0.04, 0.064)),
        ("x_px,y_px,value", (20, 32)),
        ("# x_nm, y_nm, value", (40.0, 64.0)),  # as NumPy's savetxt writes it, if not told otherwise
    ],
)
def test_a_table_is_read_by_the_names_and_units_of_its_columns(
    tmp_path: Path, header: str, scale: tuple[float, float]
) -> None:
    y, x = (PLACES * scale).T
    found = _recorded(read_samples(_table(tmp_path / "a.csv", header, [x, y, VALUES]), FIELD), tmp_path / "a.hspy")
    np.testing.assert_allclose(found.positions, PLACES, atol=1e-9)
    np.testing.assert_array_equal(found.samples, VALUES[None])
    assert found.samples.dtype == np.uint16
    assert found.pixel_nm == 2.0


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize(
    ("key", "scale"), [("positions", (1, 1)), ("positions_px", (20, 32)), ("positions_nm", (40.0, 64.0))]
)
def test_arrays_are_read_by_their_names(tmp_path: Path, ending: str, key: str, scale: tuple[float, float]) -> None:
    dwell_us = np.linspace(1, 3, 150)
    file = _write(tmp_path / f"a.{ending}", values=VALUES, dwell_us=dwell_us, **{key: PLACES * scale})
    found = _recorded(read_samples(file, FIELD), tmp_path / "a.hspy")
    np.testing.assert_allclose(found.positions, PLACES, atol=1e-9)
    np.testing.assert_allclose(found.dwell_us, dwell_us, atol=1e-5)
    np.testing.assert_array_equal(found.samples[0], VALUES)


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_an_image_and_its_mask_become_that_partial_frame(tmp_path: Path, ending: str) -> None:
    image = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
    mask = np.random.default_rng(2).random(SHAPE) < 0.3
    read = read_samples(_write(tmp_path / f"a.{ending}", values=image, sampled=mask), FIELD)
    assert "the scan's own order is not known" in read.said[0]
    found = _recorded(read, tmp_path / "a.hspy")
    np.testing.assert_array_equal(found.partial, np.where(mask, image, 0))
    assert found.samples.dtype == np.float32


@pytest.mark.parametrize("ending", ["csv", "npz", "h5"])
def test_what_was_written_as_arrays_is_read_back_the_same(tmp_path: Path, ending: str) -> None:
    dwell = np.linspace(0.5, 1.5, 150)
    two = ForeignSamples(("BF", "HAADF"), np.stack([VALUES, VALUES[::-1]]), np.column_stack([PLACES, dwell]), ())
    first = _recorded(two, tmp_path / "a.hspy")
    write_arrays(first, tmp_path / f"a.{ending}")
    second = _recorded(read_samples(tmp_path / f"a.{ending}", FIELD), tmp_path / "b.hspy")
    assert second.channels == ("BF", "HAADF")
    np.testing.assert_array_equal(second.samples, first.samples)
    np.testing.assert_allclose(second.positions, first.positions, atol=1e-9)
    np.testing.assert_allclose(second.dwell_us, first.dwell_us, atol=2e-5)


def test_a_number_that_float32_cannot_hold_is_told_or_refused(tmp_path: Path) -> None:
    points = PLACES.copy()
    rounded = ForeignSamples(("a",), VALUES[None] + 0.1, points, ())
    assert record_samples(tmp_path / "a.hspy", rounded, FIELD, "a") == (
        "values are kept as float32, rounded to 7 digits",
    )
    with pytest.raises(InvalidInput, match="above what float32 holds"):
        record_samples(tmp_path / "b.hspy", ForeignSamples(("a",), VALUES[None] * 1e40, points, ()), FIELD, "b")
    with pytest.raises(InvalidInput, match="no real numbers"):
        record_samples(tmp_path / "b.hspy", ForeignSamples(("a",), VALUES[None] * 1j, points, ()), FIELD, "b")
    assert not (tmp_path / "b.hspy").exists()


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"values": VALUES}, "neither mask nor sampled"),
        ({"data": VALUES, "positions": PLACES}, "neither values nor samples, but data, positions"),
        ({"values": VALUES[1:], "positions": PLACES}, "do not fit"),
        ({"values": VALUES, "positions": PLACES.T}, "do not fit"),
        ({"values": VALUES, "mask": np.ones((3, 3), bool)}, "is not \\(20, 32\\)"),
        ({"values": VALUES, "positions": PLACES, "dwell_us": VALUES[:9]}, "give one a sample"),
        ({"values": VALUES, "positions": PLACES.astype("U9")}, "holds no numbers"),
        ({"values": np.array([{}]), "positions": PLACES}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_say_what_is_what_are_refused(tmp_path: Path, arrays: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_samples(_write(tmp_path / "a.npz", **arrays), FIELD)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("0,0,1", "no names above its columns"),
        ("y_px,x_px,glow", "has no column of readings: 'y_px', 'x_px', 'glow'; name it with --value"),
        ("a,b,value", "is not understood"),
    ],
)
def test_a_table_that_does_not_say_what_is_what_is_refused(tmp_path: Path, header: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_samples(_table(tmp_path / "a.csv", header, [*(PLACES * SHAPE).T, VALUES]), FIELD)


@pytest.mark.parametrize("channels", [("a", "a"), ("a", "."), ("a", "b/c"), ("a", ""), ("a", "b" * 81)])
def test_channels_that_a_recording_cannot_tell_apart_are_refused(channels: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"detectors\.name"):
        ForeignSamples(channels, np.stack([VALUES, VALUES]), PLACES, ())


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"nothing of that kind")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_samples(tmp_path / f"a.{ending}", FIELD)
