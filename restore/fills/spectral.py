"""The spectral Gaussian process: learn the frame's power spectrum from the samples, then interpolate with it.

A lattice seen anywhere predicts it everywhere: the covariance of the samples, measured at every lag at once by
FFTs, becomes a power spectrum, and the estimate is the posterior mean under it (:mod:`.wiener`). A smooth trend takes
the longest wavelengths first, of which the frame holds too few periods to learn a power.

The noise is what the samples' covariance leaves at lag zero, or, if that is more, what the first estimate leaves of
the samples. The covariance alone takes a lattice's noise for structure, for its models have no lattice among them; the
estimate would then follow the noise of every sample, and the more so the more samples there are.

References: Wandelt, Larson, Lakshminarayanan, Phys. Rev. D 70 (2004) 083511; the power spectrum is re-estimated by
expectation maximisation, ibid. section III.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.fills.gaussian import normalised_convolution
from restore.fills.variogram import fast_size, fit_covariance, lag_map, radial_covariance, steadied
from restore.fills.wiener import noise_from_residuals, posterior_mean, random_signs

__all__ = ["half_size", "spectral", "spectral_fast", "spectral_half"]

_CAUTIOUS = 0.2  # of the variance is noise in the first estimate, at least: so it shows what it cannot explain


def half_size(mean: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Partial frames ``(b, 1, h, w)`` pooled by weight to ``(b, 1, ⌈h/2⌉, ⌈w/2⌉)``; weights add up."""
    both = torch.cat((mean * weight, weight), 1)
    both = F.avg_pool2d(both, 2, ceil_mode=True, divisor_override=1)
    total = both[:, 1:]
    return torch.where(total > 0, both[:, :1] / total.clamp(min=1e-20), 0.0), total


def spectral_half(mean: Tensor, weight: Tensor) -> Tensor:
    """The process at half size: a fifth of the time, and nearly as good where nothing is finer than four pixels.

    Takes full-size partial frames ``(b, 1, h, w)``; returns ``(b, 1, ⌈h/2⌉, ⌈w/2⌉)`` in their units.
    """
    return spectral(*half_size(mean, weight))


def spectral_fast(mean: Tensor, weight: Tensor) -> Tensor:
    """:func:`spectral_half`, interpolated to the full size ``(b, 1, h, w)``."""
    coarse = spectral_half(mean, weight)
    doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : mean.shape[-2], : mean.shape[-1]]


def spectral(
    mean: Tensor, weight: Tensor, iterations: int = 60, padding: float = 1.25, tolerance: float = 3e-3
) -> Tensor:
    """Full images by a Gaussian process whose power spectrum is learnt from the samples, then from a first estimate.

    Args:
        mean: values where ``weight`` is above zero, shape ``(b, 1, h, w)``.
        weight: dwell of each pixel relative to one nominal sample, at least 0, shape ``(b, 1, h, w)``.
        iterations: at most so many steps of conjugate gradients for either estimate.
        padding: grid size relative to the frame; 1 is periodic, and then opposite edges influence each other.
        tolerance: relative residual at which an estimate is good enough.

    Returns:
        Posterior mean, shape ``(b, 1, h, w)``.
    """
    rows, cols = mean.shape[-2:]
    size = (fast_size(padding * rows), fast_size(padding * cols))
    mask = (weight > 0).to(mean.dtype)
    count = mask.sum((-3, -2, -1), keepdim=True).clamp(min=1)
    density = count / (rows * cols)
    trend = normalised_convolution(mean, mask, 3.0 * float(density.mean()) ** -0.5)
    residual = (mean - trend) * mask
    variance = (residual.square().sum((-3, -2, -1), keepdim=True) / count).clamp(min=1e-20)
    power, fitted = _first_power(residual, mask, variance, density, size)

    def estimate(values: Tensor, power: Tensor, nugget: Tensor) -> Tensor:
        copies = values.shape[0] // mean.shape[0]
        scaled = power * ((variance - nugget).clamp(min=1e-3 * variance) / _at_zero_lag(power, size))
        known = mask * weight.clamp(0.25, 4) / nugget
        repeated = [part.repeat(copies, 1, 1, 1) for part in (known, scaled, density)]
        return posterior_mean(values, repeated[0], repeated[1], size, repeated[2], iterations, tolerance)

    nugget = torch.maximum(fitted, _CAUTIOUS * variance)
    probe = random_signs(mask) * mask
    first, answer = estimate(torch.cat((residual, probe)), power, nugget).chunk(2)
    left = noise_from_residuals(residual - first, probe, answer, mask)
    nugget = torch.maximum(fitted, torch.minimum(nugget, left))
    signal = (variance - nugget).clamp(min=1e-3 * variance)
    return trend + estimate(residual, _next_power(power, first, signal, nugget, density, size), nugget)


