"""The mean cell of a lattice: a few dozen harmonics, fitted to samples that lie anywhere in any cell.

Every sample belongs somewhere in the one cell, so a frame's samples, folded, tell it many times over. Sums over samples
of products of harmonics are the transform of a histogram of where in the cell the samples lie: the normal matrix costs
one scatter and one small FFT, however many harmonics there are. Each harmonic's prior variance is learnt from the
samples: what its own power says, but no more than slower ones of the same cell leave likely.

References: Tipping 2001, J. Mach. Learn. Res. 1, 211 (a prior variance for each coefficient, by expectation
maximisation); Greengard & Lee 2004, SIAM Rev. 46, 443 (sums of waves at irregular places by FFT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DRAWN", "TABLE", "Cell", "CellSums", "harmonics_of", "look_up"]

TABLE = 128
"""The finely sampled cell has so many values along each of its sides."""

DRAWN = 256
"""The same of one that is read at its nearest value."""

_FOLDED = 256
_MOST = 84  # pairs of harmonics
_FASTEST = 0.5  # cycles per pixel
_RING = 6


def harmonics_of(pair: Tensor, samples: int, fastest: float = _FASTEST, most: int = _MOST) -> Tensor:
    """The slowest orders (m, 2) of a reciprocal lattice, in one half plane, rising in frequency; the mean is not one.

    Args:
        pair: reciprocal vectors (2, 2) in cycles per pixel.
        samples: at most an eighth as many coefficients are fitted.
    """
    line = torch.arange(-12, 13, device=pair.device)
    orders = torch.cartesian_prod(line, line)
    orders = orders[(orders[:, 0] > 0) | ((orders[:, 0] == 0) & (orders[:, 1] > 0))]
    frequency = (orders.to(pair.dtype) @ pair).norm(dim=1)
    rising = frequency.argsort()
    rising = rising[frequency[rising] < max(fastest, float(frequency.min()) * 1.01)]
    return orders[rising[: max(2, min(most, samples // 16))]]


@dataclass(frozen=True)
class Cell:
    """A periodic function of lattice coordinates, without its mean.

    Attributes:
        orders: harmonics (m, 2) in one half plane; coefficient: of each, complex (m,).
        prior: variance of each coefficient that the samples made likely, (m,).
        covariance: of the coefficients (2m, 2m), those of the mirrored harmonics after the others.
    """

    orders: Tensor
    coefficient: Tensor
    prior: Tensor
    covariance: Tensor

    def table(self, slower_than: float | None = None, pair: Tensor | None = None) -> Tensor:
        """The cell and its derivatives along both lattice coordinates on a fine grid, (3, TABLE, TABLE).

        Args:
            slower_than: leaves out harmonics faster than that, in cycles per pixel of ``pair``.
        """
        coefficient = self.coefficient
        if slower_than is not None and pair is not None:
            coefficient = coefficient * ((self.orders.to(pair.dtype) @ pair).norm(dim=1) < slower_than)
        half = coefficient.new_zeros(3, TABLE, TABLE)
        turns = 2j * math.pi * self.orders.to(coefficient.dtype)
        values = torch.stack([coefficient, coefficient * turns[:, 0], coefficient * turns[:, 1]])
        i, j = (self.orders % TABLE).unbind(1)
        half[:, i, j] = values
        return (2 * torch.fft.ifft2(half, norm="forward").real).float()

    def drawn(self) -> Tensor:
        """The cell on a grid fine enough to be read without interpolation, (DRAWN, DRAWN)."""
        half = self.coefficient.new_zeros(DRAWN, DRAWN)
        i, j = (self.orders % DRAWN).unbind(1)
        half[i, j] = self.coefficient
        return (2 * torch.fft.ifft2(half, norm="forward").real).float()

    def spread(self) -> Tensor:
        """Standard deviation of the cell on the fine grid, (TABLE, TABLE)."""
        both = torch.cat([self.orders, -self.orders])
        lags = both[:, None] - both[None]
        sums = self.covariance.new_zeros(TABLE, TABLE)
        sums.index_put_(((lags[..., 0] % TABLE), (lags[..., 1] % TABLE)), self.covariance, accumulate=True)
        return torch.fft.ifft2(sums, norm="forward").real.clamp_min(0).sqrt().float()

    def shifted(self, by: Tensor) -> Cell:
        """The same cell with its origin moved: its value at u is this one's at u + by (2,)."""
        turn = torch.exp(2j * math.pi * (self.orders.to(by.dtype) @ by))
        both = torch.cat([turn, turn.conj()])
        return Cell(
            self.orders, self.coefficient * turn, self.prior, self.covariance * both[:, None] * both.conj()[None]
        )


