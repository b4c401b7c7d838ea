"""Where the readings contradict a lattice: at boundaries, in another grain, where nothing is crystalline.

A single reading that no ordinary column can have given is a defect or chance. Where many of a neighbourhood are such,
it is the lattice that is wrong there, and what it says of every place between them is a guess, on columns and off.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.lattice.columns import Heights
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of

__all__ = ["doubt", "guessed"]

_CONTRADICTS = 3.0  # deviations of a reading
_PERIODS = 1.25  # deviation of the neighbourhood, at least
_SAMPLES = 12.0  # in it, at least
_AGREEING = 2.0  # readings that agree with the lattice are taken to be there beside those that were made
_SHARES = (0.07, 0.22)  # of contradicting readings: at the first nothing is doubted, at the second everything
_GUESSED = 1.0  # half-width of the interval where most is doubted, relative to the highest column
_MOST = 0.67
_MEDIAN = 0.4549  # of a squared normal deviate


def doubt(readings: Readings, fit: LatticeFit) -> Tensor:
    """How far the readings around each pixel contradict the lattice, 0 to 1, (rows, cols)."""
    rows, cols = fit.shape
    picture = fit.at(readings.positions)
    squares = readings.weights * (readings.values - picture).square() / fit.relative_variance(picture)
    counts = (readings.weights > 0).to(squares.dtype)
    noise = min(fit.noise, float(squares[readings.weights > 0].median()) / _MEDIAN)
    against = counts * (squares > _CONTRADICTS**2 * noise)
    spread = max(
        _PERIODS / float(fit.pair.norm(dim=1).max()),
        (_SAMPLES * rows * cols / (4 * math.pi * float(counts.sum()))) ** 0.5,
    )
    known, contradicts = _around(readings, spread, torch.stack([counts, against]))
    share = contradicts / (known + _AGREEING)
    doubted = ((share - _SHARES[0]) / (_SHARES[1] - _SHARES[0])).clamp(0, 1)
    return F.interpolate(doubted[None, None], fit.shape, mode="bilinear", align_corners=False)[0, 0]


def guessed(fit: LatticeFit, heights: Heights | None, doubted: Tensor) -> Tensor:
    """Half-width (rows, cols) of a 90 % interval of what is doubted so far, on the scale of the fit."""
    table = fit.cell.table()[0]
    highest = float(table.max() - table.min()) if heights is None else float(heights.profile.heights.abs().max())
    amplitude = splines_of(fit.shape, fit.amplitude).image(fit.amplitude)
    return (doubted / _MOST).clamp_max(1) * (_GUESSED * highest) * amplitude.abs()


def _around(readings: Readings, spread_px: float, values: Tensor) -> Tensor:
    """Sums of values (c, n) of readings under a Gaussian about each place of a coarse grid, (c, y, x)."""
    size = [max(2, round(2 * n / spread_px)) for n in readings.shape]
    scale = readings.positions.new_tensor([n / side for n, side in zip(size, readings.shape, strict=True)])
    cell = ((readings.positions + 0.5) * scale).long()
    index = cell[:, 0].clamp(0, size[0] - 1) * size[1] + cell[:, 1].clamp(0, size[1] - 1)
    grid = values.new_zeros(len(values), size[0] * size[1]).index_add_(1, index, values).unflatten(1, size)
    line = torch.exp(-0.5 * (torch.arange(-5, 6, device=values.device) / 2.0) ** 2)
    down = F.conv2d(grid[:, None], line[None, None, :, None], padding=(5, 0))
    return F.conv2d(down, line[None, None, None, :], padding=(0, 5))[:, 0]
