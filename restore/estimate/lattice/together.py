"""The lattices of a frame as one picture: each in its own region, with an interval that knows defects and doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.cell import CellSums
from restore.estimate.lattice.columns import Heights
from restore.estimate.lattice.doubt import guessed, spread_around
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.picture import Picture, draw
from restore.estimate.lattice.region import at_readings

__all__ = ["Grain", "at_samples", "drawn_together", "lattice_at"]


@dataclass(frozen=True)
class Grain:
    """One lattice and what is its own.

    Attributes:
        fit: the lattice; heights: of its columns, if it has any; both on the scale of the fit.
        region: how far each pixel is its own, 0 to 1, (rows, cols).
        sums: of the cell, that the next frame adds to.
    """

    fit: LatticeFit
    heights: Heights | None
    region: Tensor
    sums: CellSums | None = None


def lattice_at(fit: LatticeFit, heights: Heights | None, positions: Tensor) -> Tensor:
    """A lattice with its defects at positions (n, 2), (n,)."""
    if heights is None:
        return fit.at(positions)
    return fit.at(positions) + heights.drawn(fit.coordinates(positions), fit.amplitude_at(positions))


def at_samples(readings: Readings, grains: Sequence[Grain]) -> Tensor:
    """All lattices at the readings, each as far as they are its own, (n,)."""
    found = torch.zeros_like(readings.values)
    for grain in grains:
        picture = lattice_at(grain.fit, grain.heights, readings.positions)
        found += picture * at_readings(readings, grain.region)
    return found


def drawn_together(readings: Readings, grains: Sequence[Grain], likely: Tensor) -> Picture:
    """All lattices on every pixel, (rows, cols) each, and the half-width of a 90 % interval.

    Args:
        likely: how likely the readings around each pixel are of each lattice, (lattices, rows, cols).
    """
    regions = torch.stack([grain.region for grain in grains])
    most, nearest = likely.max(0)
    pictures = [draw(grain.fit, grain.heights) for grain in grains]
    values = sum((p.values * r for p, r in zip(pictures, regions, strict=True)), torch.zeros_like(most))
    anything = spread_around(readings, [grain.fit for grain in grains])
    widths = [
        torch.maximum(p.half_width, guessed(g.fit, g.heights, 1 - most, anything))
        for p, g in zip(pictures, grains, strict=True)
    ]
    return Picture(values, torch.stack(widths).gather(0, nearest[None])[0])
