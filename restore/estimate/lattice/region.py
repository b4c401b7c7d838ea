"""Where in the frame a lattice is: in its own grain and not in the next, on a particle and not on the film around it.

What readings contradict is left out of the fit, which then contradicts more clearly what is not its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from restore.estimate.lattice.doubt import shares
from restore.estimate.lattice.fit import refit
from restore.estimate.lattice.model import LatticeFit, Readings

__all__ = ["EVERYWHERE", "at_readings", "of_region", "own_regions", "within"]

EVERYWHERE = 0.98
"""Mean of a region that needs no telling apart."""

_ROUNDS = 2
_HALF = 0.5


def own_regions(readings: Readings, fits: Sequence[LatticeFit]) -> tuple[list[LatticeFit], Tensor]:
    """The fits to their own parts of the readings, and how far each pixel belongs to each, (lattices, rows, cols)."""
    found = list(fits)
    regions = shares(readings, found)[:-1]
    for _ in range(_ROUNDS):
        if len(found) == 1 and float(regions.mean()) > EVERYWHERE:
            break
        found = [refit(of_region(readings, region), fit) for fit, region in zip(found, regions, strict=True)]
        regions = shares(readings, found)[:-1]
    return found, regions


def at_readings(readings: Readings, region: Tensor) -> Tensor:
    """A region (..., rows, cols) at the pixels of the readings, (..., n)."""
    rows, cols = readings.shape
    pixel = (readings.positions + 0.5).floor().long()
    return region[..., pixel[:, 0].clamp(0, rows - 1), pixel[:, 1].clamp(0, cols - 1)]


def within(readings: Readings, region: Tensor) -> Readings:
    """The readings, those of no weight that are less than half of the region (rows, cols)."""
    return replace(readings, weights=readings.weights * (at_readings(readings, region) >= _HALF))


def of_region(readings: Readings, region: Tensor) -> Readings:
    """Those of the readings that count and are at least half of the region (rows, cols)."""
    kept = within(readings, region).weights > 0
    return Readings(readings.values[kept], readings.positions[kept], readings.weights[kept], readings.shape)
