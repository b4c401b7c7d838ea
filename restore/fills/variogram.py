"""How alike two samples are, as a function of how far apart they lie: measured from the samples themselves.

All fills that adapt to a frame read it from here: kriging solves with the fitted covariance, the spectral
process turns the measured one into a power spectrum, and both take the nugget as their noise.

References: Marcotte, "Fast variogram computation with FFT", Computers & Geosciences 22 (1996) 1175;
Cressie, "Fitting variogram models by weighted least squares", Mathematical Geology 17 (1985) 563.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Covariance", "LagMap", "correlation", "fast_size", "fit_covariance", "lag_map", "radial_covariance"]

_FITTED = 2  # models: exponential, Matérn 3/2
_SCARCE_PAIRS = 100.0


def fast_size(least: float) -> int:
    """The smallest even size of at least ``least`` whose only prime factors are 2, 3 and 5."""
    size = max(2, 2 * math.ceil(least / 2))
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


@dataclass(frozen=True)
class LagMap:
    """Sums over all pairs of measured pixels at each lag, on a periodic grid.

    Attributes:
        products: sum of the products of the two values, shape ``(b, 1, H, W)``.
        pairs: number of pairs, shape ``(b, 1, H, W)``.
    """

    products: Tensor
    pairs: Tensor


def lag_map(values: Tensor, mask: Tensor, size: tuple[int, int]) -> LagMap:
    """Pair sums of ``values`` (b, 1, h, w), zero where ``mask`` is, by FFTs on a grid of ``size`` (H, W).

    Lags up to H − h and W − w are exact; longer ones fold onto each other.
    """
    spectrum = torch.fft.rfft2(values, s=size)
    counts = torch.fft.rfft2(mask, s=size)
    return LagMap(
        torch.fft.irfft2(spectrum.real.square() + spectrum.imag.square(), s=size),
        torch.fft.irfft2(counts.real.square() + counts.imag.square(), s=size).round(),
    )


def _radius(size: Sequence[int], device: torch.device) -> Tensor:
    y = torch.fft.fftfreq(size[0], device=device) * size[0]
    x = torch.fft.fftfreq(size[1], device=device) * size[1]
    return (y[:, None].square() + x.square()).sqrt()


def radial_covariance(lags: LagMap, reach: int) -> tuple[Tensor, Tensor]:
    """Mean product and number of pairs at distances 0, 1, …, ``reach`` pixels, each of shape ``(b, reach+1)``."""
    batch = lags.pairs.shape[0]
    radius = _radius(lags.pairs.shape[-2:], lags.pairs.device)
    bins = radius.round().long().clamp_(max=reach + 1).flatten().expand(batch, -1)
    sums = lags.products.new_zeros(2, batch, reach + 2)
    sums[0].scatter_add_(1, bins, lags.products.flatten(1))
    sums[1].scatter_add_(1, bins, lags.pairs.flatten(1))
    products, pairs = sums[:, :, : reach + 1]
    return products / pairs.clamp(min=1), pairs


@dataclass(frozen=True)
class Covariance:
    """A fitted covariance ``sill · k(distance / range_px)``, with ``nugget`` more at distance 0.

    ``model`` 0 is exponential, ``k(t) = exp(−t)``; 1 is Matérn 3/2, ``k(t) = (1 + √3·t) exp(−√3·t)``; 2 is Matérn 5/2,
    ``k(t) = (1 + √5·t + 5/3·t²) exp(−√5·t)``. Every field has shape ``(b,)``.
    """

    sill: Tensor
    range_px: Tensor
    nugget: Tensor
    model: Tensor

    def __call__(self, distance_px: Tensor) -> Tensor:
        """Covariance without the nugget at distances ``(b, ...)``."""
        tail = (-1,) + (1,) * (distance_px.dim() - 1)
        scaled, model = distance_px / self.range_px.reshape(tail), self.model.reshape(tail)
        shape = torch.zeros_like(scaled)
        for number in self.model.unique().tolist():
            shape = torch.where(model == number, correlation(number, scaled), shape)
        return self.sill.reshape(tail) * shape


def correlation(model: int, scaled: Tensor) -> Tensor:
    """The correlation of a :class:`Covariance`'s ``model`` at distances in units of its range."""
    if model == 0:
        return torch.exp(-scaled)
    smooth = math.sqrt(2 * model + 1) * scaled
    polynomial = 1 + smooth if model == 1 else 1 + smooth + smooth.square() / 3
    return polynomial * torch.exp(-smooth)


def fit_covariance(
    measured: Tensor, pairs: Tensor, variance: Tensor, fit_reach_px: float, least_nugget: float = 0.005
) -> Covariance:
    """Least squares over both models and a range of ranges, each distance weighted by its pairs.

    Args:
        measured, pairs: what :func:`radial_covariance` returns, shape ``(b, reach+1)``.
        variance: of the samples, shape ``(b,)``; what of it the model leaves at distance 0 is the nugget.
        fit_reach_px: the fit looks at distances from 1 px to this.
        least_nugget: smallest nugget, as a share of the variance: no micrograph is noise-free, and a
            smaller one makes every system that is solved with it ill-conditioned.
    """
    reach = measured.shape[1] - 1
    used = max(4, min(reach, math.ceil(fit_reach_px)))
    distance = torch.arange(1, used + 1, device=measured.device, dtype=measured.dtype)
    target = measured[:, 1 : used + 1]
    weight = pairs[:, 1 : used + 1] / pairs[:, 1 : used + 1].sum(1, keepdim=True).clamp(min=1)
    # Short distances decide how an interpolation looks, and have the fewest pairs.
    weight = weight.sqrt() * (1 + (used / 4) / distance)
    ranges = torch.logspace(math.log10(0.7), math.log10(4.0 * used), 40, device=measured.device, dtype=measured.dtype)
    scaled = distance / ranges[:, None]
    shapes = torch.stack([correlation(model, scaled) for model in range(_FITTED)])  # (models, ranges, used)
    dot = torch.einsum("bu,mru,bu->bmr", weight, shapes, target)
    power = torch.einsum("bu,mru->bmr", weight, shapes.square()).clamp(min=1e-20)
    ceiling = ((1 - least_nugget) * variance)[:, None, None]
    sill = torch.minimum((dot / power).clamp(min=0), ceiling)
    sill = torch.maximum(sill, 0.02 * ceiling)
    misfit = sill.square() * power - 2 * sill * dot  # plus a constant of the frame
    best = misfit.flatten(1).argmin(1)
    model, at = best // len(ranges), best % len(ranges)
    chosen = sill.flatten(1).gather(1, best[:, None])[:, 0]
    return Covariance(chosen, ranges[at], (variance - chosen).clamp(min=1e-12), model)


def steadied(measured: Tensor, pairs: Tensor, model: Covariance) -> Tensor:
    """``measured`` (b, reach+1) drawn towards the fitted model where few pairs speak, and at distance 0."""
    distance = torch.arange(measured.shape[1], device=measured.device, dtype=measured.dtype)
    expected = model(distance.expand(measured.shape[0], -1))
    trust = pairs / (pairs + _SCARCE_PAIRS)
    trust[:, 0] = 0
    return trust * measured + (1 - trust) * expected