def _lag_window(size: tuple[int, int], width_px: float, device: torch.device) -> Tensor:
    """A Gaussian over lags, which keeps products of few pairs and of folded lags out of the spectrum."""
    y = torch.fft.fftfreq(size[0], device=device) * (size[0] / width_px)
    x = torch.fft.fftfreq(size[1], device=device) * (size[1] / width_px)
    return torch.exp(-0.5 * y.square())[:, None] * torch.exp(-0.5 * x.square())


def _at_zero_lag(power: Tensor, size: tuple[int, int]) -> Tensor:
    """The variance that a half spectrum ``(b, 1, H, W//2 + 1)`` stands for, shape ``(b, 1, 1, 1)``."""
    twice = 2 * power.sum((-2, -1), keepdim=True)
    edges = power[..., :1].sum(-2, keepdim=True) + power[..., -1:].sum(-2, keepdim=True)
    return ((twice - edges) / (size[0] * size[1])).clamp(min=1e-20)


def _first_power(
    residual: Tensor, mask: Tensor, variance: Tensor, density: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Power spectrum ``(b, 1, H, W//2 + 1)`` and nugget ``(b, 1, 1, 1)`` from the samples' covariance.

    The isotropic part is averaged over rings and so almost free of estimation noise. What any direction has
    beyond it is kept only where it stands 6 standard errors out: the peaks of a lattice do, noise does not.
    """
    extent = min(residual.shape[-2:])
    device = residual.device
    lags = lag_map(residual, mask, size)
    reach = max(8, int(0.2 * extent))
    measured, pairs = radial_covariance(lags, reach)
    spacing = float(density.mean()) ** -0.5
    model = fit_covariance(measured, pairs, variance.flatten(), 2 * spacing)
    rings = steadied(measured, pairs, model)
    y = torch.fft.fftfreq(size[0], device=device) * size[0]
    x = torch.fft.fftfreq(size[1], device=device) * size[1]
    radius = (y[:, None].square() + x.square()).sqrt().clamp(max=reach - 1e-3)
    low = radius.floor().long()
    share = radius - low
    isotropic = (rings[:, low] * (1 - share) + rings[:, (low + 1).clamp(max=reach)] * share)[:, None]
    power = torch.fft.rfft2(isotropic * _lag_window(size, 0.1 * extent, device)).real
    power = torch.maximum(power, 1e-4 * variance)

    window = _lag_window(size, 0.15 * extent, device)
    known = lags.pairs > 0.5
    excess = torch.where(known, lags.products / lags.pairs.clamp(min=1) - isotropic, 0.0)
    peaks = torch.fft.rfft2(excess * window).real
    # Each lag's product has variance of about variance²/pairs, and occurs twice, as +lag and −lag.
    error = torch.where(known, 2 * window.square() / lags.pairs.clamp(min=1), 0.0).sum((-2, -1), keepdim=True).sqrt()
    typical = 1.4826 * peaks.abs().flatten(1).median(1).values.reshape(-1, 1, 1, 1)
    error = torch.maximum(error * variance, typical)
    power = power + torch.where(peaks > 6 * error, peaks, 0.0)
    return power, model.nugget.reshape(-1, 1, 1, 1)


def _next_power(
    power: Tensor, estimate: Tensor, signal: Tensor, nugget: Tensor, density: Tensor, size: tuple[int, int]
) -> Tensor:
    """Expectation maximisation: power of the estimate, plus what the samples could not determine of it."""
    rows, cols = estimate.shape[-2:]
    device = estimate.device
    taper = torch.hann_window(rows, device=device)[:, None] * torch.hann_window(cols, device=device)
    spectrum = torch.fft.rfft2(estimate * taper, s=size)
    seen = (spectrum.real.square() + spectrum.imag.square()) / taper.square().sum()
    window = _lag_window(size, 0.2 * min(rows, cols), device)
    seen = torch.fft.rfft2(torch.fft.irfft2(seen, s=size) * window).real.clamp(min=0)
    unseen = torch.maximum(signal - _at_zero_lag(seen, size), 0.05 * signal)
    gain = density * power / (density * power + nugget + unseen * (1 - density))
    left = (1 - gain) * power
    return seen + left * (unseen / _at_zero_lag(left, size))
