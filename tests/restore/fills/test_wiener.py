"""The Wiener filter against direct solutions, and the noise that it finds."""

from __future__ import annotations

import pytest
import torch

from restore.fills.wiener import noise_from_residuals, posterior_mean, random_signs

SHAPE, SIZE = (12, 10), (16, 14)


def _power(peak: float = 1.0) -> torch.Tensor:
    y, x = torch.fft.fftfreq(SIZE[0])[:, None], torch.fft.rfftfreq(SIZE[1])
    power = 1 / (0.02 + y.square() + x.square())
    power[2, 3] += peak * power.max()
    power[-2, 3] += peak * power.max()
    return power[None, None]


def _covariance(power: torch.Tensor) -> torch.Tensor:
    """Between all pixels of the frame, as a matrix."""
    of_lag = torch.fft.irfft2(power[0, 0].double(), s=SIZE)
    y, x = (part.flatten() for part in torch.meshgrid(torch.arange(SHAPE[0]), torch.arange(SHAPE[1]), indexing="ij"))
    return of_lag[(y[:, None] - y) % SIZE[0], (x[:, None] - x) % SIZE[1]]


@pytest.mark.parametrize("peak", [1.0, 1e4])
def test_the_posterior_mean_is_that_of_the_matrices(peak: float) -> None:
    generator = torch.Generator().manual_seed(1)
    mask = (torch.rand(1, 1, *SHAPE, generator=generator) < 0.4).float()
    values = torch.randn(1, 1, *SHAPE, generator=generator)
    noise = 0.1 + torch.rand(1, 1, *SHAPE, generator=generator)
    power = _power(peak)
    found = posterior_mean(values, mask / noise, power, SIZE, mask.mean().reshape(1, 1, 1, 1), 200, 1e-7)
    at = mask.flatten().bool()
    covariance = _covariance(power)
    solved = torch.linalg.solve(
        covariance[at][:, at] + torch.diag(noise.flatten()[at].double()), values.flatten()[at].double()
    )
    expected = covariance[:, at] @ solved
    assert found.flatten().double().numpy() == pytest.approx(expected.numpy(), abs=2e-3 * float(expected.abs().max()))


def test_a_lattices_peaks_cost_no_more_iterations_with_more_samples() -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(1, 1, *SHAPE, generator=generator)
    everywhere = torch.full((1, 1, *SHAPE), 10.0)
    density = torch.ones(1, 1, 1, 1)
    few, many = (posterior_mean(values, everywhere, _power(1e6), SIZE, density, n, 0.0) for n in (25, 400))
    assert (few - many).abs().max() < 0.02 * many.abs().max()


def test_the_noise_about_a_smooth_field_is_found() -> None:
    size = (96, 96)
    generator = torch.Generator().manual_seed(3)
    y, x = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])
    power = torch.exp(-(y.square() + x.square()) * (2 * torch.pi * 5) ** 2)[None, None]
    power = power / torch.fft.irfft2(power, s=size)[..., 0, 0]
    white = torch.randn(1, 1, *size, generator=generator)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * power.sqrt(), s=size)
    mask = (torch.rand(1, 1, *size, generator=generator) < 0.3).float()
    values = (field + 0.3 * torch.randn(1, 1, *size, generator=generator)) * mask
    probe = random_signs(mask) * mask
    density = mask.mean().reshape(1, 1, 1, 1)
    solved = [posterior_mean(v, mask / 0.2, power, size, density, 100, 1e-4) for v in (values, probe)]
    assert float(noise_from_residuals(values - solved[0], probe, solved[1], mask)) == pytest.approx(0.09, rel=0.15)
