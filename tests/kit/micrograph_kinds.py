"""One small file of each kind that people bring, and beside it the right values or the words of its refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import tifffile
from micrograph_writers import (
    DmImage,
    animated,
    cut,
    dm,
    emd,
    hdf5,
    hspy,
    npy,
    npz,
    packed_tiff,
    pages,
    picture,
    png_of_deep_colours,
    raw,
    ser,
    tiff,
    velox,
    with_text,
    zspy,
)

RNG = np.random.default_rng(0)
U8 = RNG.integers(0, 200, (40, 56), dtype=np.uint8)
U16 = RNG.integers(300, 60000, (40, 56), dtype=np.uint16)
F32 = RNG.normal(5, 2, (40, 56)).astype(np.float32)


@dataclass(frozen=True)
class Kind:
    """What is written, what has to be read (None: refused), and a word that has to be said."""

    what: str
    suffix: str
    write: Callable[[Path], object]
    expected: Any
    said: str = ""
    pixel_nm: tuple[float, float] | None = None


def shifted(array: Any) -> Any:
    """From 0 to 1."""
    return (array - array.min()) / np.ptp(array)


def mrc(pixels: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with mrcfile.new(path) as file:
            file.set_data(pixels)
            file.voxel_size = (2.0, 4.0, 1.0)  # x, y, z in Å

    return write


def long_header(path: Path) -> None:
    """An MRC whose extended header is to be 2 GB long."""
    mrc(F32)(path)
    content = bytearray(path.read_bytes())
    content[92:96] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)


def imagej(path: Path) -> None:
    tifffile.imwrite(path, U16, imagej=True, resolution=(200, 100), metadata={"unit": "um"})


def imagej_signed(path: Path) -> None:
    """As ImageJ keeps signed numbers: without a sign, and how to calibrate them."""
    about = {"unit": "nm", "cf": 0, "c0": -32768.0, "c1": 1.0}
    tifffile.imwrite(path, U16, imagej=True, resolution=(2, 2), metadata=about)


def behind_its_thumbnail(path: Path) -> None:
    """A measurement below a page that is its reduced picture, as cameras write it."""
    with tifffile.TiffWriter(path) as file:
        file.write(U8[::4, ::4], subifds=1, subfiletype=1, photometric="minisblack")
        file.write(U16, photometric="minisblack")


def external(path: Path) -> None:
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file.create_dataset("deep/image", data=U16, compression="gzip", shuffle=True)
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink(other.name, "/deep/image")


def broken_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink("nowhere.h5", "/image")


def nexus(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/image")
        group.attrs.update(NX_class="NXdata", signal="intensity")
        group["intensity"], group["dark"] = U16, U16 * 0 + 7


def matlab(path: Path) -> None:
    """As MATLAB saves with -v7.3: 512 bytes of its own first, and columns before rows."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["picture"] = U16.T
        file["picture"].attrs["MATLAB_class"] = np.bytes_("uint16")
        file["nothing"] = h5py.Empty("f8")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))


def virtual(path: Path) -> None:
    """A dataset put together from one file that is there and one that is not."""
    layout = h5py.VirtualLayout((40, 56), "u2")
    with h5py.File(path.with_name("half.h5"), "w") as half:
        half["a"] = U16[:20]
    layout[:20] = h5py.VirtualSource("half.h5", "a", (20, 56))
    layout[20:] = h5py.VirtualSource("gone.h5", "a", (20, 56))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("image", layout)


