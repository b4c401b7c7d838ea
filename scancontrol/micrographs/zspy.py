"""zarr stores, HyperSpy's ``.zspy`` among them: a folder, or a ZIP of one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.micrographs.image import Found
from scancontrol.micrographs.tree import images_of

__all__ = ["SUFFIXES", "images_in"]

SUFFIXES = (".zspy", ".zarr")


def images_in(path: Path, name: str, least_side: int) -> list[Found]:
    """The arrays of a zarr store that can be an image, as :func:`scancontrol.micrographs.hdf5.images_in`.

    Raises:
        InvalidInput: the store cannot be read, or the package that reads it is missing.
    """
    try:
        import zarr
    except ImportError as error:
        raise InvalidInput("image", path, "needs the package zarr", "pip install 'scancontrol[readers]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zarr, on codecs outside of its specification
            if path.is_dir():
                return _images(zarr.open(str(path), mode="r"), name, least_side)
            with zarr.storage.ZipStore(path, mode="r") as store:
                return _images(zarr.open(store, mode="r"), name, least_side)
    except Exception as error:  # a store is damaged in as many ways as it has files
        problem = f"cannot be read as zarr ({str(error)[:200] or type(error).__name__})"
        raise InvalidInput("image", path, problem, "replace or remove it") from error


def _images(root: Any, name: str, least_side: int) -> list[Found]:
    if hasattr(root, "dtype"):  # an array alone
        return [Found("", root[...], root.shape, root.dtype)]
    arrays = [(at, item) for at, item in sorted(root.members(max_depth=None)) if hasattr(item, "dtype")]
    return images_of(root, arrays, name, least_side)
