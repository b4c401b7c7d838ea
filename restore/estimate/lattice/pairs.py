"""Which samples tell of which columns of a lattice: columns by number, and the pairs of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.profile import Profile

__all__ = ["Numbers", "Pairs"]

_REACH = 2.5  # deviations of a column's profile
_MARGIN = 3  # cells around the frame: a stream drifts


@dataclass(frozen=True)
class Numbers:
    """Lattice translations that the frame holds, numbered."""

    low: Tensor
    span: Tensor
    kinds: int

    @classmethod
    def of(cls, coordinates: Tensor, kinds: int) -> Numbers:
        flat = coordinates.reshape(-1, 2)
        low = flat.amin(0).floor().long() - _MARGIN
        return cls(low, flat.amax(0).ceil().long() + _MARGIN + 1 - low, kinds)

    @property
    def count(self) -> int:
        return int(self.span.prod()) * self.kinds

    def nearest(self, coordinates: Tensor, profile: Profile, kind: int) -> tuple[Tensor, Tensor]:
        """The number of the nearest column of a kind, and the squared distance to it in pixels, of (..., 2)."""
        off = coordinates - profile.places[kind]
        cell = off.round()
        place = (off - cell) @ profile.vectors
        at = (cell.long() - self.low).clamp_min(0)
        at = torch.minimum(at, self.span - 1)
        return (at[..., 0] * self.span[1] + at[..., 1]) * self.kinds + kind, place.square().sum(-1)

    def coordinates(self, profile: Profile) -> Tensor:
        """Lattice coordinates (count, 2) of every column."""
        lines = [
            torch.arange(int(n), device=self.low.device) + int(low) for n, low in zip(self.span, self.low, strict=True)
        ]
        cells = torch.cartesian_prod(*lines)
        return (cells[:, None] + profile.places[None]).flatten(0, 1)


@dataclass(frozen=True)
class Pairs:
    """Which samples tell of which columns: parallel arrays (k,).

    Attributes:
        sample, column: numbers of both; shape: what height 1 of the column adds to the sample.
        close: whether the sample fell within one deviation of the column's profile.
        columns: how many there are.
    """

    sample: Tensor
    column: Tensor
    shape: Tensor
    close: Tensor
    columns: int

    @classmethod
    def of(cls, numbers: Numbers, profile: Profile, coordinates: Tensor, amplitude: Tensor) -> Pairs:
        """All samples within reach of columns."""
        found = []
        for kind, height in enumerate(profile.heights.tolist()):
            number, distance2 = numbers.nearest(coordinates, profile, kind)
            near = (distance2 < (_REACH * profile.sigma_px) ** 2).nonzero()[:, 0]
            shape = torch.exp(distance2[near] * (-0.5 / profile.sigma_px**2)) * height * amplitude[near]
            found.append((near, number[near], shape, distance2[near] < profile.sigma_px**2))
        sample, column, shape, close = (torch.cat(parts) for parts in zip(*found, strict=True))
        return cls(sample, column, shape, close, numbers.count)

    def sums(self, values: Tensor) -> Tensor:
        """Values (k,) summed for each column."""
        return values.new_zeros(self.columns).index_add_(0, self.column, values)

    def explained(self, deviation: Tensor, samples: int) -> Tensor:
        """What columns' deviations add to each of so many samples, (samples,)."""
        added = self.shape * deviation[self.column]
        return added.new_zeros(samples).index_add_(0, self.sample, added)
