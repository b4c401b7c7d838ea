"""Small micrographs in the formats of instruments, written by the formats' public descriptions.

DM3 and DM4: C. Boothroyd's and G. Jefferis' descriptions of the tags of DigitalMicrograph. SER: Boothroyd's of TIA.
EMD: https://emdatasets.com/format and Velox's own layout. ``.zspy``: HyperSpy's tree in zarr.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from PIL import Image as Pillow

Write = Callable[[Path], object]

_DM_TYPES = {"<i2": 1, "<f4": 2, "<c8": 3, "|u1": 6, "<i4": 7, "|i1": 9, "<u2": 10, "<u4": 11, "<f8": 12, "|b1": 14}
_DM_ENCODED = {"<i2": 2, "<f4": 6, "<c8": 6, "|u1": 10, "<i4": 3, "|i1": 9, "<u2": 4, "<u4": 5, "<f8": 7, "|b1": 8}
_SER_TYPES = {"|u1": 1, "<u2": 2, "<u4": 3, "|i1": 4, "<i2": 5, "<i4": 6, "<f4": 7, "<f8": 8}


@dataclass(frozen=True)
class DmImage:
    """One image of a DM file; ``units`` and ``scales`` in the order x, y, …"""

    pixels: Any
    name: str = "HAADF"
    scales: Sequence[float] = (0.25, 0.5)
    units: Sequence[str] = ("nm", "nm")
    kind: int | None = None


def dm(version: int, *images: DmImage, thumbnail: bool = True) -> Write:
    """A DM3 or DM4 file, with or without a thumbnail in colours before the images."""

    def write(path: Path) -> None:
        listed: list[Any] = []
        if thumbnail:
            small = np.zeros((8, 8, 4), np.uint8)
            listed.append(_image_tags(DmImage(small, "", (1.0, 1.0), ("", ""), 23)))
        listed += [_image_tags(image) for image in images]
        tags = {
            "ImageList": [{"ImageData": data, "Name": name, "ImageTags": {}} for data, name in listed],
            "InImageMode": np.uint8(1),
            "Thumbnails": [{"ImageIndex": np.int32(0)}] if thumbnail else {},
        }
        body = _group(version, tags)
        long = ">Q" if version == 4 else ">I"
        head = struct.pack(">I", version) + struct.pack(long, len(body) + 4) + struct.pack(">I", 1)
        path.write_bytes(head + body + bytes(8))

    return write


def _image_tags(image: DmImage) -> tuple[dict[str, Any], str]:
    pixels = np.asarray(image.pixels)
    shape = pixels.shape[:2] if image.kind == 23 else pixels.shape
    stored = np.ascontiguousarray(pixels).view("<u4").ravel() if image.kind == 23 else pixels.ravel()
    dimensions = [
        {"Label": "", "Origin": np.float32(0), "Scale": np.float32(scale), "Units": unit}
        for scale, unit in zip(image.scales, image.units, strict=True)
    ]
    data = {
        "Calibrations": {"Dimension": dimensions},
        "Data": stored,
        "DataType": np.int32(image.kind if image.kind is not None else _DM_TYPES[pixels.dtype.str]),
        "Dimensions": [np.int32(length) for length in reversed(shape)],
        "PixelDepth": np.int32(pixels.itemsize),
    }
    return data, image.name


def _group(version: int, tags: dict[str, Any] | list[Any]) -> bytes:
    items = tags.items() if isinstance(tags, dict) else [("", tag) for tag in tags]
    count = struct.pack(">Q" if version == 4 else ">I", len(tags))
    return b"\1\0" + count + b"".join(_tag(version, name, value) for name, value in items)


def _tag(version: int, name: str, value: Any) -> bytes:
    title = struct.pack(">H", len(name)) + name.encode("latin-1")
    if isinstance(value, dict | list):
        body = _group(version, value)
        return b"\x14" + title + (struct.pack(">Q", len(body)) if version == 4 else b"") + body
    if isinstance(value, str):
        value = np.frombuffer(value.encode("utf-16-le"), "<u2")
    kind = _DM_ENCODED[value.dtype.str]
    if value.dtype.kind == "c":
        info = [20, 15, 0, 2, 0, kind, 0, kind, value.size]
    else:
        info = [kind] if value.ndim == 0 else [20, kind, value.size]
    longs = struct.pack(f">{len(info) + 1}{'Q' if version == 4 else 'I'}", len(info), *info)
    body = b"%%%%" + longs + value.tobytes()
    return b"\x15" + title + (struct.pack(">Q", len(body)) if version == 4 else b"") + body


def ser(*images: Any, scale_m: tuple[float, float] = (0.25e-9, 0.5e-9), spectra: bool = False) -> Write:
    """A series of TIA; ``scale_m`` along x and y. TIA keeps the lowest row first."""

    def write(path: Path) -> None:
        head = struct.pack(
            "<HHHIIII", 0x4949, 0x0197, 0x0220, 0x4120 if spectra else 0x4122, 0x4152, len(images), len(images)
        )
        dimension = (
            struct.pack("<IddI", len(images), 0.0, 1.0, 0) + struct.pack("<I", 6) + b"Number" + struct.pack("<I", 0)
        )
        offsets_at = len(head) + 12 + len(dimension)
        start, elements, offsets = offsets_at + 16 * len(images), b"", []
        for image in images:
            offsets.append(start + len(elements))
            elements += _element(np.asarray(image), scale_m)
        ends = [start + len(elements)] * len(images)
        table = struct.pack(f"<{2 * len(images)}Q", *offsets, *ends)
        content = head + struct.pack("<QI", offsets_at, 1) + dimension + table + elements
        path.write_bytes(content + struct.pack("<HHI", 0x4152, 0, 0))

    return write


def _element(image: Any, scale_m: tuple[float, float]) -> bytes:
    axes = b"".join(struct.pack("<ddI", 0.0, scale, 0) for scale in scale_m[: image.ndim])
    kind = struct.pack("<H", _SER_TYPES[image.dtype.str])
    return axes + kind + struct.pack(f"<{image.ndim}I", *image.shape[::-1]) + image[::-1].tobytes()


def velox(*images: tuple[str, Any, str]) -> Write:
    """Velox's EMD of images (detector, pixels (rows, cols, frames), unit of the pixel size)."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["Version"] = np.array([json.dumps({"format": "Velox", "version": "1.0"})], h5py.string_dtype())
            for at, (detector, pixels, unit) in enumerate(images):
                about = {
                    "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1600000000"}},
                    "BinaryResult": {
                        "Detector": detector,
                        "PixelSize": {"height": "2e-11", "width": "1e-11"},
                        "PixelUnitX": unit,
                        "PixelUnitY": unit,
                    },
                }
                group = file.create_group(f"Data/Image/0123abcd{at}")
                group["Data"] = pixels
                group["Metadata"] = np.frombuffer(json.dumps(about).encode().ljust(400, b"\0"), np.uint8)[:, None]

    return write


