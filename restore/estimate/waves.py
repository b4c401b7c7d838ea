"""The waves of a torus, as ``rfft2`` orders them: how often each counts, its ring and its sector, and a first spectrum.

What a size's waves are is worked out once and kept; sums over rings and sectors are then one scattered addition, and
what is known of a ring or a sector comes back to its waves by one selection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BINS", "Sectors", "Waves", "sectors_of", "waves_of", "weighted"]

BINS = 64  # rings up to the Nyquist frequency
_RINGS = int(BINS * 1.42) + 1
_SECTORS = 12  # of half a turn, in which a ring's power is told apart
_SECTOR_RINGS = 2  # a sector is averaged over so many rings to either side too
_TREND_RINGS = 4  # and slower, below 1/32 cycle per half-size pixel, are trends and no lattice
_KNEE = 64.0**-2  # squared cycles per cell below which a specimen's power grows no more, where nothing is known


def weighted(values: Tensor, weights: Tensor, least: Tensor | None = None) -> Tensor:
    """Sum of values (batch, h, w) by weights (h · w,), more than ``least`` (batch,); (batch,)."""
    flat = values.flatten(1)
    if torch.compiler.is_compiling():
        total = (flat * weights).sum(1)
        return total if least is None else total + least
    return flat @ weights if least is None else torch.addmv(least, flat, weights)


@dataclass(frozen=True)
class Waves:
    """The waves of an (h, w) torus; n = h · (w // 2 + 1) of them.

    Attributes:
        prior: spectrum of a specimen of which nothing is known, of unit variance, (h, w // 2 + 1); unlikely: 1 over it.
        share: how often each wave counts in a mean over all h · w, (n,).
        moments: the same, and times its frequency in cycles per cell, (n, 2).
        scales: 1 over the root of how often each counts and of h · w, and that times how often it counts, for real and
            imaginary part, (2, 1, h, w // 2 + 1, 2).
        rings: the ring of each, (n,); in_ring: its share of its ring's waves, (n,).
        short: ``share`` of waves that are no trend, (n,), and infinity for rings of trends, 0 for others, (rings,).
    """

    prior: Tensor
    unlikely: Tensor
    share: Tensor
    moments: Tensor
    scales: Tensor
    rings: Tensor
    in_ring: Tensor
    short: tuple[Tensor, Tensor]

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all waves of values (batch, h, w // 2 + 1), (batch,)."""
        return weighted(values, self.share)

    def ring_means(self, values: Tensor) -> Tensor:
        """Mean of each ring, (batch, rings)."""
        sums = values.new_zeros(len(values), _RINGS)
        return sums.index_add_(1, self.rings, values.flatten(1) * self.in_ring)

    def at(self, rings: Tensor) -> Tensor:
        """What is known of rings (batch, rings), at every wave."""
        return rings.index_select(1, self.rings).view(len(rings), *self.prior.shape)


@lru_cache(maxsize=32)
def waves_of(h: int, w: int, device: torch.device) -> Waves:
    """The waves of an (h, w) torus."""
    radius2 = torch.fft.fftfreq(h, device=device)[:, None].square() + torch.fft.rfftfreq(w, device=device).square()
    counts = torch.full_like(radius2, 2.0)
    counts[:, 0] = 1.0
    if w % 2 == 0:
        counts[:, -1] = 1.0
    prior = (radius2 + _KNEE).pow(-1.5)
    prior = prior * (h * w) / (prior * counts).sum()
    rings = (radius2.sqrt() * 2 * BINS).long().clamp_max(_RINGS - 1).flatten()
    sizes = torch.zeros(_RINGS, device=device).index_add_(0, rings, counts.flatten()).clamp_min_(1.0)
    share = counts.flatten() / (h * w)
    amplitude = (counts * (h * w)).rsqrt()
    blocked = torch.zeros(_RINGS, device=device)
    blocked[: _TREND_RINGS + 1] = torch.inf
    return Waves(
        prior,
        prior.reciprocal(),
        share,
        torch.stack([share, share * (rings + 0.5) / (2 * BINS)], 1),
        torch.stack([amplitude, amplitude * counts])[:, None, :, :, None].expand(-1, -1, -1, -1, 2).contiguous(),
        rings,
        counts.flatten() / sizes[rings],
        (share * (rings > _TREND_RINGS), blocked),
    )


@dataclass(frozen=True)
class Sectors:
    """Sectors of the rings of one size's waves; each wave lies between the middles of two.

    Attributes:
        places: of the sector before each wave and of the one after it, flat, (2 n,).
        weights: how much each wave counts in either, (2, n).
        after: how far each lies towards the second, (h, w // 2 + 1).
        sizes: how many waves each ring has, (rings,).
        gain, even: what a sector's share of its ring, and belief that all are alike, are worth, (rings, sectors).
    """

    places: Tensor
    weights: Tensor
    after: Tensor
    sizes: Tensor
    gain: Tensor
    even: Tensor

    def expected(self, power: Tensor, level: Tensor | None) -> Tensor:
        """Power (batch, h, w // 2 + 1) as rings and directions tell it, each from many waves.

        Args:
            power: of single waves.
            level: of each ring, (batch, rings); None: its mean.
        """
        batch = len(power)
        found = power.new_zeros(batch, self.gain.numel())
        found = found.index_add_(1, self.places, (power.flatten(1)[:, None] * self.weights).flatten(1))
        sums = found.view(batch, *self.gain.shape)
        if level is None:
            level = sums.sum(-1) / self.sizes
        sums = _with_near_rings(sums)
        total = sums.sum(-1, keepdim=True).clamp_min_(1e-12)
        table = torch.addcdiv(self.even, sums.mul_(self.gain), total).mul_(level[..., None])
        near = table.flatten(1).index_select(1, self.places).view(batch, 2, *self.after.shape)
        return torch.lerp(near[:, 0], near[:, 1], self.after)


def _with_near_rings(sums: Tensor) -> Tensor:
    """Sums (batch, rings, sectors) over some rings to either side too."""
    return F.avg_pool2d(sums, (2 * _SECTOR_RINGS + 1, 1), 1, (_SECTOR_RINGS, 0), divisor_override=1)


@lru_cache(maxsize=32)
def sectors_of(h: int, w: int, device: torch.device, doubt: float) -> Sectors:
    """The sectors of an (h, w) torus's rings, with so many waves' worth of belief that all directions are alike."""
    fy, fx = torch.fft.fftfreq(h, device=device)[:, None], torch.fft.rfftfreq(w, device=device)[None]
    waves = waves_of(h, w, device)
    counts, rings = (waves.share * (h * w)).round(), waves.rings
    at = (
        (torch.atan2(fy.expand(waves.prior.shape), fx.expand(waves.prior.shape)) / torch.pi + 0.5) * _SECTORS - 0.5
    ).flatten()
    below = at.floor()
    after = at - below
    places = torch.cat([rings * _SECTORS + (below.long() + n) % _SECTORS for n in (0, 1)])
    weights = torch.stack([1 - after, after]) * counts
    found = torch.zeros(_RINGS * _SECTORS, device=device).index_add_(0, places, weights.flatten())
    found = found.view(_RINGS, _SECTORS)
    sizes = found.sum(-1).clamp_min(1.0)
    believed = _with_near_rings(found[None])[0]
    gain = believed.sum(-1, keepdim=True).clamp_min(1.0) / (believed + doubt)
    return Sectors(places, weights, after.view(waves.prior.shape), sizes, gain, doubt / (believed + doubt))
