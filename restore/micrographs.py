"""Micrographs on disk: one image of any common format as an array in the file's own units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scancontrol.errors import InvalidInput

__all__ = ["SUFFIXES", "load_image"]

SUFFIXES = (".tif", ".tiff", ".png", ".webp", ".npy", ".h5", ".hdf5", ".hspy")
_MIN_SIDE = 64


def load_image(path: Path) -> np.ndarray:
    """One single-channel image (rows, cols) as float32, in the file's own units.

    Colour is averaged; of an HDF5 file the first two-dimensional dataset is read.

    Raises:
        InvalidInput: the file cannot be read, holds no image, is smaller than 64 × 64, holds NaN or Inf, or is of
            one grey level.
    """
    try:
        pixels = _read(path)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput("image", path, f"cannot be read ({error})", "replace or remove the file") from error
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        pixels = pixels[..., :3].mean(-1)
    if pixels.ndim != 2 or min(pixels.shape) < _MIN_SIDE:
        raise InvalidInput(
            "image", f"{path} {pixels.shape}", "is not (rows, cols) with sides ≥ 64", "crop or remove it"
        )
    if not np.isfinite(pixels).all():
        raise InvalidInput("image", path, "holds NaN or Inf", "mask or replace those pixels, or remove it")
    image = np.ascontiguousarray(pixels, dtype=np.float32)
    if image.max() == image.min():
        raise InvalidInput("image", path, "is of one grey level", "remove it: nothing can be learnt from it")
    return image


def _read(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if suffix in (".h5", ".hdf5", ".hspy"):
        import h5py  # only users of HDF5 pay for it

        with h5py.File(path, "r") as file:
            found: list[str] = []
            file.visititems(
                lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim == 2 else None
            )
            if not found:
                raise InvalidInput("image", path, "holds no two-dimensional dataset", "store (rows, cols) in it")
            return np.asarray(file[found[0]])
    with Image.open(path) as file:
        if file.mode in ("I;16", "I;16B", "I;16L", "I", "F", "L"):
            return np.asarray(file)
        return np.asarray(file.convert("L"))