def ome_series(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(U16, metadata={"Name": "HAADF"})
        file.write(U8, metadata={"Name": "overview"})


def little_colours(path: Path) -> None:
    """HyperSpy's picture in colours, a structure of R, G and B."""
    colours = np.zeros((40, 56), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, plane in zip("RGB", (U8, U8 // 2, U8), strict=True):
        colours[name] = plane
    hspy(colours)(path)


WITH_BAR = np.vstack([U16, np.full((6, 56), 65535, np.uint16)])
SIGNED = (U8.astype(np.int16) - 100).astype(np.int8)
LARGE = U16.astype(np.uint32) * 70000
DAMAGED = b"II*\x00\x08\x00\x00\x00\xff\xff" + b"x" * 40
PALETTE = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
TURNED = {"extratags": [(274, 3, 1, 3, True)]}
COLOURS = np.stack([U8, U8 // 2, U8], -1)
GREY = (U8 * 2.0 + U8 // 2) / 3
OFFSET = F32.astype(np.float64) * 1e-3 + 1e7
LISTS = {"a_list": np.zeros((500, 2)), "image": U16, "name": np.bytes_("x")}
HALVES = np.broadcast_to(np.where(np.arange(64) < 32, 90, 150).astype(np.uint8), (40, 64))  # whole JPEG blocks
HOT = U16.copy()
HOT[3, 4] = 65535
STRUCTURED = np.zeros((30, 30), [("a", "f4")])
FEI = b"[Scan]\r\nPixelWidth=1e-9\r\nPixelHeight=2e-9\r\n[Image]\r\nResolutionX=56\r\nResolutionY=40\r\n\0"
ZEISS = b"0\r\n0\r\n0\r\n1.5e-9\r\n0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 2.5 nm\r\n\0"
ZEISS_OLD = b"0\r\n0\r\n0\r\n1.75e-10\r\n0\r\n\0"
TESCAN = "[MAIN]\nDevice=MIRA3\nImageStripSize=6\nPixelSizeX=1e-9\nPixelSizeY=2e-9\n[SEM]\n"
JEOL = "$CM_FORMAT JEOL-SEM\r\n$CM_FULL_SIZE 56 40\r\n$$SM_MICRON_BAR 20\r\n$$SM_MICRON_MARKER 100nm\r\n"
HITACHI = "[SemImageFile]\r\nInstructName=SU8000\r\nDataSize=56x40\r\nPixelSize=9.5\r\n"
OF_ANOTHER = JEOL.replace("56 40", "1280 960")
GREY_PAGE = {"photometric": "minisblack"}
PLANES = [np.dstack([U8] * 4), {"photometric": "separated"}]
PICTURE_PAGE = (np.repeat(U8[..., None], 3, -1), {"photometric": "rgb"})


def tagged(image: Any, tag: int, content: bytes) -> Callable[[Path], object]:
    """With a tag of an instrument's own."""
    return tiff(image, extratags=[(tag, 2 if tag != 50431 else 1, len(content), content, True)])


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
    Kind("TIFF, LZW with a predictor", "tif", tiff(U16, compression="lzw", predictor=True), U16),
    Kind("TIFF, JPEG 2000", "tif", tiff(U16, compression="jpeg2000"), U16),
    Kind("TIFF, JPEG XL", "tif", tiff(U16, compression="jpegxl", compressionargs={"lossless": True}), U16),
    Kind("TIFF, JPEG", "tif", tiff(HALVES, compression="jpeg", compressionargs={"level": 100}), HALVES, "JPEG"),
    Kind("TIFF, 12 bit packed", "tif", packed_tiff(U16 // 16), U16 // 16),
    Kind("TIFF, 1 bit", "tif", tiff(U8 > 99), U8 > 99),
    Kind("TIFF with an axis of one", "tif", tiff(U16[None]), U16),
    Kind("one hot pixel", "tif", tiff(HOT), HOT),
    Kind("TIFF, 16 bit, smallest value white", "tif", tiff(U16, photometric="miniswhite"), 65535 - U16, "is white"),
    Kind("TIFF, 8 bit, smallest value white", "tif", tiff(U8, photometric="miniswhite"), 255 - U8, "is white"),
    Kind("TIFF, 1 bit, smallest value white", "tif", tiff(U8 > 99, photometric="miniswhite"), U8 <= 99, "is white"),
    Kind("TIFF with a palette", "tif", tiff(U8, **PALETTE), U8, "indices"),
    Kind("TIFF, turned by its orientation tag", "tif", tiff(U16, **TURNED), U16[::-1, ::-1], "180°"),
    Kind("TIFF in colours", "tif", tiff(COLOURS, photometric="rgb"), GREY, "grey"),
    Kind(
        "TIFF in colours, plane by plane",
        "tif",
        tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate"),
        GREY,
        "grey",
    ),
    Kind(
        "TIFF with transparency",
        "tif",
        tiff(np.dstack([U8, U8 * 0 + 9]), extrasamples=["unassalpha"], planarconfig="contig"),
        U8,
        "transparency",
    ),
    Kind(
        "TIFF, a thumbnail before the measurement",
        "tif",
        pages((U8[::4, ::4], GREY_PAGE), (U16, GREY_PAGE)),
        U16,
        "page 1 of 2",
    ),
    Kind(
        "TIFF, an 8-bit picture before the measurement",
        "tif",
        pages(PICTURE_PAGE, (U16, GREY_PAGE)),
        U16,
        "page 1 of 2",
    ),
    Kind("TIFF, the measurement below its thumbnail", "tif", behind_its_thumbnail, U16, "page 1 of 2"),
    Kind("TIFF of ImageJ, scale in µm", "tif", imagej, U16, "", (10.0, 5.0)),
    Kind("TIFF of ImageJ, signed 16 bit", "tif", imagej_signed, U16 - 32768.0, "-32768 + 1 times", (0.5, 0.5)),
    Kind(
        "OME-TIFF of one image",
        "ome.tif",
        lambda path: tifffile.imwrite(path, U16, metadata={"axes": "YX", "PhysicalSizeX": 0.01, "PhysicalSizeY": 0.02}),
        U16,
        "",
        (20.0, 10.0),
    ),
    Kind("TIFF of FEI or Thermo, with a data bar", "tif", tagged(WITH_BAR, 34682, FEI), U16, "6 rows", (2.0, 1.0)),
    Kind("TIFF of Zeiss", "tif", tagged(U16, 34118, ZEISS), U16, "", (2.5, 2.5)),
    Kind("TIFF of Zeiss, an old one", "tif", tagged(U16, 34118, ZEISS_OLD), U16, "", (3.2, 3.2)),
    Kind("TIFF of TESCAN, with a data bar", "tif", tagged(WITH_BAR, 50431, TESCAN.encode()), U16, "6 rows", (2.0, 1.0)),
    Kind(
        "TIFF of TESCAN, described beside it",
        "tif",
        with_text(tiff(WITH_BAR), TESCAN, "{stem}-tif.hdr"),
        U16,
        "6 rows",
        (2.0, 1.0),
    ),
    Kind("TIFF of JEOL, with a data bar", "tif", with_text(tiff(WITH_BAR), JEOL), U16, "6 rows", (5.0, 5.0)),
    Kind("TIFF of Hitachi", "tif", with_text(tiff(U16), HITACHI, coding="utf-16"), U16, "", (9.5, 9.5)),
    Kind("BMP of Hitachi", "bmp", with_text(picture(U8), HITACHI), U8, "", (9.5, 9.5)),
    Kind("TIFF beside the text of another size", "tif", with_text(tiff(U16), OF_ANOTHER), U16, "960 x 1280"),
    Kind("colours", "png", picture(COLOURS), GREY, "grey"),
    Kind("grey in three colours", "png", picture(np.stack([U8] * 3, -1)), U8),
    Kind("PNG, 8 bit", "png", picture(U8), U8),
    Kind("PNG, 16 bit", "png", picture(U16), U16),
    Kind("PNG with a palette", "png", picture(U8, "P"), U8, "indices"),
    Kind("PNG with transparency", "png", picture(U8, "LA"), U8, "transparency"),
    Kind("WebP without loss", "webp", picture(np.stack([U8] * 3, -1), lossless=True), U8),
    Kind("JPEG", "jpg", picture(HALVES, quality=100), HALVES, "JPEG"),
    Kind("NPY", "npy", npy(F32), F32),
    Kind("NPY, big-endian, by columns", "npy", npy(np.asfortranarray(F32.astype(">f8"))), F32),
    Kind("NPZ of one image beside lists", "npz", npz(at=np.zeros((500, 2)), image=U16), U16),
    Kind("a small signal on a large offset", "npy", npy(OFFSET), shifted(OFFSET), "shifted"),
    Kind("float64 beyond float32", "npy", npy(F32.astype(np.float64) * 1e300), shifted(F32), "shifted"),
    Kind("float64 below float32", "npy", npy(F32.astype(np.float64) * 1e-300), shifted(F32), "shifted"),
    Kind("HyperSpy", "hspy", hspy(F32), F32, "Experiments/gold", (0.5, 0.25)),
    Kind("HyperSpy in µm", "hspy", hspy(F32, ("µm", "um")), F32, "Experiments/gold", (500.0, 250.0)),
    Kind("HyperSpy in colours", "hspy", little_colours, GREY, "averaged", (0.5, 0.25)),
    Kind("HyperSpy in zarr", "zspy", zspy(F32), F32, "Experiments/gold", (0.5, 0.25)),
    Kind("EMD of Velox", "emd", velox(("HAADF", U16[..., None], "m")), U16, "Data/Image", (0.02, 0.01)),
    Kind("EMD of Berkeley or NCEM", "emd", emd("[n_m]", image=F32), F32, "data/image", (0.5, 0.25)),
    Kind("EMD, stored by columns", "emd", emd("nm", "xy", image=F32.T), F32, "by column", (0.25, 0.5)),
    Kind("EMD without names of its axes", "emd", emd("nm", "??", image=F32), F32, "not called y and x", (0.5, 0.25)),
    Kind("NeXus", "nxs", nexus, U16, "entry/image/intensity"),
    Kind("HDF5, an image beside lists and tables", "h5", hdf5(**LISTS), U16, "image"),
    Kind("HDF5, the image in another file", "h5", external, U16, "linked"),
    Kind("MATLAB 7.3", "mat", matlab, U16, "as MATLAB does"),
    Kind("DM3", "dm3", dm(3, DmImage(F32)), F32, "", (0.5, 0.25)),
    Kind("DM4", "dm4", dm(4, DmImage(U16, scales=(1.0, 2.0), units=("µm", "µm"))), U16, "", (2000.0, 1000.0)),
    Kind("DM3 without a thumbnail", "dm3", dm(3, DmImage(U16), thumbnail=False), U16, "", (0.5, 0.25)),
    Kind("DM4, signed", "dm4", dm(4, DmImage(SIGNED)), SIGNED, "", (0.5, 0.25)),
    Kind("SER", "ser", ser(U16), U16, "", (0.5, 0.25)),
    Kind("MRC", "mrc", mrc(F32), F32, "", (0.4, 0.2)),
    Kind("MRC, signed 16 bit", "mrc", mrc(SIGNED.astype(np.int16)), SIGNED, "", (0.4, 0.2)),
    Kind("HDF5 with two images", "h5", hdf5(dark=U16, image=U16 + 1), None, "dark 40 x 56 uint16, image"),
    Kind("HDF5 with a broken link", "h5", broken_link, None, "nowhere.h5"),
    Kind("NPZ with two images", "npz", npz(dark=U16, image=U16 + 1), None, "dark 40 x 56 uint16, image"),
    Kind(
        "EMD of Velox with two detectors",
        "emd",
        velox(("HAADF", U16[..., None], "m"), ("BF", U16[..., None], "m")),
        None,
        "holds 2 images: HAADF .* BF",
    ),
    Kind("EMD of Velox, a film", "emd", velox(("HAADF", np.stack([U16] * 5, -1), "m")), None, "a stack"),
    Kind("DM4 with two images", "dm4", dm(4, DmImage(U16), DmImage(F32, "BF")), None, "HAADF 40 x 56 uint16, BF"),
    Kind("SER of three images", "ser", ser(U16, U16, U16), None, "holds 3 images"),
    Kind("HDF5, a part of the image in a file that is gone", "h5", virtual, None, "not there, gone.h5"),
    Kind("OME-TIFF of two images", "ome.tif", ome_series, None, "holds 2 images"),
    Kind("TIFF stack", "tif", pages((U16, {}), (U16, {}), (U16, {})), None, "holds 3 images"),
    Kind("MRC of a volume", "mrc", mrc(np.stack([F32] * 20)), None, "20 x 40 x 56, a stack"),
    Kind("HDF5 of four dimensions", "h5", hdf5(data=np.zeros((20, 20, 20, 20), np.uint8)), None, "of 4 dimensions"),
    Kind(
        "HyperSpy of four dimensions",
        "hspy",
        hspy(np.zeros((20, 20, 20, 20), np.uint8), ("nm",) * 4, (True, True, False, False)),
        None,
        "of 4 dimensions",
    ),
    Kind(
        "DM4 of four dimensions",
        "dm4",
        dm(4, DmImage(np.zeros((6, 5, 20, 20), np.uint16), "4D", (1.0,) * 4, ("nm",) * 4)),
        None,
        "of 4 dimensions",
    ),
    Kind("a diffraction pattern in HyperSpy", "hspy", hspy(F32, ("1/nm", "1/nm")), None, "1/nm, a diffraction pattern"),
    Kind("a diffraction pattern in EMD", "emd", emd("[n_m^-1]", image=F32), None, "a diffraction pattern"),
    Kind(
        "a diffraction pattern in DM3", "dm3", dm(3, DmImage(F32, units=("1/nm", "1/nm"))), None, "diffraction pattern"
    ),
    Kind("a diffraction pattern in SER", "ser", ser(U16, scale_m=(2e7, 2e7)), None, "a diffraction pattern"),
    Kind("a line of spectra in HyperSpy", "hspy", hspy(F32, ("nm", "eV"), (True, False)), None, "eV, spectra"),
    Kind("a spectrum in DM3", "dm3", dm(3, DmImage(F32[:1].ravel(), "EELS", (0.5,), ("eV",))), None, "eV, spectra"),
    Kind("spectra in SER", "ser", ser(F32[0], spectra=True), None, "holds 1 spectra"),
    Kind("a transform in DM3", "dm3", dm(3, DmImage(F32 + 1j * F32)), None, "complex"),
    Kind("complex numbers", "npy", npy(F32 + 1j), None, "complex"),
    Kind("structured NPY", "npy", npy(STRUCTURED), None, "values of the type"),
    Kind("structures in HDF5", "h5", hdf5(table=STRUCTURED), None, "values of the type"),
    Kind("Python objects in NPY", "npy", npy(np.array([[print]]), allow_pickle=True), None, "cannot be read"),
    Kind("PNG, 16 bit a colour", "png", png_of_deep_colours(COLOURS), None, "16 bits a colour"),
    Kind("TIFF in inks", "tif", pages(tuple(PLANES)), None, "CMYK"),
    Kind("an animated picture", "webp", animated(U8, U8 // 2), None, "film of 2"),
    Kind("NaN", "npy", npy(np.where(F32 > 5, np.nan, F32)), None, "NaN"),
    Kind("one grey level", "png", picture(np.full((40, 40), 7, np.uint8)), None, "one grey level, 7"),
    Kind("a damaged TIFF", "tif", raw(DAMAGED), None, "TIFF|no image"),
    Kind("a TIFF that ends in its middle", "tif", cut(tiff(U16), 0.5), None, "TIFF|cut off"),
    Kind(
        "a tiled TIFF that ends in its middle",
        "tif",
        cut(tiff(U16, tile=(16, 16), compression="zlib"), 0.6),
        None,
        "TIFF|cut off",
    ),
    Kind("a DM3 that ends in its middle", "dm3", cut(dm(3, DmImage(F32)), 0.5), None, "read as DM3|ends before"),
    Kind("a DM4 that ends in its middle", "dm4", cut(dm(4, DmImage(F32)), 0.5), None, "read as DM4|ends before"),
    Kind("a SER that ends in its middle", "ser", cut(ser(U16), 0.5), None, "read as SER"),
    Kind("an MRC that ends in its middle", "mrc", cut(mrc(F32), 0.5), None, "read as MRC"),
    Kind("an MRC with a header too long", "mrc", long_header, None, "extended header"),
    Kind("an HDF5 that ends in its middle", "h5", cut(hdf5(image=U16), 0.5), None, "read as HDF5"),
    Kind("an NPY that ends in its middle", "npy", cut(npy(U16), 0.5), None, "cannot be read"),
    Kind("a PNG that ends in its middle", "png", cut(picture(U8), 0.5), None, "cannot be read"),
    Kind("the description beside a SER", "emi", raw(b"<ObjectInfo>"), None, "the .ser file beside it"),
    Kind("text called TIFF", "tif", raw(b"not at all"), None, "cannot be read"),
    Kind("text called DM3", "dm3", raw(b"not at all"), None, "read as DM3"),
    Kind("an empty file", "h5", raw(b""), None, "is empty"),
)
