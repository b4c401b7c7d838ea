"""One image out of a file, and everything that was done to it on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["MAX_PIXELS", "Found", "Image", "chosen", "finished", "likely"]

MAX_PIXELS = 1 << 28

_FLOAT32_MAX = 1e30  # beyond it sums of squares overflow
_FLOAT32_MIN = 1e-30
_COLOURS = (("R", "G", "B"), ("R", "G", "B", "A"))  # HyperSpy's


@dataclass(frozen=True)
class Found:
    """One image that a file holds, not yet read into numbers of ours.

    ``no_picture`` says in words why its values are no picture of a place, where the file says so; ``by_columns``:
    they are stored (cols, rows).
    """

    name: str  # how it is chosen: FILE::NAME
    pixels: Any  # an array, or something that becomes one
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixel_nm: tuple[float, float] | None = None
    said: tuple[str, ...] = ()
    no_picture: str = ""
    by_columns: bool = False


@dataclass(frozen=True)
class Image:
    """A micrograph.

    Attributes:
        pixels: float32 (rows, cols), finite.
        stored_as: the type and shape in the file, in words.
        pixel_nm: height and width of a pixel, where the file says them.
        said: what was chosen, converted or left out, in sentences.
    """

    pixels: NDArray[np.float32]
    stored_as: str
    pixel_nm: tuple[float, float] | None = None
    said: tuple[str, ...] = field(default=())


def likely(found: list[Found], least_side: int) -> list[Found]:
    """Those that are an image; if none is, those that are large enough, to be refused by name."""
    sides = [(one, _long_sides(one.shape)) for one in found]
    large = [(one, long) for one, long in sides if sum(length >= least_side for length in long) > 1]
    return [one for one, long in large if len(long) == 2 and _is_real(one)] or [one for one, _ in large]


def _is_real(one: Found) -> bool:
    return not one.no_picture and (one.dtype.kind in "uifb" or one.dtype.names in _COLOURS)


def _long_sides(shape: tuple[int, ...]) -> list[int]:
    """The lengths of the axes but those of one, and that of colours."""
    lengths = [length for length in shape if length > 1]
    return lengths[:-1] if len(lengths) == 3 and lengths[-1] in (3, 4) else lengths


def chosen(path: Path, found: list[Found], name: str) -> Found:
    """The one image that is meant.

    Raises:
        InvalidInput: there is none, or several of which none is named.
    """
    listed = ", ".join(f"{one.name} {_described(one)}" for one in found[:20])
    if name:
        named = [one for one in found if one.name == name] or [one for one in found if one.name.endswith(f"/{name}")]
        if len(named) != 1:
            wrong = "is not in the file" if not named else f"is the name of {len(named)} images"
            raise InvalidInput("image", f"{path}::{name}", wrong, f"name one of: {listed or 'nothing'}")
        return named[0]
    if not found:
        raise InvalidInput("image", path, "holds no image of two dimensions", "store (rows, cols) in it")
    if len(found) > 1:
        raise InvalidInput(
            "image", path, f"holds {len(found)} images: {listed}", f"name one, as in {path.name}::{found[0].name}"
        )
    return found[0]


def finished(path: Path, one: Found, least_side: int) -> Image:
    """The chosen image as float32.

    Raises:
        InvalidInput: it is no image of real, finite numbers with some contrast and sides of ``least_side`` at least.
    """
    if one.no_picture:
        raise InvalidInput("image", path, one.no_picture, "give an image of real space")
    if math.prod(one.shape) > MAX_PIXELS:
        raise InvalidInput("image", path, f"has {math.prod(one.shape)} pixels, above {MAX_PIXELS}", "crop or bin it")
    array, said = _flat(path, one, list(one.said))
    if array.ndim != 2 or min(array.shape) < least_side:
        shape = " x ".join(map(str, array.shape))
        raise InvalidInput(
            "image", path, f"is {shape}, not (rows, cols) with sides of {least_side} px or more", "leave it out"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InvalidInput("image", path, f"holds NaN or Inf in {bad} pixels", "mask or replace them, or leave it out")
    low, high = array.min(), array.max()
    if low == high:
        raise InvalidInput("image", path, f"is of one grey level, {low:g}", "leave it out: it shows nothing")
    pixels, changed = _as_float32(array, float(low), float(high))
    if changed:
        said.append(changed)
    return Image(pixels, _described(one, types_first=True), one.pixel_nm, tuple(said))


def _described(one: Found, *, types_first: bool = False) -> str:
    shape = " x ".join(map(str, one.shape))
    kind = "colours" if one.dtype.names in _COLOURS else str(one.dtype)
    return f"{kind} {shape}" if types_first else f"{shape} {kind}"


def _flat(path: Path, one: Found, said: list[str]) -> tuple[NDArray[Any], list[str]]:
    """Real numbers (rows, cols): axes of one left out, colours averaged."""
    array = np.asarray(one.pixels)
    if one.dtype.names in _COLOURS:
        array = np.stack([array[name] for name in one.dtype.names], axis=-1)
    if array.dtype.names is not None or array.dtype.kind not in "uifb":
        kind = "complex numbers" if array.dtype.kind == "c" else f"values of the type {array.dtype}"
        raise InvalidInput("image", path, f"holds {kind}", "store its modulus, or another real image, and name that")
    if array.ndim > 2 and array.shape[-1] not in (3, 4):
        array = array.squeeze()
    elif array.ndim > 3:
        array = array.reshape([length for length in array.shape[:-1] if length > 1] + [array.shape[-1]])
    if array.ndim == 3 and array.shape[-1] in (3, 4) and array.shape[0] > 4:
        if array.shape[-1] == 4:
            said.append("its transparency is left out")
        if (array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all():
            return array[..., 0], said
        said.append("colours averaged to grey")
        return array[..., :3].astype(np.float64).mean(axis=-1), said
    if array.ndim > 2:
        shape = " x ".join(map(str, array.shape))
        kind = "a stack or spectra, no image" if array.ndim == 3 else f"of {array.ndim} dimensions, no image"
        raise InvalidInput("image", path, f"is {shape}, {kind}", "store one image (rows, cols) of it, and name that")
    return array.T if one.by_columns else array, said


def _as_float32(array: NDArray[Any], low: float, high: float) -> tuple[NDArray[np.float32], str]:
    """Single precision, shifted and scaled where it could not tell the values apart as they are."""
    span, largest = high - low, max(abs(low), abs(high))
    if largest < _FLOAT32_MAX and span > _FLOAT32_MIN and span > 1e-4 * largest:
        return np.ascontiguousarray(array, dtype=np.float32), ""
    wide = array.astype(np.float64) / (largest if largest >= _FLOAT32_MAX else 1.0)
    low = float(wide.min())
    span = float(wide.max()) - low
    scaled = np.ascontiguousarray((wide - low) / span, dtype=np.float32)
    return (
        scaled,
        f"shifted and scaled from {array.min():.9g} to {array.max():.9g} to 0 to 1: single precision would lose them",
    )
