"""What a spectrum is learnt by between the solver's transforms, each as a chain that can be few kernels.

``unlikely`` is 1 over the power of each wave, ``sample_noise`` the effective noise of a full grid that would tell as
much as the samples do, times the samples' density. See :mod:`restore.estimate.solver`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from restore.estimate.fused import chain
from restore.estimate.waves import Sectors, Waves, weighted

__all__ = [
    "Believed",
    "about_trend",
    "from_covariance",
    "from_power",
    "lacking",
    "measured",
    "settled",
    "squared",
    "weighed",
]

_ROUNDS = 3  # of the fixed point, each time
_LEAST_POWER = 1e-7
_PEAK_ERRORS = 5.0  # standard errors above chance that make a peak of the samples' power spectrum


class Believed(NamedTuple):
    """A spectrum: ``power`` and ``unlikely`` (batch, h, w), ``sample_noise`` (batch,)."""

    power: Tensor
    unlikely: Tensor
    sample_noise: Tensor


def _lacking(unlikely: Tensor, density: Tensor, sample_noise: Tensor) -> Tensor:
    """Variance of each wave that the samples do not resolve, (batch, h, w): 1/(1/power + 1/effective noise)."""
    told = torch.addcdiv(unlikely, density[:, None, None], sample_noise[:, None, None])
    return told.reciprocal_()


lacking = chain(_lacking)


@chain
def settled(unlikely: Tensor, density: Tensor, sample_noise: Tensor, assumed: Tensor, share: Tensor) -> Tensor:
    """``sample_noise`` after some rounds of its fixed point; ``assumed`` noise of a reading (batch,)."""
    for _ in range(_ROUNDS):
        sample_noise = weighted(_lacking(unlikely, density, sample_noise), share, assumed)
    return sample_noise


@chain
def measured(
    misfit: Tensor, unlikely: Tensor, density: Tensor, sample_noise: Tensor, factor: Tensor, share: Tensor, one: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Noise that a misfit shows, (batch,), the same times ``factor``, and ``sample_noise`` with it.

    Args:
        misfit: mean square of what the estimate misses of each sample, (batch,).
    """
    # As many samples as waves are resolved say nothing of the noise.
    told = weighted(_lacking(unlikely, density, sample_noise), share)
    free = torch.addcdiv(one, told, sample_noise, value=-1).clamp_min_(0.1)
    noise = (misfit / free).clamp_(0.003, 0.99)
    assumed = noise * factor
    return noise, assumed, settled(unlikely, density, sample_noise, assumed, share)


@chain
def from_power(
    known: Believed,
    spectrum: Tensor,
    unit: float,
    sectors: Sectors,
    level: Tensor | None,
    ring_share: Tensor,
    density: Tensor,
    assumed: Tensor,
    share: Tensor,
) -> Believed:
    """What an estimate's own spectrum (batch, h, w, 2) and the variance that it lacks say.

    Args:
        unit: what its power is multiplied with.
        level: of each ring, (batch, rings), if the samples told it.
        ring_share: how much of each wave its ring and direction say rather than itself, (batch, 1, 1).
    """
    real, imaginary = spectrum[..., 0], spectrum[..., 1]
    power = _lacking(known.unlikely, density, known.sample_noise)
    power = power.addcmul_(real, real, value=unit).addcmul_(imaginary, imaginary, value=unit)
    # Single bins are one draw each, and a ring average knows no lattice: how much of each, the peaks tell.
    # An estimate is smooth where samples are far apart, so its rings lack power; its directions do not.
    power = torch.lerp(power, sectors.expected(power, level), ring_share)
    return _believed(power, known.sample_noise, density, assumed, share)


def _believed(power: Tensor, sample_noise: Tensor, density: Tensor, assumed: Tensor, share: Tensor) -> Believed:
    power = power.clamp_min_(_LEAST_POWER)
    unlikely = power.reciprocal()
    return Believed(power, unlikely, settled(unlikely, density, sample_noise, assumed, share))


@chain
def about_trend(mean: Tensor, count: Tensor, trend: Tensor) -> Tensor:
    """What samples are about a trend, 0 where there are none, and where they are: (2, batch, h, w)."""
    mask = count.clamp(max=1.0)
    return torch.stack([torch.addcmul(mean, trend, mask, value=-1), mask])


@chain
def squared(spectra: Tensor) -> Tensor:
    """Power of spectra (…, 2)."""
    real, imaginary = spectra[..., 0], spectra[..., 1]
    return real.square().addcmul_(imaginary, imaginary)


@chain
def weighed(products: Tensor, pairs: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Mean products of pairs at each lag under a window, (batch, h, w), and their chance deviation, (batch, 1).

    Args:
        products: sums of products of samples that lie a lag apart, (batch, h, w).
        pairs: their number, likewise.
    """
    each = window / pairs.clamp_min(0.5)
    products = products * each
    return products, products[:, 0, :1] * weighted(each, window.flatten()).sqrt_()[:, None]


@chain
def from_covariance(
    spectrum: Tensor, chance: Tensor, known: Tensor, slow: Tensor, waves: Waves
) -> tuple[Tensor, Tensor, Tensor]:
    """What the samples' covariance says of the process.

    Args:
        spectrum: of the covariance, (batch, h, w).
        chance: a standard error of it, (batch, 1).
        known: power from the fill, (batch, h, w).
        slow: how much of each ring's waves the fill knows, (batch, rings).

    Returns:
        Share of the power in peaks, (batch,); level of each ring, (batch, rings); power, (batch, h, w).
    """
    fast, blocked = waves.short
    rings = waves.ring_means(spectrum).clamp_min_(0.0)
    least = rings + torch.maximum(rings, _PEAK_ERRORS * chance) + blocked
    peaks = torch.where(spectrum > waves.at(least), spectrum - waves.at(rings), 0.0)
    whole = weighted(spectrum.clamp_min(0.0), fast).clamp_min_(1e-9)
    lattice = (waves.mean(peaks) / whole).clamp_(0, 1)
    filled = waves.ring_means(known)
    rings = rings / (1 - slow).clamp_min_(0.15).square_()  # the trend took its part of every wave
    level = torch.maximum(rings, 0.1 * filled)
    power = torch.lerp(waves.at(level), known, waves.at(slow)).add_(peaks).clamp_min_(_LEAST_POWER)
    return lattice, torch.lerp(level, filled, slow), power