def emd(unit: str, axes: str = "yxzt", **images: Any) -> Write:
    """EMD of Berkeley and NCEM: a group an image, with its axes beside it."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs.update(version_major=0, version_minor=2)
            for name, pixels in images.items():
                group = file.create_group(f"data/{name}")
                group.attrs["emd_group_type"] = 1
                group["data"] = pixels
                for axis, (length, scale) in enumerate(zip(pixels.shape, (0.5, 0.25, 1, 1), strict=False), 1):
                    dim = group.create_dataset(f"dim{axis}", data=scale * np.arange(length))
                    dim.attrs.update(name=axes[axis - 1], units=unit)

    return write


def hspy(pixels: Any, units: Sequence[str] = ("nm", "nm"), navigates: Sequence[bool] = (False, False)) -> Write:
    """HyperSpy's file, with factors of a decomposition beside the signal."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            group = _signal(file, pixels, units, navigates)
            group["learning_results/factors"] = np.ones((40, 20))

    return write


def zspy(pixels: Any, units: Sequence[str] = ("nm", "nm")) -> Write:
    """HyperSpy's tree as a zarr store, of the second format, in which HyperSpy writes it."""

    def write(path: Path) -> None:
        tree = zarr.create_group(str(path), zarr_format=2)
        _signal(tree, pixels, units, (False, False))

    return write


