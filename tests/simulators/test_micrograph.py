"""Any micrograph file may be the specimen; anything else is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scancontrol.errors import InvalidInput
from simulators.probe import Probe
from simulators.specimens.library import Micrograph
from simulators.specimens.micrograph import read_micrograph
from simulators.specimens.specimen import Specimen


@pytest.fixture
def gradient() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:64]
    return (y * 3 + x).astype(np.float64)


def write(path: Path, image: np.ndarray, kind: str) -> Path:
    scaled = image / image.max()
    if kind == "npy":
        np.save(path, scaled * 1e-3 - 5)
    elif kind == "float tiff":
        Image.fromarray((scaled * 1e4).astype(np.float32)).save(path, format="TIFF")
    elif kind in ("16 bit tiff", "16 bit png"):
        Image.fromarray((scaled * 60000).astype(np.uint16)).save(path, format=kind.split()[-1].upper())
    elif kind == "webp":
        Image.fromarray((scaled * 255).astype(np.uint8)).save(path, format="WEBP", lossless=True)
    elif kind == "colour png":
        Image.fromarray(np.repeat((scaled * 255).astype(np.uint8)[..., None], 3, axis=2)).save(path, format="PNG")
    else:
        Image.fromarray((scaled * 255).astype(np.uint8)).save(path, format="PNG")
    return path


@pytest.mark.parametrize("kind", ["npy", "float tiff", "16 bit tiff", "16 bit png", "webp", "colour png", "8 bit png"])
def test_every_kind_of_file_gives_the_same_picture(tmp_path, gradient, kind):
    name = "image.npy" if kind == "npy" else "image"
    found = read_micrograph(write(tmp_path / name, gradient, kind))
    low, high = np.percentile(gradient, (0.1, 99.9))
    np.testing.assert_allclose(found, np.clip((gradient - low) / (high - low), 0, 1), atol=0.006)


@pytest.mark.parametrize("fov_nm", [7.0, 900.0])
def test_a_micrograph_fills_whatever_field_is_scanned_pixel_for_pixel(tmp_path, gradient, fov_nm):
    file = write(tmp_path / "image.npy", gradient, "npy")
    specimen = Specimen(Micrograph(file=file, darkest=0.1, brightest=0.4), Probe())
    height_nm = fov_nm * 48 / 64
    y = ((np.arange(48) + 0.5) / 48 - 0.5) * height_nm
    x = ((np.arange(64) + 0.5) / 64 - 0.5) * fov_nm
    yy, xx = (grid.ravel() for grid in np.meshgrid(y, x, indexing="ij"))
    seen = specimen.scattered(("HAADF",), yy, xx, fov_nm, height_nm=height_nm)[0].reshape(48, 64)
    np.testing.assert_allclose(seen, 0.1 + 0.3 * read_micrograph(file), atol=2e-5)


def test_a_micrograph_of_another_shape_covers_the_whole_field(tmp_path, gradient):
    specimen = Specimen(Micrograph(file=write(tmp_path / "image.npy", gradient, "npy")), Probe())
    assert specimen.field(10.0, 10.0).extent_nm == pytest.approx((20.0, 20.0 * 64 / 48))  # twice the image, mirrored
    assert specimen.field(20.0, 10.0).extent_nm == pytest.approx((40.0 * 48 / 64, 40.0))


def test_beyond_its_edges_a_micrograph_goes_on_as_its_mirror_image(tmp_path, gradient):
    specimen = Specimen(Micrograph(file=write(tmp_path / "image.npy", gradient, "npy"), size_nm=64.0), Probe())
    inside = specimen.scattered(("HAADF",), np.zeros(5), 32 - np.arange(0.5, 5))
    outside = specimen.scattered(("HAADF",), np.zeros(5), 32 + np.arange(0.5, 5))
    np.testing.assert_allclose(inside, outside, atol=1e-6)


def test_what_is_no_micrograph_is_refused_with_the_reason(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not an image")
    good = tmp_path / "good.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)).save(good)
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:300])
    flat = tmp_path / "flat.npy"
    np.save(flat, np.ones((64, 64)))
    holes = tmp_path / "holes.npy"
    np.save(holes, np.where(np.eye(64) > 0, np.nan, 1.0))
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    line = tmp_path / "line.npy"
    np.save(line, np.arange(100.0))
    tiny = tmp_path / "tiny.npy"
    np.save(tiny, np.arange(16.0).reshape(4, 4))
    for path, why in (
        (text, "cannot be read"),
        (cut, "cannot be read"),
        (tmp_path / "absent.tif", "does not exist"),
        (flat, "one grey level"),
        (holes, "NaN or Inf"),
        (pickled, "cannot be read"),
        (line, "sides of 16"),
        (tiny, "sides of 16"),
        (tmp_path, "is no file"),
    ):
        with pytest.raises(InvalidInput, match=why):
            read_micrograph(path)
