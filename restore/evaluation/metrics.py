"""The metrics of the design's contract: pure functions of arrays, no options that change what a name means.

Images are ``(rows, cols)`` float64, scaled by :func:`scale_to_truth` before they come here: 0 and 1 are the truth's
0.1 and 99.9 percentiles, and an estimate is scaled by the same map as its truth, never by its own range.
Of many images :func:`mean_of_rmse` and :func:`rmse_of_mean` differ, so both are named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter

__all__ = [
    "SCALE_PERCENTILES",
    "error_by_distance",
    "interval_coverage",
    "lowpass",
    "mean_of_rmse",
    "psnr_db",
    "radial_power",
    "rmse",
    "rmse_lowpass",
    "rmse_of_mean",
    "scale_to_truth",
    "ssim",
]

Image = NDArray[np.float64]

SCALE_PERCENTILES = (0.1, 99.9)


def scale_to_truth(truth: NDArray[np.generic], *others: NDArray[np.generic]) -> tuple[Image, ...]:
    """``truth`` and ``others`` by the one affine map that takes the truth's percentiles 0.1 and 99.9 to 0 and 1.

    Raises:
        ValueError: the truth is of one grey level, so that no error can be stated relative to its range.
    """
    low, high = np.percentile(np.asarray(truth, dtype=np.float64), SCALE_PERCENTILES)
    if not high > low:
        raise ValueError(f"the truth's {SCALE_PERCENTILES} percentiles are both {low}: it has no range")
    return tuple((np.asarray(image, dtype=np.float64) - low) / (high - low) for image in (truth, *others))


def rmse(estimate: Image, truth: Image) -> float:
    """Root of the mean squared difference."""
    return math.sqrt(np.mean(np.square(estimate - truth)))


def lowpass(image: Image) -> Image:
    """5 × 5 Gaussian of σ 2.5 px, reflected without repeating the edge: the poster's target."""
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 2.5) ** 2)
    kernel /= kernel.sum()
    return convolve1d(convolve1d(image, kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror")


def rmse_lowpass(estimate: Image, truth: Image) -> float:
    """RMSE of the estimate as it is against the low-passed truth."""
    return rmse(estimate, lowpass(truth))


def mean_of_rmse(values: Sequence[float]) -> float:
    """Mean over images of each image's RMSE."""
    return float(np.mean(values))


def rmse_of_mean(values: Sequence[float]) -> float:
    """Root of the mean over images of each image's mean squared error: a few bad images weigh more."""
    return math.sqrt(np.mean(np.square(values)))


def psnr_db(estimate: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio for a peak of 1; infinite if the images are equal."""
    error = rmse(estimate, truth)
    return math.inf if error == 0 else -20 * math.log10(error)


def ssim(estimate: Image, truth: Image) -> float:
    """Mean structural similarity for a data range of 1, Gaussian window of σ 1.5 px truncated at 3.5 σ.

    The 5 px along each border are left out. References: Wang, Bovik, Sheikh, Simoncelli, "Image quality
    assessment", IEEE Trans. Image Process. 13 (2004) 600.
    """

    def window(image: Image) -> Image:
        return gaussian_filter(image, 1.5, truncate=3.5, mode="reflect")

    mean_e, mean_t = window(estimate), window(truth)
    var_e = window(estimate * estimate) - mean_e * mean_e
    var_t = window(truth * truth) - mean_t * mean_t
    covariance = window(estimate * truth) - mean_e * mean_t
    c1, c2 = 0.01**2, 0.03**2
    similar = ((2 * mean_e * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_e**2 + mean_t**2 + c1) * (var_e + var_t + c2)
    )
    return float(similar[5:-5, 5:-5].mean())


def error_by_distance(
    estimate: Image, truth: Image, distance_px: NDArray[np.floating[Any]], edges_px: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean squared error, and number of pixels, between successive distances to the path.

    Pixels at ``edges_px[i] <= distance < edges_px[i + 1]`` make entry i; an empty one is NaN.
    """
    bins = np.digitize(distance_px.ravel(), edges_px) - 1
    square = np.square(estimate - truth).ravel()
    inside = (bins >= 0) & (bins < len(edges_px) - 1)
    count = np.bincount(bins[inside], minlength=len(edges_px) - 1)
    total = np.bincount(bins[inside], weights=square[inside], minlength=len(edges_px) - 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def radial_power(image: Image, bins: int = 64) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power per pixel of the mean-free, Hann-tapered image over rings of spatial frequency.

    Returns:
        Frequency at the centre of each ring in cycles per pixel, 0 to 0.5, and mean power there. The mean over all
        frequencies, corners included, is the taper-weighted variance (Parseval).
    """
    rows, cols = image.shape
    taper = np.hanning(rows)[:, None] * np.hanning(cols)
    centred = (image - np.average(image, weights=taper)) * taper
    power = np.abs(np.fft.fft2(centred)) ** 2 / np.square(taper).sum()
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(cols))
    ring = np.minimum((frequency * 2 * bins).astype(np.int64), bins)
    count = np.bincount(ring.ravel(), minlength=bins + 1)[:bins]
    total = np.bincount(ring.ravel(), weights=power.ravel(), minlength=bins + 1)[:bins]
    return (np.arange(bins) + 0.5) / (2 * bins), total / np.maximum(count, 1)


def interval_coverage(
    estimate: Image, half_width: Image, truth: Image, where: NDArray[np.bool_] | None = None
) -> float:
    """Fraction of true pixels within ``estimate ± half_width``, of those ``where`` says."""
    within = np.abs(estimate - truth) <= half_width
    return float(within.mean() if where is None else within[where].mean())
