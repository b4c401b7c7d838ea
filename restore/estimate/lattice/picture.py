"""A lattice drawn on every pixel: the cell read at its nearest fine value, columns by their number.

Whole numbers all the way: a frame of 512 × 512 takes a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.cell import DRAWN
from restore.estimate.lattice.columns import Heights
from restore.estimate.lattice.model import LatticeFit, splines_of
from restore.estimate.lattice.profile import Profile

__all__ = ["Picture", "draw"]

_BITS = DRAWN.bit_length() - 1


@dataclass(frozen=True)
class Picture:
    """A lattice on every pixel, (rows, cols) each, on the scale of its fit.

    Attributes:
        values: level, cell and what single columns have of their own.
        half_width: of a 90 % interval, for columns of which little was told.
    """

    values: Tensor
    half_width: Tensor


def draw(fit: LatticeFit, heights: Heights | None) -> Picture:
    """The lattice's picture."""
    rows, cols = fit.shape
    fine = fit.image_coordinates().mul_(DRAWN).round_().int()
    first, second = fine[..., 0].flatten(), fine[..., 1].flatten()
    within = ((first & (DRAWN - 1)) << _BITS) | (second & (DRAWN - 1))
    lattice = fit.cell.drawn().flatten()[within]
    amplitude = splines_of(fit.shape, fit.amplitude).image(fit.amplitude).flatten()
    width = torch.zeros_like(lattice)
    if heights is not None:
        numbers, profile = heights.numbers, heights.profile
        low, span = numbers.low.tolist(), numbers.span.tolist()
        for kind, place in enumerate((profile.places * DRAWN).round().int().tolist()):
            cell = [(x + (DRAWN // 2 - place[n])) >> _BITS for n, x in enumerate((first, second))]
            number = ((cell[0] - low[0]) * span[1] + (cell[1] - low[1])) * numbers.kinds + kind
            number = number.clamp_(0, numbers.count - 1)
            shape = _shape(profile, kind).flatten()[within]
            lattice += shape * heights.shown[number]
            width = torch.maximum(width, shape.abs() * heights.half_width[number])
    level = splines_of(fit.shape, fit.level).image(fit.level).flatten()
    values = torch.addcmul(level, amplitude, lattice)
    return Picture(values.reshape(rows, cols), (width * amplitude.abs()).reshape(rows, cols))


def _shape(profile: Profile, kind: int) -> Tensor:
    """One column's height and profile around it, over the cell that it is the middle of: (DRAWN, DRAWN)."""
    line = torch.arange(DRAWN, device=profile.places.device) / DRAWN
    off = torch.cartesian_prod(line, line) - profile.places[kind]
    distance2 = ((off - off.round()) @ profile.vectors).square().sum(1)
    return (profile.heights[kind] * torch.exp(distance2 * (-0.5 / profile.sigma_px**2))).reshape(DRAWN, DRAWN)
