"""Where a pattern lies in the field of view: region, rotation, and the pixels that it counts in.

Patterns are laid out on a :class:`Canvas`, the region's size in pixels, as fractions of the region. This
module carries them into fractions of the field of view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = ["Canvas", "Placement", "Region", "finite", "on_dac", "pixel_index"]

LAST_FRACTION = math.nextafter(1.0, 0.0)
"""The largest position inside the field of view: positions lie in [0, 1)."""


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rectangle that a pattern fills, in fractions of the field of view; the whole field by default.

    It is turned by the plan's ``rotation_deg`` about its own centre, and has to lie inside the field when turned.

    Raises:
        InvalidInput: the region has no area, or leaves the field.
    """

    y: float = 0.0
    x: float = 0.0
    height: float = 1.0
    width: float = 1.0

    def __post_init__(self) -> None:
        for start, size, name, extent in ((self.y, self.height, "y", "height"), (self.x, self.width, "x", "width")):
            finite(f"region.{name}", start)
            finite(f"region.{extent}", size)
            if size <= 0:
                raise InvalidInput(f"region.{extent}", size, "is not above 0", "give the region an area")
            if start < 0 or start + size > 1 + 1e-9:
                raise InvalidInput(
                    f"region.{name} to region.{name} + {extent}",
                    f"{start:g} to {start + size:g}",
                    "is outside the field of view, 0 to 1",
                    "move or shrink the region",
                )


@dataclass(frozen=True)
class Canvas:
    """The size of the region in pixels of the frame; not whole numbers in general."""

    height_px: float
    width_px: float

    @property
    def pixels(self) -> float:
        """The region's area in pixels."""
        return self.height_px * self.width_px


@dataclass(frozen=True)
class Placement:
    """Carries fractions of a region into fractions of the field of view, turning them in real space.

    Raises:
        InvalidInput: the turned region leaves the field of view.
    """

    shape: tuple[int, int]
    region: Region
    rotation_deg: float

    @property
    def canvas(self) -> Canvas:
        """The region's size in pixels."""
        return Canvas(self.region.height * self.shape[0], self.region.width * self.shape[1])

    def __post_init__(self) -> None:
        finite("rotation_deg", self.rotation_deg)
        corners = self.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), clip=False)
        outside = float(max(-corners.min(), corners.max() - 1))
        if outside > 1e-9:
            centre = np.array([self.region.y + self.region.height / 2, self.region.x + self.region.width / 2])
            reach = np.abs(corners - centre).max(axis=0)
            room = np.minimum(centre, 1 - centre)
            scale = math.floor(float((room / reach).min()) * 1e4) / 1e4
            raise InvalidInput(
                "rotation_deg",
                f"{self.rotation_deg:g}",
                f"turns a corner of the region {outside:.4g} of the field of view outside the field",
                f"shrink the region's height and width about its centre to {scale:.4f} of what they are, "
                "or turn it less",
            )

    @property
    def room(self) -> NDArray[np.float64]:
        """How far the region can move both ways along y and along x before it leaves the field, in fractions, (2,)."""
        corners = self.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), clip=False)
        return np.asarray(np.maximum(np.minimum(corners.min(0), 1 - corners.max(0)), 0.0))

    def outline(self) -> NDArray[np.float64] | None:
        """The corners (4, 2) of the region, (y, x) in fractions of the field; None where it is the whole field."""
        if self.region == Region() and self.rotation_deg % 180 == 0:
            return None
        return self.to_field(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), clip=False)

    def to_field(self, fractions: NDArray[np.float64], *, clip: bool = True) -> NDArray[np.float64]:
        """Positions (n, 2) in fractions of the field from fractions of the region; rounding is kept inside."""
        region = self.region
        placed = np.empty_like(fractions)
        if self.rotation_deg % 360 == 0:
            if region == Region():
                np.copyto(placed, fractions)  # already in [0, 1)
                return placed
            for axis, (start, size) in enumerate(((region.y, region.height), (region.x, region.width))):
                np.multiply(fractions[:, axis], size, out=placed[:, axis])
                placed[:, axis] += start
        else:
            rows, cols = self.shape
            cosine, sine = _turn(self.rotation_deg)
            dy = (fractions[:, 0] - 0.5) * (region.height * rows)
            dx = (fractions[:, 1] - 0.5) * (region.width * cols)
            placed[:, 0] = (dy * cosine + dx * sine) / rows + (region.y + region.height / 2)
            placed[:, 1] = (dx * cosine - dy * sine) / cols + (region.x + region.width / 2)
        if clip:
            np.maximum(placed, 0.0, out=placed)
            np.minimum(placed, LAST_FRACTION, out=placed)
        return placed


def _turn(rotation_deg: float) -> tuple[float, float]:
    """Cosine and sine, exact for whole quarter turns so that four of them are none."""
    quarters = rotation_deg / 90
    if quarters == round(quarters):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[round(quarters) % 4]
    angle = math.radians(rotation_deg)
    return math.cos(angle), math.sin(angle)


def on_dac(positions: NDArray[np.float64], dac_bits: int | None) -> NDArray[np.float64]:
    """``positions`` (n, 2) put on the nearest codes of the DAC, in place; as they are where no DAC is stated."""
    if dac_bits is not None:
        codes = float(1 << dac_bits)
        positions *= codes
        np.rint(positions, out=positions)
        np.minimum(positions, codes - 1, out=positions)
        positions *= 1 / codes  # a power of two: exact
    return positions


def pixel_index(positions: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Flat index (n,) of the pixel that holds each position (n, 2), given in fractions of the field in [0, 1)."""
    rows, cols = shape
    index: NDArray[np.int64] = (positions[:, 0] * rows).astype(np.int64)
    index *= cols
    index += (positions[:, 1] * cols).astype(np.int64)
    return index


def finite(quantity: str, value: float) -> None:
    """Check that ``value`` is a finite number.

    Raises:
        InvalidInput: it is infinite or NaN.
    """
    if not math.isfinite(value):
        raise InvalidInput(quantity, value, "is not finite", "give a finite number")
