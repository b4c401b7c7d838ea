"""What single columns lack or have beyond their mates, in one frame, and the lattice without that."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from restore.estimate.lattice.columns import Heights, heights_of
from restore.estimate.lattice.fit import refit
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.pairs import Numbers, Pairs
from restore.estimate.lattice.profile import Profile, profile_of

__all__ = ["heights_in", "with_defects"]


def heights_in(readings: Readings, fit: LatticeFit, profile: Profile | None) -> Heights | None:
    """The columns' own heights, from what the mean lattice leaves of the samples."""
    if profile is None:
        return None
    own, picture = fit.coordinates(readings.positions), fit.at(readings.positions)
    numbers = Numbers.of(torch.cat([own, fit.coordinates(_outline(readings))]), len(profile.heights))
    pairs = Pairs.of(numbers, profile, own, fit.amplitude_at(readings.positions))
    each = fit.noise / readings.weights.clamp_min(1e-9)

    def noise(added: Tensor) -> Tensor:
        return each * fit.relative_variance(picture + added)

    return heights_of(profile, numbers, pairs, readings.values - picture, noise)


def _outline(readings: Readings) -> Tensor:
    """Positions around the frame's edge, (k, 2)."""
    rows, cols = readings.shape
    y = torch.arange(rows, device=readings.positions.device, dtype=readings.positions.dtype)
    x = torch.arange(cols, device=readings.positions.device, dtype=readings.positions.dtype)
    sides = [torch.stack([y, torch.full_like(y, side)], 1) for side in (0, cols - 1)]
    ends = [torch.stack([torch.full_like(x, end), x], 1) for end in (0, rows - 1)]
    return torch.cat(sides + ends)


def with_defects(readings: Readings, fit: LatticeFit, rounds: int) -> tuple[LatticeFit, Heights | None]:
    """The fit without what single columns lack: smooth fields would otherwise take a part of it."""
    heights = heights_in(readings, fit, profile_of(fit.cell, fit.pair))
    for _ in range(rounds):
        if heights is None:
            break
        own, amplitude = fit.coordinates(readings.positions), fit.amplitude_at(readings.positions)
        ordinary = replace(readings, values=readings.values - heights.drawn(own, amplitude))
        fit = refit(ordinary, fit, 1)
        heights = heights_in(readings, fit, profile_of(fit.cell, fit.pair))
    return fit, heights
