"""One generated file of each kind: read exactly, converted and said, or refused and said.

The table in ``docs/reference/micrographs.md`` is made from :data:`KINDS`, and checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from scancontrol.commands import look
from scancontrol.errors import InvalidInput
from scancontrol.micrographs import find_images, read_image

RNG = np.random.default_rng(0)
U8 = RNG.integers(0, 200, (40, 56), dtype=np.uint8)
U16 = RNG.integers(300, 60000, (40, 56), dtype=np.uint16)
F32 = RNG.normal(5, 2, (40, 56)).astype(np.float32)
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "micrographs.md"


@dataclass(frozen=True)
class Kind:
    """What is written, what has to be read (None: refused), and a word that has to be said."""

    what: str
    suffix: str
    write: Callable[[Path], object]
    expected: Any
    said: str = ""
    pixel_nm: tuple[float, float] | None = None


def tiff(image: Any, **settings: Any) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, image, **{"photometric": "minisblack", **settings})


def pages(*images: tuple[Any, dict[str, Any]]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with tifffile.TiffWriter(path) as file:
            for image, settings in images:
                file.write(image, **settings)

    return write


def hdf5(**datasets: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name.replace("__", "/")] = data

    return write


def hspy(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("Experiments/gold")
        group["data"] = F32
        for at, scale in enumerate((0.5, 0.25)):
            group.create_group(f"axis-{at}").attrs.update({"scale": scale, "units": "nm"})


def velox(path: Path) -> None:
    about = b'{"BinaryResult": {"Detector": "HAADF", "PixelSize": {"height": "2e-11", "width": "1e-11"}}}'
    with h5py.File(path, "w") as file:
        group = file.create_group("Data/Image/0123abcd")
        group["Data"] = U16[..., None]
        group["Metadata"] = np.frombuffer(about.ljust(200, b"\x00"), np.uint8)[:, None]


def npy(array: Any, *, allow_pickle: bool = False) -> Callable[[Path], object]:
    return lambda path: np.save(path, array, allow_pickle=allow_pickle)


def picture(array: Any) -> Callable[[Path], object]:
    return lambda path: Pillow.fromarray(array).save(path)


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def shifted(array: Any) -> Any:
    return (array - array.min()) / np.ptp(array)


def mrc(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(F32)
        file.voxel_size = (2.0, 4.0, 1.0)  # x, y, z in Å


SIGNED = (U8.astype(np.int16) - 100).astype(np.int8)
LARGE = U16.astype(np.uint32) * 70000
DAMAGED = b"II*\x00\x08\x00\x00\x00\xff\xff" + b"x" * 40
PALETTE = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
TURNED = {"extratags": [(274, 3, 1, 3, True)]}
COLOURS = np.stack([U8, U8 // 2, U8], -1)
OFFSET = F32.astype(np.float64) * 1e-3 + 1e7
LISTS = {"a_list": np.zeros((500, 2)), "image": U16, "name": np.bytes_("x")}
HOT = U16.copy()
HOT[3, 4] = 65535
KINDS = (
    Kind("TIFF, unsigned 8 bit", "tif", tiff(U8), U8),
    Kind("TIFF, signed 8 bit", "tif", tiff(SIGNED), SIGNED),
    Kind("TIFF, unsigned 16 bit", "tif", tiff(U16), U16),
    Kind("TIFF, unsigned 16 bit, big-endian", "tif", tiff(U16, byteorder=">"), U16),
    Kind("TIFF, unsigned 32 bit above 2³¹", "tif", tiff(LARGE), LARGE),
    Kind("TIFF, float16", "tif", tiff(F32.astype(np.float16)), F32.astype(np.float16)),
    Kind("TIFF, float32", "tif", tiff(F32), F32),
    Kind("TIFF, float64", "tif", tiff(F32.astype(np.float64)), F32),
    Kind("BigTIFF", "tif", tiff(U16, bigtiff=True), U16),
    Kind("TIFF, tiled and deflated", "tif", tiff(U16, tile=(16, 16), compression="zlib"), U16),
    Kind("TIFF with an axis of one", "tif", tiff(U16[None]), U16),
    Kind("one hot pixel", "tif", tiff(HOT), HOT),
    Kind("TIFF, 16 bit, smallest value white", "tif", tiff(U16, photometric="miniswhite"), 65535 - U16, "is white"),
    Kind("TIFF, 8 bit, smallest value white", "tif", tiff(U8, photometric="miniswhite"), 255 - U8, "is white"),
    Kind("TIFF with a palette", "tif", tiff(U8, **PALETTE), U8, "indices"),
    Kind("TIFF, turned by its orientation tag", "tif", tiff(U16, **TURNED), U16[::-1, ::-1], "180°"),
    Kind(
        "TIFF, a thumbnail before the measurement",
        "tif",
        pages((U8[::4, ::4], {"photometric": "minisblack"}), (U16, {"photometric": "minisblack"})),
        U16,
        "page 1 of 2",
    ),
    Kind(
        "TIFF, an 8-bit picture before the measurement",
        "tif",
        pages((np.repeat(U8[..., None], 3, -1), {"photometric": "rgb"}), (U16, {"photometric": "minisblack"})),
        U16,
        "page 1 of 2",
    ),
    Kind(
        "TIFF of ImageJ, scale in µm",
        "tif",
        lambda path: tifffile.imwrite(path, U16, imagej=True, resolution=(200, 100), metadata={"unit": "um"}),
        U16,
        "",
        (10.0, 5.0),
    ),
    Kind("colours", "png", picture(COLOURS), (U8 * 2.0 + U8 // 2) / 3, "grey"),
    Kind("grey in three colours", "png", picture(np.stack([U8] * 3, -1)), U8),
    Kind("PNG, 8 bit", "png", picture(U8), U8),
    Kind("PNG, 16 bit", "png", picture(U16), U16),
    Kind("NPY", "npy", npy(F32), F32),
    Kind("a small signal on a large offset", "npy", npy(OFFSET), shifted(OFFSET), "shifted"),
    Kind("float64 beyond float32", "npy", npy(F32.astype(np.float64) * 1e300), shifted(F32), "shifted"),
    Kind("HyperSpy", "hspy", hspy, F32, "Experiments/gold", (0.5, 0.25)),
    Kind("EMD of Velox", "emd", velox, U16, "Data/Image", (0.02, 0.01)),
    Kind("HDF5, an image beside lists and tables", "h5", hdf5(**LISTS), U16, "image"),
    Kind("MRC", "mrc", mrc, F32, "", (0.4, 0.2)),
    Kind("HDF5 with two images", "h5", hdf5(dark=U16, image=U16 + 1), None, "dark 40 x 56 uint16, image"),
    Kind("TIFF stack", "tif", pages((U16, {}), (U16, {}), (U16, {})), None, "holds 3 images"),
    Kind("HDF5 of four dimensions", "h5", hdf5(data=np.zeros((20, 20, 20, 20), np.uint8)), None, "no image of two"),
    Kind("complex numbers", "npy", npy(F32 + 1j), None, "complex"),
    Kind("structured NPY", "npy", npy(np.zeros((30, 30), [("a", "f4")])), None, "values of the type"),
    Kind("Python objects in NPY", "npy", npy(np.array([[print]]), allow_pickle=True), None, "cannot be read"),
    Kind("NaN", "npy", npy(np.where(F32 > 5, np.nan, F32)), None, "NaN"),
    Kind("one grey level", "png", picture(np.full((40, 40), 7, np.uint8)), None, "one grey level, 7"),
    Kind("a damaged TIFF", "tif", raw(DAMAGED), None, "TIFF|no image"),
    Kind("text called TIFF", "tif", raw(b"not at all"), None, "cannot be read"),
    Kind("an empty file", "h5", raw(b""), None, "cannot be read"),
)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS, ids=[kind.what for kind in KINDS])
def test_each_kind_is_read_as_it_says_of_itself_or_refused(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / f"a b [1] α.{kind.suffix}"
    kind.write(path)
    if kind.expected is None:
        with pytest.raises(InvalidInput) as refused:
            read_image(path)
        assert re.search(kind.said, str(refused.value)), str(refused.value)
        return
    image = read_image(path)
    np.testing.assert_allclose(image.pixels, np.asarray(kind.expected, np.float64), rtol=1e-5, atol=1e-6)
    assert kind.said in " ".join(image.said)
    assert bool(kind.said) == bool(image.said), image.said
    if kind.pixel_nm is not None:
        assert image.pixel_nm == pytest.approx(kind.pixel_nm)


def table() -> str:
    """The table of the docs, from the kinds."""
    lines = ["| kind | |", "|---|---|"]
    for kind in KINDS:
        how = (
            "refused, saying why"
            if kind.expected is None
            else "read, and said what was done"
            if kind.said
            else "read exactly"
        )
        lines.append(f"| {kind.what} | {how}{', with its pixel size' if kind.pixel_nm else ''} |")
    return "\n".join(lines)


def test_the_table_in_the_docs_is_this_one() -> None:
    assert table() in DOCS.read_text(), f"put this into {DOCS.name}:\n{table()}"


def test_an_image_among_several_is_chosen_by_its_name(tmp_path: Path) -> None:
    hdf5(dark=U16, group__image=U16 + 1)(tmp_path / "a.h5")
    np.testing.assert_array_equal(read_image(tmp_path / "a.h5::group/image").pixels, U16 + 1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.h5::image").pixels, U16 + 1)
    pages((U16, {}), (U16 // 2, {}))(tmp_path / "s.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "s.tif::1").pixels, U16 // 2)
    velox(tmp_path / "v.emd")
    np.testing.assert_array_equal(read_image(tmp_path / "v.emd::HAADF").pixels, U16)
    with pytest.raises(InvalidInput, match="is not in the file"):
        read_image(tmp_path / "a.h5::nothing")


def test_hidden_and_foreign_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("b.tif", "a.npy", "._b.tif", "Thumbs.db", ".hidden/c.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find_images(tmp_path) == ([tmp_path / "a.npy", tmp_path / "b.tif"], 4)


def test_look_says_shape_range_pixel_and_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    velox(tmp_path / "v.emd")
    (tmp_path / "bad.npy").write_bytes(b"")
    assert look.run(argparse.Namespace(files=[tmp_path])) == 1
    said = capsys.readouterr()
    for words in ("stored as uint16 40 x 56 x 1, read as 40 x 56", "0.01 nm wide, 0.02 nm high", "note      dataset"):
        assert words in said.out
    assert "bad.npy" in said.err


if __name__ == "__main__":
    print(table())  # noqa: T201
