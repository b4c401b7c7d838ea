"""The metrics say what the design's contract says they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage import metrics as oracle

from restore.evaluation import metrics


def _pair(shape: tuple[int, int] = (96, 80)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    truth = gaussian_filter(random.standard_normal(shape), 2) * 4 + 0.5
    return truth, truth + 0.1 * random.standard_normal(shape)


def test_ssim_and_psnr_agree_with_scikit_image() -> None:
    truth, estimate = _pair()
    expected = oracle.structural_similarity(
        truth, estimate, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(estimate, truth) == pytest.approx(expected, abs=1e-9)
    assert metrics.psnr_db(estimate, truth) == pytest.approx(
        oracle.peak_signal_noise_ratio(truth, estimate, data_range=1.0), abs=1e-9
    )


def test_an_exact_estimate_has_no_error_and_full_similarity() -> None:
    truth, _ = _pair()
    assert metrics.rmse(truth, truth) == 0
    assert metrics.psnr_db(truth, truth) == math.inf
    assert metrics.ssim(truth, truth) == pytest.approx(1)


def test_truth_and_estimate_share_the_map_that_takes_the_truths_percentiles_to_0_and_1() -> None:
    truth, estimate = _pair()
    scaled, moved = metrics.scale_to_truth(100 + 7 * truth, 100 + 7 * estimate)
    assert np.percentile(scaled, [0.1, 99.9]) == pytest.approx([0, 1], abs=1e-12)
    plain, other = metrics.scale_to_truth(truth, estimate)
    assert metrics.rmse(moved, scaled) == pytest.approx(metrics.rmse(other, plain))
    # An estimate that is wrong by its offset alone stays wrong: its own range is never looked at.
    _, shifted = metrics.scale_to_truth(truth, truth + 1)
    assert metrics.rmse(shifted, plain) > 0.1


def test_a_truth_of_one_grey_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no range"):
        metrics.scale_to_truth(np.full((20, 20), 5))


def test_the_lowpass_is_a_5_by_5_gaussian_of_sigma_2_5_that_reflects_without_repeating_the_edge() -> None:
    image = np.zeros((11, 11))
    image[5, 5] = 1
    blurred = metrics.lowpass(image)
    kernel = np.exp(-0.5 * ((np.arange(5) - 2) / 2.5) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    assert blurred[3:8, 3:8] == pytest.approx(kernel)
    assert blurred.sum() == pytest.approx(1)
    ramp = metrics.lowpass(np.tile(np.arange(9.0), (9, 1)))
    weights = np.exp(-0.5 * ((np.arange(5) - 2) / 2.5) ** 2)
    assert ramp[4, 0] == pytest.approx((weights * [2, 1, 0, 1, 2]).sum() / weights.sum())


def test_the_error_against_the_lowpassed_truth_is_zero_for_the_lowpassed_truth_alone() -> None:
    truth, _ = _pair()
    assert metrics.rmse_lowpass(metrics.lowpass(truth), truth) == 0
    assert metrics.rmse_lowpass(truth, truth) > 0


def test_the_rmse_of_the_mean_weighs_a_bad_image_more_than_the_mean_of_rmse() -> None:
    assert metrics.mean_of_rmse([0.1, 0.3]) == pytest.approx(0.2)
    assert metrics.rmse_of_mean([0.1, 0.3]) == pytest.approx(math.sqrt(0.05))


def test_squared_errors_by_distance_add_up_to_the_whole() -> None:
    truth, estimate = _pair()
    path = np.zeros(truth.shape, dtype=bool)
    path[::9, ::7] = True
    distance = distance_transform_edt(~path)
    square, count = metrics.error_by_distance(estimate, truth, distance, [0, 0.5, 2, 4, 100])
    assert count.sum() == truth.size
    assert (square * count).sum() / truth.size == pytest.approx(metrics.rmse(estimate, truth) ** 2)
    assert square[0] == pytest.approx(np.mean((estimate - truth)[path] ** 2))


def test_a_wave_shows_in_the_ring_of_its_frequency_and_white_noise_in_all_alike() -> None:
    y = np.arange(128)[:, None] * np.ones(128)
    frequency, power = metrics.radial_power(np.sin(2 * np.pi * 0.2 * y))
    assert frequency[power.argmax()] == pytest.approx(0.2, abs=1 / 128)
    noise = np.random.default_rng(0).standard_normal((256, 256))
    _, flat = metrics.radial_power(noise)
    assert flat[4:].mean() == pytest.approx(1, rel=0.05)
    assert flat[4:].std() < 0.15


def test_interval_coverage_counts_the_true_pixels_inside() -> None:
    truth = np.array([[0.0, 1.0], [2.0, 3.0]])
    half = np.full((2, 2), 1.5)
    assert metrics.interval_coverage(np.zeros((2, 2)), half, truth) == 0.5
    assert metrics.interval_coverage(np.zeros((2, 2)), half, truth, truth < 2) == 1