def _signal(tree: Any, pixels: Any, units: Sequence[str], navigates: Sequence[bool]) -> Any:
    group = tree.create_group("Experiments/gold")
    if hasattr(group, "create_array"):
        group.create_array("data", data=np.ascontiguousarray(pixels))
    else:
        group["data"] = pixels
    for axis, (unit, navigate) in enumerate(zip(units, navigates, strict=True)):
        about = {"scale": (0.5, 0.25, 1, 1)[axis], "units": unit, "navigate": navigate}
        group.create_group(f"axis-{axis}").attrs.update(about)
    return group


def hdf5(**datasets: Any) -> Write:
    """HDF5 of nobody's convention; ``__`` in a name for a group."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name.replace("__", "/")] = data

    return write


def tiff(image: Any, **settings: Any) -> Write:
    """One page."""
    return lambda path: tifffile.imwrite(path, image, **{"photometric": "minisblack", **settings})


def pages(*images: tuple[Any, dict[str, Any]]) -> Write:
    """Several pages, each with settings of its own."""

    def write(path: Path) -> None:
        with tifffile.TiffWriter(path) as file:
            for image, settings in images:
                file.write(image, **settings)

    return write


def with_text(write: Write, text: str, name: str = "{stem}.txt", coding: str = "utf-8") -> Write:
    """A picture with the text file that its instrument writes beside it."""

    def both(path: Path) -> None:
        write(path)
        path.with_name(name.format(stem=path.stem)).write_bytes(text.encode(coding))

    return both


def npy(array: Any, *, allow_pickle: bool = False) -> Write:
    """NumPy's file of one array."""
    return lambda path: np.save(path, array, allow_pickle=allow_pickle)


def npz(**arrays: Any) -> Write:
    """NumPy's file of several arrays."""
    return lambda path: np.savez(path, **arrays)


def picture(array: Any, mode: str | None = None, **settings: Any) -> Write:
    """PNG, WebP, JPEG or BMP, by the file's name."""
    image = Pillow.fromarray(array)
    return lambda path: (image if mode is None else image.convert(mode)).save(path, **settings)


def animated(*images: Any) -> Write:
    """Several pictures, one after another."""
    frames = [Pillow.fromarray(image).convert("RGB") for image in images]
    return lambda path: frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)


def png_of_deep_colours(image: Any) -> Write:
    """PNG of 16 bits a colour, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows, cols = image.shape[:2]
    lines = b"".join(b"\0" + (line.astype(">u2") * 256).tobytes() for line in image)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", cols, rows, 16, 2, 0, 0, 0))
    return raw(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def packed_tiff(image: Any) -> Write:
    """TIFF of 12 bits a pixel, two of them in three bytes, of even width."""
    first, second = image[:, ::2].astype(np.uint32), image[:, 1::2].astype(np.uint32)
    both = (first << 12) | second
    content = np.stack([both >> 16, both >> 8 & 255, both & 255], -1).astype(np.uint8).tobytes()
    rows, cols = image.shape
    tags = (
        (256, cols),
        (257, rows),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, rows),
        (279, len(content)),
    )
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return raw(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + table + bytes(4))


def raw(content: bytes) -> Write:
    """These bytes."""
    return lambda path: path.write_bytes(content)


def cut(write: Write, share: float) -> Write:
    """A file that ends in its middle."""

    def shortened(path: Path) -> None:
        write(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return shortened
