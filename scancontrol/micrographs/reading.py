"""Reads one micrograph of any common kind: the one reader for specimens, training and evaluation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.micrographs import hdf5, instruments, pictures, tiff, zspy
from scancontrol.micrographs.image import Found, Image, chosen, finished, likely

__all__ = ["SUFFIXES", "find_images", "is_store", "read_each", "read_image"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_HDF5 = (".h5", ".hdf5", ".hspy", ".emd", ".nxs", ".mat")
SUFFIXES = (".tif", ".tiff", *pictures.SUFFIXES, ".npy", ".npz", *_HDF5, *instruments.SUFFIXES, *zspy.SUFFIXES)
"""What :func:`find_images` takes for an image."""

MIN_SIDE = 16

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZIP = b"PK\3\4"


def read_image(path: Path, least_side: int = MIN_SIDE) -> Image:
    """Read one image. ``FILE::NAME`` chooses one of several that a file holds.

    Raises:
        InvalidInput: the file cannot be read, holds no image or several, or values that are no picture.
    """
    plain, _, name = str(path).partition("::")
    file = Path(plain)
    if not (file.is_file() or is_store(file)):
        raise InvalidInput("image", file, "does not exist" if not file.exists() else "is no file", "name an image file")
    return finished(path, chosen(file, _found(file, name, least_side), name), least_side)


def read_each(
    paths: Sequence[Path], keep: Callable[[Image], T], least_side: int = MIN_SIDE, *, skip_unreadable: bool = False
) -> list[T | None]:
    """Read images one after another, and keep of each what ``keep`` makes of it, in their order.

    What cannot be read is named in the log, and None, if that is asked for.

    Raises:
        InvalidInput: some cannot be read and ``skip_unreadable`` is not set, after all were tried; or none can.
    """
    kept: list[T | None] = []
    refused: list[InvalidInput] = []
    for path in paths:
        try:
            kept.append(keep(read_image(path, least_side)))
        except InvalidInput as error:
            kept.append(None)
            refused.append(error)
    if refused and (not skip_unreadable or len(refused) == len(paths)):
        listed = "; ".join(f"{one.value} {one.limit}" for one in refused[:10])
        remedy = "mend or remove them" + ("" if skip_unreadable else ", or say --skip-unreadable to go on without")
        raise InvalidInput("images", f"{len(refused)} of {len(paths)}", f"cannot be used: {listed}", remedy)
    for one in refused:
        log.warning("left out: %s", one)
    return kept


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The image files under a folder, sorted, and how many others were passed over: hidden ones and foreign ones."""
    stores = {path for path in folder.rglob("*") if is_store(path)}
    files = [path for path in folder.rglob("*") if path.is_file() and stores.isdisjoint(path.parents)]
    offered = sorted([*files, *(path for path in stores if stores.isdisjoint(path.parents))])
    images = [
        path
        for path in offered
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return images, len(offered) - len(images)


def is_store(path: Path) -> bool:
    """Whether this is a folder that is read as a file: zarr's."""
    return path.suffix.lower() in zspy.SUFFIXES and path.is_dir()


def _found(file: Path, name: str, least_side: int) -> list[Found]:
    """What the file holds, read as its first bytes say, and as its name says where they do not."""
    suffix = file.suffix.lower()
    if file.is_dir():
        return zspy.images_in(file, name, least_side)
    start = _start_of(file)
    if not start:
        raise InvalidInput("image", file, "is empty", "copy it again, or remove it")
    if start[:4] in _TIFF:
        return tiff.images_in(file, name)
    if suffix in _HDF5 or h5py.is_hdf5(file):  # which may begin with a block of MATLAB's
        return hdf5.images_in(file, name, least_side)
    if start[:6] == b"\x93NUMPY":
        return [_array(file)]
    if start[:4] == _ZIP:
        read = zspy.images_in if suffix in zspy.SUFFIXES else _archive
        return read(file, name, least_side)
    if suffix == ".emi":
        raise InvalidInput("image", file, "describes images and holds none", "give the .ser file beside it")
    instrument = instruments.reader_of(start, suffix)
    return instrument(file, name) if instrument is not None else pictures.images_in(file)


def _start_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(256)
    except OSError as error:
        raise InvalidInput("image", file, f"cannot be read ({error.strerror})", "check its permissions") from error


def _array(file: Path) -> Found:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, and fails in as many ways
        raise InvalidInput("image", file, f"cannot be read ({error})", "store an array of numbers in it") from error
    return Found("", array, array.shape, array.dtype)


def _archive(file: Path, name: str, least_side: int) -> list[Found]:
    """The arrays of an NPZ that may be an image, or the named one."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            wanted = [key for key in arrays.files if not name or key == name]
            read = {key: arrays[key] for key in wanted}
    except Exception as error:  # a damaged ZIP fails in as many ways, and so does each header in it
        raise InvalidInput(
            "image", file, f"cannot be read as NPZ ({error})", "store arrays of numbers in it"
        ) from error
    found = [Found(key, array, array.shape, array.dtype) for key, array in read.items()]
    return found if name else likely(found, least_side)
