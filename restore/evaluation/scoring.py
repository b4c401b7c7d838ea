"""From one restoration and its truth to the numbers of a table row: scores of images, then of sets of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore.evaluation import metrics
from restore.restorer import Restoration

__all__ = ["DISTANCE_EDGES_PX", "ImageScore", "score_image", "summarise"]

DISTANCE_EDGES_PX = (0.0, 0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)


@dataclass(frozen=True)
class ImageScore:
    """One image, one path, one method. Errors are fractions of the truth's 0.1 to 99.9 percentile range."""

    name: str
    modality: str
    rmse: float
    rmse_lowpass: float
    rmse_both_lowpass: float
    psnr_db: float
    ssim: float
    interval_coverage: float | None  # of all pixels
    interval_coverage_unseen: float | None  # of the pixels that hold no sample
    interval_width: float | None  # mean half-width
    withheld_rmse: float | None
    expected_rmse: float | None  # of the whole frame, as the restoration itself tells it
    seconds: float
    square_by_distance: NDArray[np.float64]  # mean squared error between DISTANCE_EDGES_PX
    pixels_by_distance: NDArray[np.int64]
    within_by_distance: NDArray[np.float64] | None  # interval coverage, likewise


def score_image(
    name: str, modality: str, truth: NDArray[Any], distance_px: NDArray[Any], found: Restoration, seconds: float
) -> ImageScore:
    """Compare a restoration with its truth, both (rows, cols) and in the same units.

    ``distance_px`` is each pixel's distance to the nearest pixel that holds a sample.
    """
    low, high = np.percentile(np.asarray(truth, dtype=np.float64), metrics.SCALE_PERCENTILES)
    target, estimate = metrics.scale_to_truth(truth, found.estimate.numpy())
    smooth = metrics.lowpass(target)
    square, count = metrics.error_by_distance(estimate, target, distance_px, DISTANCE_EDGES_PX)
    coverage = unseen = width = within = None
    if found.interval is not None:
        half = found.interval.numpy().astype(np.float64) / (high - low)
        coverage = metrics.interval_coverage(estimate, half, target)
        if (distance_px > 0).any():  # a full raster leaves nothing unseen
            unseen = metrics.interval_coverage(estimate, half, target, distance_px > 0)
        width = float(half.mean())
        miss = (np.abs(estimate - target) <= half).astype(np.float64)
        within, _ = metrics.error_by_distance(np.sqrt(miss), np.zeros_like(miss), distance_px, DISTANCE_EDGES_PX)
    return ImageScore(
        name=name,
        modality=modality,
        rmse=metrics.rmse(estimate, target),
        rmse_lowpass=metrics.rmse(estimate, smooth),
        rmse_both_lowpass=metrics.rmse(metrics.lowpass(estimate), smooth),
        psnr_db=metrics.psnr_db(estimate, target),
        ssim=metrics.ssim(estimate, target),
        interval_coverage=coverage,
        interval_coverage_unseen=unseen,
        interval_width=width,
        withheld_rmse=_share(found.made_by.withheld_rmse, high - low),
        expected_rmse=_share(found.made_by.expected_rmse, high - low),
        seconds=seconds,
        square_by_distance=square,
        pixels_by_distance=count,
        within_by_distance=within,
    )


def _share(error: float | None, span: float) -> float | None:
    return None if error is None else error / span


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def summarise(scores: Sequence[ImageScore]) -> dict[str, Any]:
    """The figures of a set of images: means of per-image values, except where the name says otherwise."""
    row: dict[str, Any] = {"images": len(scores), **_errors(scores)}
    row["rmse_of_mean_pct"] = _percent(metrics.rmse_of_mean([s.rmse for s in scores]))
    row["rmse_lowpass_of_mean_pct"] = _percent(metrics.rmse_of_mean([s.rmse_lowpass for s in scores]))
    row["rmse_lowpass_median_pct"] = _percent(float(np.median([s.rmse_lowpass for s in scores])))
    row["rmse_both_lowpass_pct"] = _percent(metrics.mean_of_rmse([s.rmse_both_lowpass for s in scores]))
    row["interval_coverage_unseen_pct"] = _percent(_mean([s.interval_coverage_unseen for s in scores]))
    row["interval_half_width_pct"] = _percent(_mean([s.interval_width for s in scores]))
    row["seconds_per_frame"] = float(np.median([s.seconds for s in scores]))
    row["withheld_correlation"] = _correlation([(s.withheld_rmse, s.rmse) for s in scores])
    row["expected_correlation"] = _correlation([(s.expected_rmse, s.rmse) for s in scores])
    groups: dict[str, list[ImageScore]] = defaultdict(list)
    for score in scores:
        groups[score.modality].append(score)
    row["by_modality"] = {name: {"images": len(group), **_errors(group)} for name, group in sorted(groups.items())}
    row["by_distance"] = _by_distance(scores)
    row["by_image"] = {
        score.name: {
            "rmse_pct": _percent(score.rmse),
            "rmse_lowpass_pct": _percent(score.rmse_lowpass),
            "interval_coverage_pct": _percent(score.interval_coverage),
            "withheld_rmse_pct": _percent(score.withheld_rmse),
            "expected_rmse_pct": _percent(score.expected_rmse),
        }
        for score in scores
    }
    return row


def _correlation(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    """Pearson's, of those that are known; None for fewer than three or if either never varies."""
    known = np.array([pair for pair in pairs if pair[0] is not None], dtype=np.float64)
    if len(known) < 3 or not np.ptp(known, axis=0).all():
        return None
    return round(float(np.asarray(np.corrcoef(known.T))[0, 1]), 4)


def _errors(scores: Sequence[ImageScore]) -> dict[str, Any]:
    return {
        "rmse_pct": _percent(metrics.mean_of_rmse([s.rmse for s in scores])),
        "rmse_lowpass_pct": _percent(metrics.mean_of_rmse([s.rmse_lowpass for s in scores])),
        "psnr_db": round(float(np.mean([s.psnr_db for s in scores])), 4),
        "ssim": round(float(np.mean([s.ssim for s in scores])), 5),
        "interval_coverage_pct": _percent(_mean([s.interval_coverage for s in scores])),
    }


def _by_distance(scores: Sequence[ImageScore]) -> list[dict[str, Any]]:
    """RMSE over all images' pixels between successive distances to the path; empty ones are left out."""
    rows = []
    for at, (low, high) in enumerate(pairwise(DISTANCE_EDGES_PX)):
        pixels = np.array([s.pixels_by_distance[at] for s in scores], dtype=np.float64)
        if not pixels.sum():
            continue
        share = pixels / pixels.sum()
        square = sum(w * s.square_by_distance[at] for w, s in zip(share, scores, strict=True) if w)
        inside: float | None = None
        if all(s.within_by_distance is not None for s in scores):
            inside = sum(
                w * s.within_by_distance[at]
                for w, s in zip(share, scores, strict=True)
                if w and s.within_by_distance is not None
            )
        rows.append(
            {
                "from_px": low,
                "to_px": high,
                "pixels_share": round(float(pixels.sum() / sum(s.pixels_by_distance.sum() for s in scores)), 5),
                "rmse_pct": _percent(float(np.sqrt(square))),
                "interval_coverage_pct": _percent(inside),
            }
        )
    return rows
