"""One image out of a file, and everything that was done to it on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["Found", "Image", "chosen", "finished"]

_FLOAT32_MAX = 1e30  # beyond it sums of squares overflow
_FLOAT32_MIN = 1e-30


@dataclass(frozen=True)
class Found:
    """One image that a file holds, not yet read into numbers of ours."""

    name: str  # how it is chosen: FILE::NAME
    pixels: Any  # an array, or something that becomes one
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixel_nm: tuple[float, float] | None = None
    said: tuple[str, ...] = ()


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


def chosen(path: Path, found: list[Found], name: str) -> Found:
    """The one image that is meant.

    Raises:
        InvalidInput: there is none, or several of which none is named.
    """
    listed = ", ".join(f"{one.name} {' x '.join(map(str, one.shape))} {one.dtype}" for one in found[:20])
    if name:
        named = [one for one in found if one.name == name] or [one for one in found if one.name.endswith(f"/{name}")]
        if len(named) != 1:
            raise InvalidInput("image", f"{path}::{name}", "is not in the file", f"name one of: {listed or 'nothing'}")
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
    said = list(one.said)
    if one.dtype.names is not None or one.dtype.kind not in "uifb":
        kind = "complex numbers" if one.dtype.kind == "c" else f"values of the type {one.dtype}"
        raise InvalidInput("image", path, f"holds {kind}", "store its modulus, or another real image, and name that")
    array = np.asarray(one.pixels)
    colours = array.ndim == 3 and array.shape[-1] in (3, 4) and array.shape[0] > 4
    if colours:
        if (array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all():
            array = array[..., 0]
        else:
            array = array[..., :3].astype(np.float64).mean(axis=-1)
            said.append("colours averaged to grey")
    elif array.ndim > 2:
        squeezed = array.squeeze()
        if squeezed.ndim != 2:
            shape = " x ".join(map(str, array.shape))
            kind = "a stack" if squeezed.ndim == 3 else "no image"
            raise InvalidInput(
                "image", path, f"is {shape}, {kind}", "store one image (rows, cols) of it, and name that"
            )
        array = squeezed
    if array.ndim != 2 or min(array.shape) < least_side:
        raise InvalidInput(
            "image",
            f"{path} {array.shape}",
            f"is not (rows, cols) with sides of {least_side} px or more",
            "leave it out",
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
    stored = f"{one.dtype} {' x '.join(map(str, one.shape))}"
    return Image(pixels, stored, one.pixel_nm, tuple(said))


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
