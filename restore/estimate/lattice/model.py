"""A lattice with a bent field: the model, as values.

    sample = level(p) + amplitude(p) · cell(G (p − d(p))) + noise

with a cell of a few dozen harmonics and three smooth fields: level, amplitude and displacement d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.lattice.cell import Cell, look_up
from restore.estimate.lattice.splines import Splines

__all__ = ["Deviations", "LatticeFit", "Readings", "splines_of"]

_LEAST_VARIANCE = 0.1  # of the mean


@dataclass(frozen=True)
class Readings:
    """Samples of one frame for a fit, on a scale of their own.

    Attributes:
        values: (n,) float32; positions: (n, 2) in pixels; weights: (n,), 0 for what does not count.
        shape: of the frame.
    """

    values: Tensor
    positions: Tensor
    weights: Tensor
    shape: tuple[int, int]


@dataclass(frozen=True)
class Deviations:
    """Prior deviations: of level and amplitude (second differences of control values), and of curvature (per pixel)."""

    level: float
    amplitude: float
    curvature: float


@dataclass(frozen=True)
class LatticeFit:
    """One lattice: all that is needed to read it anywhere in the frame.

    Attributes:
        pair: reciprocal vectors (2, 2) in cycles per pixel, rows.
        cell: its mean cell.
        displacement: control values (2, k²) in pixels; amplitude, level: control values (k²,).
        precision: of the displacement's control values (2 k², 2 k²), the inverse of their covariance, y before x.
        noise: mean variance of a sample of weight 1 about the fit.
        deviations: prior ones of the fields, as the samples made them likely.
        counting: (a, b): relative to that mean the variance is a + b · picture, as counted electrons have it.
    """

    shape: tuple[int, int]
    pair: Tensor
    cell: Cell
    displacement: Tensor
    amplitude: Tensor
    level: Tensor
    precision: Tensor
    noise: float
    deviations: Deviations
    counting: tuple[float, float] = (1.0, 0.0)

    def relative_variance(self, picture: Tensor) -> Tensor:
        """The noise's variance relative to its mean where the lattice's picture has these values."""
        return (self.counting[0] + self.counting[1] * picture).clamp_min(_LEAST_VARIANCE)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lattice coordinates (n, 2) of positions (n, 2) in pixels."""
        bent = positions - splines_of(self.shape, self.displacement).at(positions) @ self.displacement.T
        return (bent.double() @ self.pair.T.double()).float()

    def amplitude_at(self, positions: Tensor) -> Tensor:
        """The lattice's amplitude at positions (n, 2): (n,)."""
        return splines_of(self.shape, self.amplitude).at(positions) @ self.amplitude

    def level_at(self, positions: Tensor) -> Tensor:
        """The mean level at positions (n, 2): (n,)."""
        return splines_of(self.shape, self.level).at(positions) @ self.level

    def at(self, positions: Tensor) -> Tensor:
        """The lattice's picture at positions (n, 2): (n,)."""
        values = look_up(self.cell.table()[:1], self.coordinates(positions))[0]
        return self.level_at(positions) + self.amplitude_at(positions) * values

    def field(self) -> Tensor:
        """The displacement on every pixel, (2, rows, cols) in pixels."""
        return splines_of(self.shape, self.displacement).image(self.displacement)

    def image_coordinates(self) -> Tensor:
        """Lattice coordinates of every pixel, (rows, cols, 2)."""
        rows, cols = self.shape
        field = self.field()
        y = torch.arange(rows, dtype=field.dtype, device=field.device)[:, None] - field[0]
        x = torch.arange(cols, dtype=field.dtype, device=field.device) - field[1]
        pair = self.pair.to(field.dtype)
        return torch.stack([pair[n, 0] * y + pair[n, 1] * x for n in (0, 1)], -1)


def splines_of(shape: tuple[int, int], control: Tensor) -> Splines:
    """The splines that control values (..., k²) are of."""
    return Splines(shape, round(control.shape[-1] ** 0.5))
