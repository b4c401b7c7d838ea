"""The torus that the spectral start computes on: its frequencies, their rings and sectors, its lags and its margins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.fills.variogram import fast_size

__all__ = ["BINS", "MARGIN", "Sectors", "Torus", "frequencies", "lag_window", "sectors_of", "taper"]

MARGIN = 16  # half-size pixels between the frame and its periodic copies, on each side
BINS = 64  # rings up to the Nyquist frequency
_SECTORS = 12  # of half a turn, in which a ring's power is told apart
_SECTOR_RINGS = 2  # a sector is averaged over so many rings to either side too


class Torus:
    """Where a frame (rows, cols) lies on its torus, of a size whose FFT is fast."""

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.height, self.width = fast_size(rows + 2 * MARGIN), fast_size(cols + 2 * MARGIN)

    def around(self, frame: Tensor) -> Tensor:
        """The frame (batch, rows, cols) with nothing around it, (batch, height, width)."""
        right, below = self.width - MARGIN - self.cols, self.height - MARGIN - self.rows
        return F.pad(frame, (MARGIN, right, MARGIN, below))

    def faded(self, frame: Tensor) -> Tensor:
        """The frame (batch, rows, cols) falling to 0 over the margins, (batch, height, width)."""
        right, below = self.width - MARGIN - self.cols, self.height - MARGIN - self.rows
        return F.pad(frame, (MARGIN, right, MARGIN, below), mode="replicate") * self.taper(frame.device)

    def inside(self, field: Tensor) -> Tensor:
        """The frame's part of a field (batch, height, width), (batch, rows, cols)."""
        return field.narrow(-2, MARGIN, self.rows).narrow(-1, MARGIN, self.cols)

    def taper(self, device: torch.device) -> Tensor:
        """1 on the frame, falling to 0 over the margins, (height, width)."""
        return taper(self.rows, self.cols, self.height, self.width, device)


@lru_cache(maxsize=32)
def frequencies(h: int, w: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Prior spectrum, multiplicity of each rfft bin, radial bin of each, and bin sizes, for an (h, w) torus."""
    fy = torch.fft.fftfreq(h, device=device)[:, None]
    fx = torch.fft.rfftfreq(w, device=device)[None]
    radius2 = fy.square() + fx.square()
    multiplicity = torch.full((1, w // 2 + 1), 2.0, device=device)
    multiplicity[0, 0] = multiplicity[0, -1] = 1.0
    multiplicity = multiplicity.expand(h, -1).contiguous()
    prior = (radius2 + 64.0**-2).pow(-1.5)
    prior = prior * (h * w) / (prior * multiplicity).sum()
    bins = (radius2.sqrt() * 2 * BINS).long().clamp_max(int(BINS * 1.42))
    sizes = torch.zeros(int(BINS * 1.42) + 1, device=device)
    sizes.index_add_(0, bins.reshape(-1), multiplicity.reshape(-1))
    return prior, multiplicity, bins, sizes.clamp_min(1.0)


@dataclass(frozen=True)
class Sectors:
    """For each rfft bin the two nearest sectors of its ring and their weights, flat; coefficients in each sector."""

    places: tuple[Tensor, Tensor]
    weights: tuple[Tensor, Tensor]
    counts: Tensor  # (1, rings, sectors)

    def sums(self, values: Tensor) -> Tensor:
        """Values (batch, bins) summed by ring and sector, over some rings to either side: (batch, rings, sectors)."""
        return _sums(values, self.places, self.weights, self.counts.shape[1])

    def at_bins(self, values: Tensor) -> Tensor:
        """Values (batch, rings, sectors), interpolated between sectors, for every bin: (batch, bins)."""
        flat = values.flatten(1)
        return flat[:, self.places[0]] * self.weights[0] + flat[:, self.places[1]] * self.weights[1]


def _sums(values: Tensor, places: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor], rings: int) -> Tensor:
    found = values.new_zeros(len(values), rings * _SECTORS)
    for place, weight in zip(places, weights, strict=True):
        found.index_add_(1, place, values * weight)
    padded = F.pad(found.unflatten(1, (rings, _SECTORS)), (0, 0, _SECTOR_RINGS, _SECTOR_RINGS))
    return torch.stack([padded[:, n : n + rings] for n in range(2 * _SECTOR_RINGS + 1)]).sum(0)


@lru_cache(maxsize=32)
def sectors_of(h: int, w: int, device: torch.device) -> Sectors:
    """The sectors of an (h, w) torus's rings."""
    fy, fx = torch.fft.fftfreq(h, device=device)[:, None], torch.fft.rfftfreq(w, device=device)[None]
    _, multiplicity, bins, sizes = frequencies(h, w, device)
    at = (torch.atan2(fy.expand(bins.shape), fx.expand(bins.shape)) / torch.pi + 0.5) * _SECTORS - 0.5
    below = at.floor()
    lower, upper = ((bins * _SECTORS + (below.long() + n) % _SECTORS).flatten() for n in (0, 1))
    places, weights = (lower, upper), ((1 - (at - below)).flatten(), (at - below).flatten())
    return Sectors(places, weights, _sums(multiplicity.flatten()[None], places, weights, len(sizes)))


@lru_cache(maxsize=32)
def lag_window(h: int, w: int, device: torch.device) -> Tensor:
    """Gaussian over the lags of an (h, w) torus: products of few or folded pairs stay out of the spectrum."""
    y = torch.fft.fftfreq(h, device=device)[:, None]
    x = torch.fft.fftfreq(w, device=device)[None]
    return torch.exp(-0.5 * (y.square() + x.square()) / 0.12**2)


@lru_cache(maxsize=32)
def taper(h: int, w: int, height: int, width: int, device: torch.device) -> Tensor:
    """1 on the frame, falling to 0 over the margins, so that a fill does not jump where the torus closes."""

    def ramp(inner: int, outer: int) -> Tensor:
        line = torch.zeros(outer, device=device)
        rise = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(MARGIN, device=device) + 0.5) / MARGIN)
        line[:MARGIN], line[MARGIN : MARGIN + inner] = rise, 1.0
        line[MARGIN + inner : 2 * MARGIN + inner] = rise.flip(0)
        return line

    return ramp(h, height)[:, None] * ramp(w, width)