def look_up(table: Tensor, coordinates: Tensor) -> Tensor:
    """Tables (c, TABLE, TABLE) of periodic functions at lattice coordinates (..., 2), bilinearly: (c, ...)."""
    closed = F.pad(table[None], (0, 1, 0, 1), mode="circular")
    at = (coordinates - coordinates.floor()) * 2 - 1
    grid = at.flip(-1).reshape(1, 1, -1, 2).to(table.dtype)
    found = F.grid_sample(closed, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found.reshape(len(table), *coordinates.shape[:-1])


class CellSums:
    """What the fit of a cell needs of samples: sums that add up from frame to frame.

    Args:
        coordinates: lattice coordinates of the samples, (n, 2).
        values: (n,) without the mean level; amplitude: of the lattice at each sample (n,); weights: (n,).
    """

    def __init__(self, coordinates: Tensor, values: Tensor, amplitude: Tensor, weights: Tensor) -> None:
        where = ((coordinates - coordinates.floor()) * _FOLDED).round().long() % _FOLDED
        flat = where[:, 0] * _FOLDED + where[:, 1]
        folded = torch.zeros(2, _FOLDED * _FOLDED, dtype=torch.float64, device=values.device)
        weighted = (weights * amplitude).double()
        folded[0].index_add_(0, flat, weighted * amplitude)
        folded[1].index_add_(0, flat, weighted * values)
        self._transform = torch.fft.fft2(folded.unflatten(1, (_FOLDED, _FOLDED)))

    def add(self, earlier: CellSums, share: float) -> None:
        """Add a share of the sums of earlier frames."""
        self._transform += share * earlier._transform

    def _normal(self, orders: Tensor) -> tuple[Tensor, Tensor]:
        """Normal matrix (2m, 2m) and target (2m,) of harmonics and their mirror images."""
        both = torch.cat([orders, -orders])
        lags = (both[:, None] - both[None]) % _FOLDED
        i, j = (both % _FOLDED).unbind(1)
        return self._transform[0][lags[..., 0], lags[..., 1]], self._transform[1][i, j]

    def mean(self, cell: Cell, noise: float) -> Cell:
        """The posterior mean with the prior of a cell that is known; its covariance stays."""
        normal, target = self._normal(cell.orders)
        normal.diagonal().add_((noise / cell.prior.clamp_min(1e-30)).repeat(2))
        solved = torch.cholesky_solve(target[:, None], torch.linalg.cholesky(normal))[:, 0]
        return Cell(cell.orders, solved[: len(cell.orders)], cell.prior, cell.covariance)

    def fit(self, orders: Tensor, noise: float, prior: Tensor | None = None, rounds: int = 3) -> Cell:
        """The cell's posterior mean, its prior learnt in some rounds of expectation maximisation.

        Args:
            orders: from :func:`harmonics_of`.
            noise: variance of a sample of weight 1.
            prior: variances (m,) to begin with.
        """
        normal, target = self._normal(orders)
        # A first guess that no harmonic is held back by: all of the variance in each.
        count = normal[0, 0].real
        if prior is None:
            prior = (target.abs().square() / count.square())[: len(orders)].max().expand(len(orders)).clone()
        for _ in range(rounds):
            precision = (noise / prior.clamp_min(1e-30)).repeat(2)
            matrix = normal + torch.diag(precision).to(normal.dtype)
            inverse = torch.linalg.inv(matrix)
            coefficient = (inverse @ target)[: len(orders)]
            own = coefficient.abs().square() + noise * inverse.diagonal().real[: len(orders)]
            prior = _falling(own)
        return Cell(orders, coefficient, prior, noise * inverse)


def _falling(own: Tensor) -> Tensor:
    """Half of each harmonic's own power, half of what harmonics about as fast have, never rising with frequency."""
    rings = own.split(_RING)
    level = torch.stack([ring.mean() for ring in rings]).cummin(0).values
    ring = torch.cat([value.expand(len(part)) for value, part in zip(level, rings, strict=True)])
    return 0.5 * (torch.minimum(own, 4 * ring) + ring)
