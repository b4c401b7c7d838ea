"""Fit a calibration on specimens that the network was not trained on, through the very restorer that will use it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from restore.calibration import Calibration, CalibrationCounts, conformal_quantile
from restore.generator_restorer import run_generator
from restore.gridding import FrameGeometry
from restore.training.drawing import draw_path
from restore.training.images import ImageSet
from restore.weights_io import Weights
from restore.withholding import Withheld, carried_over, withhold

__all__ = ["calibrate"]

_KINDS = ("jittered", "archimedean")
_COVERAGES = (0.01, 0.02, 0.04, 0.08, 0.2)
_SHARE = 0.04


def _frames(images: ImageSet, seed: int) -> Iterator[tuple[Tensor, FrameGeometry]]:
    """Truth (rows, cols) on [0, 1] and a geometry, for every image, kind of path and coverage."""
    for number, image in enumerate(images.images):
        size = min(image.shape)
        truth = image[:size, :size].float() / 255
        for kind in _KINDS:
            for coverage in _COVERAGES:
                rng = np.random.default_rng((seed, number, _KINDS.index(kind), int(1000 * coverage)))
                where, _ = draw_path(kind, size, coverage, rng, torch.device("cpu"))
                pixel = where.floor().clamp(0, size - 1) + 0.5
                yield truth, FrameGeometry.from_positions(pixel / size, (size, size))


def calibrate(weights: Weights, images: ImageSet, seed: int = 11) -> Calibration:
    """Factors by coverage and distance, then how far a frame's withheld samples may be trusted to rescale them.

    The rescaling that a frame needed (the quantile of its true scores) is regressed, in logarithms, on the one that
    its withheld samples asked for.
    """
    counts = CalibrationCounts()
    kept_frames: list[tuple[Tensor, Tensor, FrameGeometry, Withheld, Tensor]] = []
    for truth, geometry in _frames(images, seed):
        kept, held = withhold(geometry, _SHARE)
        samples = truth.flatten()[geometry.index]
        estimate, scale = run_generator(weights.network, samples if held is None else samples[held.kept], kept)
        error = (truth - estimate).abs()
        counts.add(error, scale.clamp_min(1e-6), kept.distance, kept.touched, kept.is_drawn)
        if held is not None:
            kept_frames.append((error, scale.clamp_min(1e-6), kept, held, held.residual(samples, estimate)))
    calibration = Calibration(factors=counts.factors(drawn=False), drawn_factors=counts.factors(drawn=True))
    asked, needed, shares = [], [], []
    for error, scale, kept, held, residual in kept_frames:
        width = calibration.half_width(scale, kept.distance, kept.touched, kept.is_drawn)
        score = (error / width).flatten()
        asked.append(held.say_on_widths * np.log(np.clip(conformal_quantile(score[held.pixel]), 0.25, 4)))
        needed.append(np.log(conformal_quantile(score)))
        shares.append(float(error.square().mean().sqrt()) / carried_over(residual, held, width, held.say_on_errors))
    x, y = np.array(asked), np.array(needed)
    slope = float(np.clip(np.cov(x, y)[0, 1] / np.var(x, ddof=1), 0, 1)) if len(x) > 2 else 0.0
    # Over frames, the mean of coverage is wanted, not of log width; the median serves both closely.
    bias = float(np.exp(np.median(y - slope * x))) if len(x) > 2 else 1.0
    share = round(float(np.median(shares)), 4) if shares else 1 / 1.645
    return replace(calibration, trust=round(slope, 4), bias=round(bias, 4), rms_share=share)
