"""Every classical fill against an independent implementation, or against the property that defines it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve
from skimage.restoration import denoise_tv_chambolle

from restore.fills import harmonic as springs
from restore.fills import total_variation as tv
from restore.fills.gaussian import gaussian, normalised_convolution
from restore.fills.kriging import kriging
from restore.fills.leaving_out import covariance_by_leaving_out, errors_by_leaving_out
from restore.fills.nearest import linear, nearest
from restore.fills.push_pull import push_pull
from restore.fills.registry import FILLS, fill_named, positions_px
from restore.fills.spectral import half_size, spectral, spectral_half
from restore.fills.variogram import Covariance, fast_size, fit_covariance, lag_map, radial_covariance
from restore.gridding import FrameGeometry
from scancontrol.errors import InvalidInput


def _field(shape: tuple[int, int], seed: int = 0, sigma: float = 3.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return (smooth / smooth.std()).astype(np.float32)


def _lattice(shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (np.cos(2 * np.pi * (x * 0.11 + y * 0.02)) + np.cos(2 * np.pi * (y * 0.12 - x * 0.03))).astype(np.float32)


def _partial(image: np.ndarray, share: float = 0.1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    mask = np.random.default_rng(seed).random(image.shape) < share
    return torch.from_numpy(image * mask)[None, None], torch.from_numpy(mask.astype(np.float32))[None, None]


def _points(n: int, shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    extent = np.array(shape) - 1
    return torch.from_numpy(np.random.default_rng(seed).random((n, 2)) * extent).float()


def _rmse(estimate: torch.Tensor, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((estimate.squeeze().numpy() - truth) ** 2)))


EVERY_FILL = [pytest.param(name, marks=pytest.mark.slow if name == "kriging" else ()) for name in FILLS]


@pytest.mark.parametrize("name", EVERY_FILL)
def test_every_fill_follows_gain_and_offset_and_keeps_the_frames_shape(name: str) -> None:
    shape = (45, 61)
    positions = np.random.default_rng(2).random((400, 2))
    geometry = FrameGeometry.from_positions(positions, shape)
    samples = torch.from_numpy(_field(shape).ravel())[geometry.index]
    plain = fill_named(name)(samples, geometry)
    assert plain.shape == shape
    assert torch.isfinite(plain).all()
    moved = fill_named(name)(1000 + 250 * samples, geometry)
    # Rounding may tip a threshold or a stopping rule, so single pixels may differ a little; the picture may not.
    assert ((moved - 1000) / 250 - plain).square().mean().sqrt() < 0.01 * plain.std()


@pytest.mark.parametrize("name", EVERY_FILL)
def test_every_fill_restores_one_grey_level_exactly(name: str) -> None:
    geometry = FrameGeometry.from_positions(np.random.default_rng(2).random((300, 2)), (40, 40))
    assert torch.allclose(fill_named(name)(torch.full((300,), 777.0), geometry), torch.tensor(777.0), rtol=1e-5)


def test_an_unknown_fill_is_named_with_what_there_is() -> None:
    with pytest.raises(InvalidInput, match="push_pull"):
        fill_named("magic")


def test_positions_in_pixels_are_those_that_were_given() -> None:
    given = np.random.default_rng(5).random((100, 2))
    geometry = FrameGeometry.from_positions(given, (32, 64))
    assert positions_px(geometry).numpy() == pytest.approx(given * [32, 64] - 0.5, abs=1e-4)


def test_nearest_is_scipys_nearest() -> None:
    shape, places = (40, 33), _points(120, (40, 33))
    values = torch.rand(120, generator=torch.Generator().manual_seed(0))
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], -1).reshape(-1, 2)
    expected = NearestNDInterpolator(places.numpy(), values.numpy())(grid).reshape(shape)
    assert nearest(places, values, shape).numpy() == pytest.approx(expected)


def test_linear_is_scipys_linear_inside_and_nearest_outside() -> None:
    shape, places = (40, 33), _points(120, (40, 33))
    values = torch.rand(120, generator=torch.Generator().manual_seed(0))
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], -1).reshape(-1, 2)
    expected = LinearNDInterpolator(places.numpy().astype(float), values.numpy())(grid).reshape(shape)
    inside = np.isfinite(expected)
    found = linear(places, values, shape).numpy()
    assert found[inside] == pytest.approx(expected[inside], abs=1e-5)
    assert found[~inside] == pytest.approx(nearest(places, values, shape).numpy()[~inside])


def test_linear_takes_the_nearest_where_samples_lie_on_one_line() -> None:
    places = torch.stack((torch.full((20,), 5.0), torch.arange(20.0)), 1)
    values = torch.arange(20.0)
    assert torch.equal(linear(places, values, (10, 20)), nearest(places, values, (10, 20)))


def test_push_pull_keeps_what_was_measured_and_stays_within_its_range() -> None:
    mean, weight = _partial(_field((61, 90)), 0.07)
    found = push_pull(mean, weight)
    known = weight > 0
    assert torch.allclose(found[known], mean[known], atol=1e-6)
    assert mean[known].min() - 1e-5 <= found.min()
    assert found.max() <= mean[known].max() + 1e-5


def test_push_pull_is_the_pyramid_done_by_hand() -> None:
    mean = torch.zeros(1, 1, 2, 4)
    weight = torch.zeros(1, 1, 2, 4)
    mean[..., 0, 0], weight[..., 0, 0] = 8.0, 1.0
    mean[..., 1, 3], weight[..., 1, 3] = 4.0, 1.0
    # Both cells of the next level are known (8 and 4); halfway samples lie a quarter of the way between them.
    expected = torch.tensor([[8.0, 7.0, 5.0, 4.0], [8.0, 7.0, 5.0, 4.0]])
    assert torch.allclose(push_pull(mean, weight)[0, 0], expected, atol=1e-6)


def test_push_pull_of_nothing_is_zero() -> None:
    nothing = torch.zeros(1, 1, 16, 16)
    assert torch.equal(push_pull(nothing, nothing), nothing)


@pytest.mark.parametrize("sigma_px", [0.8, 2.5, 6.0])
def test_normalised_convolution_is_the_ratio_of_two_scipy_blurs(sigma_px: float) -> None:
    mean, weight = _partial(_field((50, 70)), 0.2)
    blur = {"sigma": sigma_px, "mode": "constant", "truncate": 6}
    above = ndimage.gaussian_filter((mean * weight)[0, 0].numpy().astype(float), **blur)
    below = ndimage.gaussian_filter(weight[0, 0].numpy().astype(float), **blur)
    known = below > 0.01
    found = normalised_convolution(mean, weight, sigma_px)[0, 0].numpy()
    assert found[known] == pytest.approx((above / below)[known], abs=5e-3)


def test_the_gaussian_fill_chooses_wide_kernels_for_noise_and_narrow_ones_for_detail() -> None:
    noise = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    assert gaussian(*_partial(noise, 0.3)).std() < 0.25 * noise.std()
    detail = _field((128, 128), sigma=3)
    mean, weight = _partial(detail, 0.3)
    assert _rmse(gaussian(mean, weight), detail) < 0.5 * _rmse(normalised_convolution(mean, weight, 4.0), detail)


def test_the_harmonic_fill_solves_laplaces_equation_like_a_sparse_direct_solver() -> None:
    image = _field((31, 38))
    mean, weight = _partial(image, 0.08)
    known = weight[0, 0].numpy() > 0
    rows, cols = image.shape
    at = np.arange(rows * cols).reshape(rows, cols)
    edges = np.concatenate(
        [np.stack([at[1:].ravel(), at[:-1].ravel()], 1), np.stack([at[:, 1:].ravel(), at[:, :-1].ravel()], 1)]
    )
    i, j = np.concatenate([edges, edges[:, ::-1]]).T
    neighbours = csr_matrix((np.ones(len(i)), (i, j)), shape=(rows * cols, rows * cols))
    operator = csr_matrix(np.diag(np.asarray(neighbours.sum(1)).ravel())) - neighbours
    free, fixed = np.flatnonzero(~known.ravel()), np.flatnonzero(known.ravel())
    expected = image.ravel().astype(float).copy()
    expected[free] = spsolve(operator[free][:, free].tocsc(), -operator[free][:, fixed] @ expected[fixed])
    found = springs.membrane(mean, weight, torch.full((1, 1, 1, 1), 1e5), tolerance=1e-5)[0, 0].numpy()
    assert found.ravel() == pytest.approx(expected, abs=2e-3)


def test_the_harmonic_fill_goes_through_good_samples_and_forgives_noisy_ones() -> None:
    image = _field((128, 128), sigma=8)
    mean, weight = _partial(image, 0.3)
    through = springs.harmonic(mean, weight)
    assert (through - mean)[weight > 0].abs().max() < 0.05
    noisy = mean + 0.5 * weight * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    assert _rmse(springs.harmonic(noisy, weight), image) < 0.25


def test_total_variation_of_a_full_frame_is_chambolles_denoising_in_scikit_image() -> None:
    noisy = (_field((48, 40), sigma=6) + 0.3 * np.random.default_rng(3).standard_normal((48, 40))).astype(np.float32)
    # scikit-image minimises |u - y|²/2 + weight·TV: fidelity is 1/weight.
    expected = torch.from_numpy(denoise_tv_chambolle(noisy.astype(float), weight=0.5, eps=1e-7, max_num_iter=1000))
    image = torch.from_numpy(noisy)[None, None]
    found = tv.total_variation(image, torch.ones_like(image), fidelity=2.0, iterations=300)
    energy = lambda u: float(tv.total_variation_of(u) + (u - image).square().sum())  # noqa: E731
    assert energy(found) < 1.0005 * energy(expected[None, None])
    assert _rmse(found, expected.numpy()) < 0.01


def _krige_by_hand(places: np.ndarray, values: np.ndarray, target: np.ndarray, model: Covariance) -> float:
    """Ordinary kriging of one point by the (n + 1) × (n + 1) system with a Lagrange multiplier."""
    n = len(places)
    between = np.linalg.norm(places[:, None] - places[None], axis=-1)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = model(torch.from_numpy(between)[None])[0].numpy() + float(model.nugget) * np.eye(n)
    system[n, n] = 0
    right = np.ones(n + 1)
    right[:n] = model(torch.from_numpy(np.linalg.norm(places - target, axis=-1))[None])[0].numpy()
    return float(np.linalg.solve(system, right)[:n] @ values)


@pytest.mark.slow
def test_kriging_solves_the_ordinary_kriging_system_of_every_pixel() -> None:
    shape, places = (20, 26), _points(150, (20, 26))
    values = torch.from_numpy(_field(shape)[tuple(places.round().long().T.numpy())])
    model = covariance_by_leaving_out(places, values)
    found = kriging(places, values, shape, neighbours=12, block_px=1, covariance=model).numpy()
    for row, col in [(0, 0), (7, 13), (19, 25), (12, 3)]:
        target = np.array([row, col], dtype=float)
        near = np.argsort(np.linalg.norm(places.numpy() - target, axis=1))[:12]
        expected = _krige_by_hand(places.numpy()[near].astype(float), values.numpy()[near].astype(float), target, model)
        assert found[row, col] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("model", [0, 1, 2])
def test_leaving_a_sample_out_is_kriging_it_from_the_others(model: int) -> None:
    generator = np.random.default_rng(5)
    places, values = 30 * generator.random((3, 12, 2)), generator.standard_normal((3, 12))
    errors = errors_by_leaving_out(torch.from_numpy(places), torch.from_numpy(values), model, 6.0, 0.1)
    one = torch.ones(1, dtype=torch.float64)
    covariance = Covariance(0.9 * one, 6.0 * one, 0.1 * one, torch.tensor([model]))
    for group in range(3):
        predicted = _krige_by_hand(places[group, 1:], values[group, 1:], places[group, 0], covariance)
        assert float(errors[group]) == pytest.approx(predicted - values[group, 0], abs=1e-9)


@pytest.mark.slow
def test_what_krige_best_without_noise_is_not_what_smooths_it() -> None:
    shape, places = (64, 64), _points(600, (64, 64))
    truth = _field(shape, sigma=8)
    field = truth[tuple(places.round().long().T.numpy())]
    noisy = torch.from_numpy(field + 0.7 * np.random.default_rng(2).standard_normal(600).astype(np.float32))
    of_noisy, of_clean = (covariance_by_leaving_out(places, z) for z in (noisy, torch.from_numpy(field)))
    smoothed, followed = (_rmse(kriging(places, noisy, shape, covariance=c), truth) for c in (of_noisy, of_clean))
    assert smoothed < 0.35
    assert smoothed < 0.9 * followed, followed


@pytest.mark.slow
def test_kriging_of_a_plane_by_blocks_is_close_to_pixel_by_pixel() -> None:
    shape, places = (32, 32), _points(200, (32, 32))
    values = 0.3 * places[:, 0] - 0.2 * places[:, 1]
    one, two = (kriging(places, values, shape, block_px=block) for block in (1, 2))
    assert (one - two).abs().max() < 0.3
    truth = 0.3 * torch.arange(32.0)[:, None] - 0.2 * torch.arange(32.0)
    assert (two - truth)[4:-4, 4:-4].abs().max() < 0.3


def test_the_lag_map_counts_pairs_and_products_like_two_loops() -> None:
    values = torch.from_numpy(_field((6, 7)))
    mask = (torch.rand(6, 7, generator=torch.Generator().manual_seed(1)) < 0.6).float()
    lags = lag_map((values * mask)[None, None], mask[None, None], (fast_size(12), fast_size(14)))
    for dy, dx in [(0, 0), (0, 1), (3, 2), (5, 6)]:
        a, b = mask[: 6 - dy, : 7 - dx], mask[dy:, dx:]
        assert lags.pairs[0, 0, dy, dx] == (a * b).sum()
        products = (values[: 6 - dy, : 7 - dx] * a * values[dy:, dx:] * b).sum()
        assert float(lags.products[0, 0, dy, dx]) == pytest.approx(float(products), abs=1e-3)


def test_the_fitted_covariance_finds_range_and_nugget_of_a_known_process() -> None:
    random = np.random.default_rng(4)
    y, x = np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)
    power = (1 + (2 * np.pi * 8 * np.hypot(y, x)) ** 2) ** -1.5  # exponential covariance of range 8 px
    field = np.fft.ifft2(np.fft.fft2(random.standard_normal((256, 256))) * np.sqrt(power)).real
    noisy = field / field.std() + 0.5 * random.standard_normal((256, 256))
    mean, weight = _partial(noisy.astype(np.float32), 0.2)
    measured, pairs = radial_covariance(lag_map(mean, weight, (288, 288)), 30)
    fitted = fit_covariance(measured, pairs, torch.tensor([1.25]), 20)
    assert float(fitted.nugget) == pytest.approx(0.25, abs=0.1)
    assert float(fitted(torch.tensor([[8.0]]))) == pytest.approx(np.exp(-1), abs=0.1)


def test_the_spectral_process_predicts_a_lattice_across_gaps_that_local_fills_cannot_cross() -> None:
    truth = _lattice((128, 128))
    mean, weight = _partial(truth, 0.12)
    weight[..., 50:80, 50:80] = 0
    mean = mean * weight
    gap = (slice(None), slice(None), slice(55, 75), slice(55, 75))
    error = lambda found: _rmse(found[gap], truth[55:75, 55:75])  # noqa: E731
    assert error(spectral(mean, weight)) < 0.35 * error(push_pull(mean, weight))


def test_each_frame_of_a_batch_is_restored_as_if_it_were_alone() -> None:
    first, second = _lattice((64, 80)), _field((64, 80))
    mean, weight = _partial(first, 0.15)
    other = torch.from_numpy(second)[None, None] * weight
    for fill in (spectral, spectral_half, gaussian, push_pull, springs.harmonic):
        together = fill(torch.cat((mean, other)), weight.expand(2, -1, -1, -1))
        apart = torch.cat((fill(mean, weight), fill(other, weight)))
        assert torch.allclose(together, apart, atol=2e-2)


def test_half_size_keeps_the_mean_of_what_was_measured() -> None:
    mean, weight = _partial(_field((33, 40)), 0.3)
    small, total = half_size(mean, weight)
    assert small.shape == (1, 1, 17, 20)
    assert total.sum() == weight.sum()
    assert float((small * total).sum()) == pytest.approx(float((mean * weight).sum()), abs=1e-3)
