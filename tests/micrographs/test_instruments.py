"""Files of instruments: what is written by the formats' descriptions is what HyperSpy's own readers find in it, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from micrograph_kinds import F32, SIGNED, U16
from micrograph_writers import DmImage, dm, emd, hspy, ser, velox
from rsciio.digitalmicrograph import file_reader as read_dm
from rsciio.emd import file_reader as read_emd
from rsciio.tia import file_reader as read_ser

from scancontrol.errors import InvalidInput
from scancontrol.micrographs import read_image

ORACLES = {
    "dm3": (read_dm, dm(3, DmImage(F32)), F32),
    "dm4": (read_dm, dm(4, DmImage(SIGNED)), SIGNED),
    "ser": (read_ser, ser(U16), U16),
    "emd": (read_emd, emd("nm", "xy", image=F32.T), F32),  # HyperSpy takes every EMD to be stored by columns
}


@pytest.mark.parametrize("suffix", ORACLES)
def test_pixels_and_their_size_are_those_that_hyperspy_reads(tmp_path: Path, suffix: str) -> None:
    read, write, expected = ORACLES[suffix]
    path = tmp_path / f"a.{suffix}"
    write(path)
    signal = read(str(path))[-1]
    image = read_image(path)
    np.testing.assert_array_equal(signal["data"], expected)
    np.testing.assert_array_equal(image.pixels, expected)
    assert [axis["units"] for axis in signal["axes"]] == ["nm", "nm"]
    assert image.pixel_nm == pytest.approx([axis["scale"] for axis in signal["axes"]])


def test_velox_pixels_are_those_that_hyperspy_reads(tmp_path: Path) -> None:
    velox(("HAADF", U16[..., None], "m"))(tmp_path / "a.emd")
    signal = next(one for one in read_emd(str(tmp_path / "a.emd")) if one["data"].ndim == 2)
    np.testing.assert_array_equal(signal["data"], U16)
    np.testing.assert_array_equal(read_image(tmp_path / "a.emd").pixels, signal["data"])


def test_two_images_without_a_thumbnail_are_both_there(tmp_path: Path) -> None:
    """Where ncempy takes the first of several images for a thumbnail."""
    dm(3, DmImage(U16), DmImage(F32, "BF"), thumbnail=False)(tmp_path / "a.dm3")
    with pytest.raises(InvalidInput, match="holds 2 images: HAADF 40 x 56 uint16, BF 40 x 56 float32"):
        read_image(tmp_path / "a.dm3")


def test_an_image_beside_a_diffraction_pattern_of_velox_is_found_and_the_pattern_refused(tmp_path: Path) -> None:
    velox(("Ceta", U16[..., None], "1/m"), ("HAADF", U16[..., None], "m"))(tmp_path / "a.emd")
    np.testing.assert_array_equal(read_image(tmp_path / "a.emd").pixels, U16)
    with pytest.raises(InvalidInput, match="1/m, a diffraction pattern"):
        read_image(tmp_path / "a.emd::Ceta")


def test_factors_of_a_decomposition_are_no_image(tmp_path: Path) -> None:
    hspy(F32)(tmp_path / "a.hspy")
    assert read_image(tmp_path / "a.hspy").said == ("dataset Experiments/gold/data",)
