"""One generated file of each kind: read exactly, converted and said, or refused and said.

The table in ``docs/reference/micrographs.md`` is made from :data:`micrograph_kinds.KINDS`, and checked here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from micrograph_kinds import F32, KINDS, U8, U16, Kind
from micrograph_writers import DmImage, cut, dm, hdf5, npz, pages, raw, ser, tiff, velox, zspy
from PIL import Image as Pillow

from scancontrol.commands import look
from scancontrol.errors import InvalidInput
from scancontrol.micrographs import find_images, read_each, read_image

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "micrographs.md"


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


@pytest.mark.parametrize(
    ("suffix", "write", "name", "expected"),
    [
        ("h5", hdf5(dark=U16, group__image=U16 + 1), "group/image", U16 + 1),
        ("h5", hdf5(dark=U16, group__image=U16 + 1), "image", U16 + 1),
        ("tif", pages((U16, {}), (U16 // 2, {})), "1", U16 // 2),
        ("emd", velox(("BF", U8[..., None], "m"), ("HAADF", U16[..., None], "m")), "HAADF", U16),
        ("dm4", dm(4, DmImage(U16), DmImage(F32, "BF")), "BF", F32),
        ("dm3", dm(3, DmImage(U16), DmImage(F32, "BF"), thumbnail=False), "HAADF", U16),
        ("dm3", dm(3, DmImage(U16), DmImage(F32)), "HAADF 1", F32),
        ("ser", ser(U16, U16 + 1, U16 + 2), "2", U16 + 2),
        ("npz", npz(dark=U16, image=U16 + 1), "image", U16 + 1),
        ("hspy", hdf5(Experiments__a__data=U16, Experiments__b__data=U8), "b", U8),
    ],
)
def test_an_image_among_several_is_chosen_by_its_name(
    tmp_path: Path, suffix: str, write: Callable[[Path], object], name: str, expected: np.ndarray
) -> None:
    write(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}::{name}").pixels, expected)
    with pytest.raises(InvalidInput, match="is not in the file"):
        read_image(tmp_path / f"a.{suffix}::nothing")


@pytest.mark.parametrize(
    ("package", "suffix", "write"),
    [("ncempy.io.dm", "dm3", dm(3, DmImage(U16))), ("ncempy.io.ser", "ser", ser(U16)), ("zarr", "zspy", zspy(F32))],
)
def test_a_package_that_is_missing_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / f"a.{suffix}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=r"needs the package .*pip install 'scancontrol\[readers\]'"):
        read_image(tmp_path / f"a.{suffix}")


def test_a_files_first_bytes_count_for_more_than_its_name(tmp_path: Path) -> None:
    dm(4, DmImage(U16))(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, U16)
    tiff(U16)(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, U16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_tag_is_obeyed_as_another_program_obeys_it(tmp_path: Path, orientation: int) -> None:
    tiff(U8, extratags=[(274, 3, 1, orientation, True)])(tmp_path / "a.tif")
    exif = Pillow.Exif()
    exif[274] = orientation
    Pillow.fromarray(U8).save(tmp_path / "a.png", exif=exif)
    turned = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, turned.pixels)
    assert bool(turned.said) == (orientation != 1)


def test_hidden_and_foreign_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("b.tif", "a.npy", "._b.tif", "Thumbs.db", ".hidden/c.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    zspy(F32)(tmp_path / "store.zspy")  # a folder, and one image
    assert find_images(tmp_path) == ([tmp_path / "a.npy", tmp_path / "b.tif", tmp_path / "store.zspy"], 4)


def test_one_unreadable_image_of_many_is_named_and_left_out_only_if_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiff(U16)(tmp_path / "a.tif")
    cut(tiff(U16), 0.5)(tmp_path / "b.tif")
    raw(b"nothing")(tmp_path / "c.png")
    files, _ = find_images(tmp_path)
    with pytest.raises(InvalidInput, match=r"(?s)2 of 3 cannot be used.*b\.tif.*c\.png.*--skip-unreadable"):
        read_each(files, lambda image: image.pixels)
    found, *others = read_each(files, lambda image: image.pixels, skip_unreadable=True)
    np.testing.assert_array_equal(found, U16)
    assert others == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    with pytest.raises(InvalidInput, match="2 of 2 cannot be used"):
        read_each(files[1:], lambda image: image.pixels, skip_unreadable=True)


def test_look_says_shape_range_pixel_and_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    velox(("HAADF", U16[..., None], "m"))(tmp_path / "v.emd")
    (tmp_path / "bad.npy").write_bytes(b"")
    zspy(F32)(tmp_path / "store.zspy")
    assert look.run(argparse.Namespace(files=[tmp_path / "store.zspy"])) == 0
    assert "stored as float32 40 x 56" in capsys.readouterr().out
    assert look.run(argparse.Namespace(files=[tmp_path])) == 1
    said = capsys.readouterr()
    for words in ("stored as uint16 40 x 56 x 1, read as 40 x 56", "0.01 nm wide, 0.02 nm high", "note      dataset"):
        assert words in said.out
    assert "bad.npy" in said.err


if __name__ == "__main__":
    print(table())  # noqa: T201
