"""The files of DigitalMicrograph (DM3, DM4), TIA (SER) and MRC, by the packages that keep up with them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import MAX_PIXELS, Found
from scancontrol.micrographs.units import no_picture, pixel_nm

__all__ = ["SUFFIXES", "reader_of"]

SUFFIXES = (".dm3", ".dm4", ".ser", ".mrc", ".mrcs", ".map")

_DM_TYPES = {1: "i2", 2: "f4", 3: "c8", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 13: "c16", 14: "?"}
_DM_OTHER = {5: "packed complex numbers, a transform", 8: "colours", 23: "colours"}
_DM_COLOURS = 23
_SER_IMAGES = 0x4122


def reader_of(start: bytes, suffix: str) -> Callable[[Path, str], list[Found]] | None:
    """What reads a file that starts like this, None if none of these does."""
    is_dm = start[:4] in (b"\0\0\0\3", b"\0\0\0\4")
    if is_dm or suffix in (".dm3", ".dm4"):
        return lambda path, name: _with("ncempy.io.dm", path, name, _dm)
    if start[:4] == b"II\x97\x01" or suffix == ".ser":
        return lambda path, name: _with("ncempy.io.ser", path, name, _ser)
    if start[208:212] == b"MAP " or suffix in (".mrc", ".mrcs", ".map"):
        return lambda path, name: _with("mrcfile", path, name, _mrc)
    return None


def _with(package: str, path: Path, name: str, read: Callable[[Any, Path, str], list[Found]]) -> list[Found]:
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        problem = f"needs the package {package.partition('.')[0]}"
        raise InvalidInput("image", path, problem, "pip install 'scancontrol[readers]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(module, path, name)
    except InvalidInput:
        raise
    except Exception as error:  # these readers meet a damaged file with whatever comes
        problem = f"cannot be read as {path.suffix[1:].upper()} ({str(error)[:200] or type(error).__name__})"
        raise InvalidInput("image", path, problem, "replace or remove the file") from error


def _dm(module: Any, path: Path, name: str) -> list[Found]:
    """The images of the tag ``ImageList``, but for the thumbnail: all of them, which ncempy's own list is not."""
    with path.open("rb") as opened:  # by its name, ncempy would complain of a damaged file once more when it forgets it
        tags = module.fileDM(opened).allTags
    found = []
    thumbnails = {
        int(value) + 1 for tag, value in tags.items() if tag.endswith(".ImageIndex") and ".Thumbnails." in tag
    }
    numbers = sorted({int(tag.split(".")[2]) for tag in tags if tag.startswith(".ImageList.") and ".ImageData." in tag})
    colours = [at for at in numbers if tags.get(f".ImageList.{at}.ImageData.DataType") == _DM_COLOURS]
    if not thumbnails and len(numbers) > 1:  # of older versions, a picture in colours before the measurement
        thumbnails = set(colours[:1]) & {numbers[0]}
    for at in numbers:
        if at not in thumbnails:
            found.append(_dm_image(path, tags, at))
    return _named_apart(found)


def _dm_image(path: Path, tags: dict[str, Any], at: int) -> Found:
    data = f".ImageList.{at}.ImageData"
    lengths = [int(tags[f"{data}.Dimensions.{axis}"]) for axis in range(1, 9) if f"{data}.Dimensions.{axis}" in tags]
    axes = [f"{data}.Calibrations.Dimension.{axis + 1}" for axis in range(len(lengths)) if lengths[axis] > 1]
    units = [_words(tags.get(f"{axis}.Units")) for axis in reversed(axes)]
    sizes = [tags.get(f"{axis}.Scale") for axis in reversed(axes)]
    shape = tuple(reversed(lengths))
    kind = int(tags[f"{data}.DataType"])
    name = _words(tags.get(f".ImageList.{at}.Name")) or str(at - 1)
    if kind not in _DM_TYPES:
        wrong = f"holds {_DM_OTHER.get(kind, f'values of the type {kind} of DigitalMicrograph')}"
        return Found(name, None, shape, np.dtype("V4"), None, (), wrong)
    dtype = np.dtype(_DM_TYPES[kind])
    start, count = int(tags[f"{data}.Data.arrayOffset"]), int(np.prod(shape, dtype=np.int64))
    if start + count * dtype.itemsize > path.stat().st_size:
        raise InvalidInput("image", path, f"ends before its image {name} of {shape} does", "copy the file again")
    pixels = np.memmap(path, dtype.newbyteorder("<"), "r", start, shape) if count else np.zeros(shape, dtype)
    wrong = no_picture(units) or ("is a spectrum or a profile, not (rows, cols)" if len(axes) < 2 else "")
    return Found(name, pixels, shape, dtype, pixel_nm(sizes, units) if len(axes) == 2 else None, (), wrong)


def _words(tag: object) -> str:
    """A text of DigitalMicrograph; a number where it was empty."""
    return tag.strip() if isinstance(tag, str) and not tag.startswith("Array unread") else ""


def _named_apart(found: list[Found]) -> list[Found]:
    names = [one.name for one in found]
    return [
        one if names.count(one.name) == 1 else replace(one, name=f"{one.name} {at}") for at, one in enumerate(found)
    ]


def _ser(module: Any, path: Path, name: str) -> list[Found]:
    """The images of a series; read is the named one, or the first.

    TIA states no unit: a pixel is in metres, or in 1/m of a diffraction pattern, which its size tells.
    """
    with module.fileSER(path) as file:
        count = int(file.head["ValidNumberElements"])
        if int(file.head["DataTypeID"]) != _SER_IMAGES:
            raise InvalidInput("image", path, f"holds {count} spectra", "give a series of images")
        if count == 0:
            return []
        wanted = int(name) if name.isdigit() and int(name) < count else 0
        pixels, about = file.getDataset(wanted)
    x_m, y_m = (float(axis["CalibrationDelta"]) for axis in about["Calibration"])
    wrong = f"has pixels of {x_m:g} 1/m, a diffraction pattern" if abs(x_m) > 1 else ""
    nm = pixel_nm((y_m, x_m), ("m", "m"))
    return [
        Found(str(at), pixels if at == wanted else None, pixels.shape, pixels.dtype, nm, (), wrong)
        for at in range(count)
    ]


def _mrc(mrcfile: Any, path: Path, name: str) -> list[Found]:
    with path.open("rb") as file:
        head = file.read(1024)
    order = ">" if head[212:213] == b"\x11" else "<"
    extended = int(np.frombuffer(head[92:96], f"{order}i4")[0])  # mrcfile makes room for it before it reads
    if not 0 <= extended <= path.stat().st_size:
        problem = f"cannot be read as MRC (its extended header is to have {extended} bytes, more than the file)"
        raise InvalidInput("image", path, problem, "replace or remove the file")
    with mrcfile.mmap(path, mode="r", permissive=True) as opened:
        if opened.data is None:
            raise InvalidInput("image", path, "cannot be read as MRC (its header and its data disagree)", "replace it")
        shape, dtype, size = opened.data.shape, opened.data.dtype, opened.voxel_size
        pixels = np.array(opened.data) if opened.data.size <= MAX_PIXELS else None
    return [Found("", pixels, shape, dtype, pixel_nm((size.y, size.x), ("Å", "Å")))]
