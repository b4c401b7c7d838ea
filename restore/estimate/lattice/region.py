"""Where in the frame a lattice is: in its own grain and not in the next, on a particle and not on the film around it.

What readings contradict is left out of the fit, which then contradicts more clearly what is not its own.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from restore.estimate.lattice.doubt import doubt
from restore.estimate.lattice.fit import refit
from restore.estimate.lattice.model import LatticeFit, Readings

__all__ = ["at_readings", "own_region", "within"]

_ROUNDS = 2
_HALF = 0.5
_EVERYWHERE = 0.98  # mean of a region that needs no telling apart


def own_region(readings: Readings, fit: LatticeFit) -> tuple[LatticeFit, Tensor]:
    """The fit to its own part of the readings, and how far each pixel belongs to that, 0 to 1, (rows, cols)."""
    region = 1 - doubt(readings, fit)
    for _ in range(_ROUNDS):
        if float(region.mean()) > _EVERYWHERE:
            break
        fit = refit(within(readings, region), fit)
        region = 1 - doubt(readings, fit)
    return fit, region


def at_readings(readings: Readings, region: Tensor) -> Tensor:
    """A region (rows, cols) at the pixels of the readings, (n,)."""
    rows, cols = readings.shape
    pixel = (readings.positions + 0.5).floor().long()
    return region[pixel[:, 0].clamp(0, rows - 1), pixel[:, 1].clamp(0, cols - 1)]


def within(readings: Readings, region: Tensor) -> Readings:
    """The readings, those of no weight that are less than half of the region (rows, cols)."""
    return replace(readings, weights=readings.weights * (at_readings(readings, region) >= _HALF))
