"""The recipe of one scan path: what is registered with a microscope and with the restorer.

A recipe says everything that is needed to expand the path again anywhere, to the same positions; its
:attr:`PathRecipe.path_id` is the hash of its content. It is a value only: :func:`scancontrol.paths.solving.solve` finds
what its pattern leaves open, and :func:`scancontrol.paths.solving.expand` makes the path.
"""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.paths.geometry import Placement, Region, finite
from scancontrol.paths.patterns.adaptive import Adaptive
from scancontrol.paths.patterns.crossed import Crossable, Crossed
from scancontrol.paths.patterns.ede import EdeGrid, EdeSpiral
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.timing import Settle

__all__ = ["MAX_PIXELS", "AnyPattern", "PathRecipe"]

AnyPattern = Crossable | Points | Adaptive | EdeSpiral | EdeGrid | Crossed

MAX_PIXELS = 1 << 30
"""The largest frame, 32768²; a touched-pixel mask of it is 1 GiB."""


class PathRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scan path. ``shape`` is (rows, cols) of the frame; ``fov_nm`` its width.

    ``bend_px`` is (y, x) by which the region moves evenly while it is scanned, from the first sample to the end of the
    last one, in pixels: it follows a specimen that drifts. In the middle of the frame it lies as ``region`` says.

    Raises:
        InvalidInput: a quantity cannot be, or the path would leave the field of view.
    """

    pattern: AnyPattern
    shape: tuple[int, int]
    fov_nm: float
    dwell_us: float
    region: Region = Region()
    rotation_deg: float = 0.0
    settle: Settle | None = None
    dac_bits: int | None = None
    clock_mhz: float | None = None
    bend_px: tuple[float, float] | msgspec.UnsetType = msgspec.UNSET  # of straight paths in no recipe and no id

    @property
    def path_id(self) -> str:
        """BLAKE2b-128 of the canonical MessagePack encoding, in hex; equal recipes have equal ids anywhere."""
        # Decoding turns whole numbers given where a float belongs into floats, so that 2 and 2.0 hash alike.
        canonical = msgspec.msgpack.decode(msgspec.msgpack.encode(self), type=PathRecipe)
        return hashlib.blake2b(msgspec.msgpack.encode(canonical, order="deterministic"), digest_size=16).hexdigest()

    @property
    def placement(self) -> Placement:
        """Where the pattern lies in the field."""
        return Placement(self.shape, self.region, self.rotation_deg)

    @property
    def pixel_size_nm(self) -> float:
        """Side of a (square) pixel."""
        return self.fov_nm / self.shape[1]

    def __post_init__(self) -> None:
        rows, cols = self.shape
        if min(rows, cols) < 2 or rows * cols > MAX_PIXELS:
            raise InvalidInput(
                "shape",
                f"{rows} x {cols}",
                f"is outside 2 x 2 to {MAX_PIXELS} pixels",
                "give (rows, cols) such as [512, 512]",
            )
        for name, unit in (("fov_nm", "nanometres"), ("dwell_us", "microseconds")):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(name, value, "is not a finite number above 0", f"give it in {unit}")
        if self.dac_bits is not None and not 4 <= self.dac_bits <= 32:
            raise InvalidInput("dac_bits", self.dac_bits, "is outside 4 to 32", "state the hardware's resolution")
        if self.clock_mhz is not None:
            finite("clock_mhz", self.clock_mhz)
            if self.clock_mhz <= 0:
                raise InvalidInput("clock_mhz", self.clock_mhz, "is not above 0", "state the hardware's clock")
        if isinstance(self.pattern, Points) and self.pattern.file is not None:
            raise InvalidInput("file", self.pattern.file, "has not been read", "load the plan with load_plan")
        placement = Placement(self.shape, self.region, self.rotation_deg)  # refuses what would leave the field
        if isinstance(self.bend_px, tuple):
            _check_bend(self.bend_px, placement)
            if not any(self.bend_px):
                msgspec.structs.force_setattr(self, "bend_px", msgspec.UNSET)  # the same path has the same id


def _check_bend(bend_px: tuple[float, float], placement: Placement) -> None:
    """Whether the region stays inside the field from the first sample to the last."""
    for way in bend_px:
        finite("bend_px", way)
    room = placement.room
    beyond = float(np.max(np.abs(bend_px) / placement.shape / 2 - room))
    if beyond > 1e-9:
        raise InvalidInput(
            "bend_px",
            f"{bend_px[0]:g}, {bend_px[1]:g}",
            f"carries the region {beyond:.4g} of the field of view outside the field",
            "bend it less, or shrink the region",
        )
