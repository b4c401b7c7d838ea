"""Reads one micrograph of any common kind: the one reader for specimens, training and evaluation."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs import hdf5, tiff
from scancontrol.micrographs.image import Found, Image, chosen, finished

__all__ = ["SUFFIXES", "find_images", "read_image"]

_HDF5 = (".h5", ".hdf5", ".hspy", ".emd")
_PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".bmp")
_INSTRUMENTS = (".dm3", ".dm4", ".ser", ".mrc", ".mrcs", ".map")
SUFFIXES = (".tif", ".tiff", *_PICTURES, ".npy", *_HDF5, *_INSTRUMENTS)
"""What :func:`find_images` takes for an image."""

MAX_PIXELS = 1 << 28
MIN_SIDE = 16


def read_image(path: Path, least_side: int = MIN_SIDE) -> Image:
    """Read one image. ``FILE::NAME`` chooses one of several that a file holds.

    Raises:
        InvalidInput: the file cannot be read, holds no image or several, or values that are no picture.
    """
    plain, _, name = str(path).partition("::")
    file = Path(plain)
    if not file.is_file():
        raise InvalidInput("image", file, "does not exist" if not file.exists() else "is no file", "name an image file")
    return finished(path, chosen(file, _found(file, name, least_side), name), least_side)


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The image files under a folder, sorted, and how many others were passed over: hidden ones and foreign ones."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    images = [
        path
        for path in files
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return images, len(files) - len(images)


def _found(file: Path, name: str, least_side: int) -> list[Found]:
    start = _start_of(file)
    if start[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return tiff.images_in(file, name)
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return hdf5.images_in(file, name, least_side)
    if start[:6] == b"\x93NUMPY":
        return [_array(file)]
    suffix = file.suffix.lower()
    if suffix in _INSTRUMENTS:
        return _instrument(file, suffix)
    return [_picture(file)]


def _start_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(16)
    except OSError as error:
        raise InvalidInput("image", file, f"cannot be read ({error.strerror})", "check its permissions") from error


def _array(file: Path) -> Found:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput("image", file, f"cannot be read ({error})", "store an array of numbers in it") from error
    return Found("", array, array.shape, array.dtype)


def _picture(file: Path) -> Found:
    """PNG, WebP, JPEG and the like."""
    from PIL import Image as Pillow

    try:
        with warnings.catch_warnings(), Pillow.open(file) as opened:
            warnings.simplefilter("ignore")
            if opened.width * opened.height > MAX_PIXELS:
                raise InvalidInput("image", file, f"has more than {MAX_PIXELS} pixels", "crop or bin it")
            pixels = np.asarray(opened)
            said = ("a picture with a palette: its indices are taken, not its colours",) if opened.mode == "P" else ()
            if opened.mode == "LA":
                pixels = pixels[..., 0]
    except InvalidInput:
        raise
    except Exception as error:  # every plug-in of Pillow fails in its own way
        raise InvalidInput(
            "image", file, f"cannot be read ({str(error)[:200]})", "replace or remove the file"
        ) from error
    return Found("", pixels, pixels.shape, pixels.dtype, None, said)


def _instrument(file: Path, suffix: str) -> list[Found]:
    """DigitalMicrograph, TIA and MRC, by the packages that keep up with them."""
    if suffix in (".mrc", ".mrcs", ".map"):
        return _with("mrcfile", file, _mrc)
    return _with("ncempy.io", file, _ncem)


def _with(package: str, file: Path, read: Callable[[Any, Path], list[Found]]) -> list[Found]:
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise InvalidInput("image", file, f"needs the package {name}", "pip install 'scancontrol[readers]'") from error
    try:
        return read(module, file)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(
            "image", file, f"cannot be read ({str(error)[:200]})", "replace or remove the file"
        ) from error


def _mrc(mrcfile: Any, file: Path) -> list[Found]:
    with warnings.catch_warnings(), mrcfile.open(file, permissive=True) as opened:
        warnings.simplefilter("ignore")
        if opened.data is None:
            return []
        pixels, size = np.array(opened.data), opened.voxel_size
        known = float(size.x) > 0 and float(size.y) > 0
        pixel_nm = (float(size.y) / 10, float(size.x) / 10) if known else None  # stored in Å
    return [Found("", pixels, pixels.shape, pixels.dtype, pixel_nm)]


def _ncem(ncem: Any, file: Path) -> list[Found]:
    content = ncem.read(str(file))
    pixels = np.asarray(content["data"])
    units, sizes = content.get("pixelUnit") or [], content.get("pixelSize") or []
    factor = {"nm": 1.0, "um": 1e3, "µm": 1e3, "m": 1e9, "å": 0.1, "a": 0.1}
    known = [float(size) * factor.get(str(unit).lower(), 0.0) for size, unit in zip(sizes, units, strict=False)]
    pixel_nm = (known[-2], known[-1]) if len(known) >= 2 and min(known[-2:]) > 0 else None
    if any("1/" in str(unit) for unit in units):
        problem = f"has pixels in {units[-1]}, a diffraction pattern"
        raise InvalidInput("image", file, problem, "give an image of real space")
    return [Found("", pixels, pixels.shape, pixels.dtype, pixel_nm)]
