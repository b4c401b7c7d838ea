"""What the networks are trained to make small. Every choice of the poster and its author's code is a setting.

Errors are taken in units where the micrograph spans [0, 1] unless said otherwise. The author's mean squared errors
are on [-1, 1], four times as large; ``base="mse"`` follows him, so that 200·MSE, and the initial moments of ALRC,
mean the same here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.generator.generator import Estimate
from restore.generator.low_pass import low_pass
from restore.gridding import Normalisation
from restore.training.alrc import ALRC, huberise
from scancontrol.errors import InvalidInput

__all__ = ["GeneratorLoss", "LossConfig", "LossTerms", "reconstruction_error"]


class LossConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The generator's loss.

    Attributes:
        base: ``rms`` is each image's root mean square error in per cent, so that the average of the metric itself
            is descended; ``mse`` is the author's 200·MSE on [-1, 1]; ``quartic`` 200 times
            fourth powers of the same; ``l1`` his √200·mean|·|; ``charbonnier``
            √(e² + 0.001²) in per cent.
        lowpass_target: compare with the truth low-passed as the author does (5×5 Gaussian, σ 2.5).
        lowpass_output: low-pass the output too, which leaves high frequencies free (the author's second stage); the
            trainer head's output is compared as it is.
        half_truth: what the trainer head is compared with: the ``mean`` of 2 × 2 pixels, or every second pixel
            (``strided``), as the author's resizing takes it.
        raw_weight: weight of the same loss between the unfiltered output and truth, 0 for none.
        trainer_weight: weight of the trainer head's half-size loss (the author's 2), 0 for two-stage training.
        interval_weight: weight of the interval's loss; ``interval`` is the Laplace log likelihood or the pinball
            loss of the 90 % quantile of the absolute error.
        clip: adaptive learning rate clipping: ``off``, as the poster's Algorithm 1, or as its author's code.
        huberise: √x of losses above 1, after clipping.
        running_error_weight: weight each pixel by its running mean squared error (blurred, normalised to mean 1).
        adversarial: which adversarial term, if any; ``adversarial_weight`` is its λ.
        r1_weight: gradient penalty on real crops, for ``hinge`` and ``relativistic``.
    """

    base: Literal["rms", "mse", "quartic", "l1", "charbonnier"] = "rms"
    lowpass_target: bool = False
    lowpass_output: bool = False
    raw_weight: float = 0.0
    trainer_weight: float = 0.5
    half_truth: Literal["mean", "strided"] = "mean"
    interval_weight: float = 0.3
    interval: Literal["laplace", "pinball"] = "laplace"
    clip: Literal["off", "paper", "code"] = "paper"
    clip_sigmas: float = 3.0
    clip_decay: tuple[float, float] = (0.999, 0.999)
    clip_mean: float = 25.0
    clip_mean_square: float = 900.0
    huberise: bool = False
    running_error_weight: bool = False
    adversarial: Literal["off", "least_squares", "hinge", "relativistic"] = "off"
    adversarial_weight: float = 1.0
    r1_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("raw_weight", "trainer_weight", "interval_weight", "adversarial_weight", "r1_weight"):
            if getattr(self, name) < 0:
                raise InvalidInput(name, getattr(self, name), "is below 0", "give a weight of 0 or more")
        if self.r1_weight and self.adversarial not in ("hinge", "relativistic"):
            raise InvalidInput(
                "r1_weight",
                self.r1_weight,
                f"has no place in adversarial: {self.adversarial}",
                "set it to 0, or use hinge or relativistic",
            )


def reconstruction_error(error: Tensor, base: str, weight: Tensor | None = None) -> Tensor:
    """One loss per image from errors (batch, 1, rows, cols) in units of the micrograph's span."""
    if base == "l1":
        return 200**0.5 * (2 * error).abs().mean((1, 2, 3))
    if base == "charbonnier":
        return 100 * (error.square() + 1e-6).sqrt().mean((1, 2, 3))
    if base == "quartic":
        return 200 * (2 * error).pow(4).mean((1, 2, 3))
    square = error.square() if weight is None else error.square() * weight
    if base == "mse":
        return 200 * 4 * square.mean((1, 2, 3))
    return 100 * (square.mean((1, 2, 3)) + 1e-8).sqrt()


class RunningError(nn.Module):
    """Per-pixel running mean of the squared error, as a weight of mean 1 (the poster's error weighting).

    Decay 0.999, initially 3 everywhere, blurred 3×3 with σ 1.5, as in the author's experiment 39. His images are all
    512²; here each crop size (side of a square) has its own map.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        for size in sizes:
            self.register_buffer(f"map_{size}", torch.full((1, 1, size, size), 3.0))

    def forward(self, error: Tensor) -> Tensor:
        """Weight (1, 1, size, size) for these errors (batch, 1, size, size); in training they are counted first."""
        running: Tensor = getattr(self, f"map_{error.shape[-1]}")
        if self.training:
            running.lerp_((2 * error.detach()).square().mean(0, keepdim=True), 0.001)
        blurred = low_pass(running, 3, 1.5)
        return blurred / blurred.mean()


class LossTerms(NamedTuple):
    """Scalars: what to back-propagate, and what to show; ``clipped`` is the share of heads whose loss was clipped."""

    total: Tensor
    rmse_pct: Tensor
    interval: Tensor
    per_image: Tensor
    clipped: float


class GeneratorLoss(nn.Module):
    """The whole non-adversarial loss of a generator's estimate, clipped; holds the running moments.

    ``outer_weight`` 0 leaves the full-size losses out: the first of two stages, before the outer network trains.
    ``sizes`` are the sides of the crops, for the running errors.
    """

    def __init__(self, config: LossConfig, outer_weight: float = 1.0, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.config, self.outer_weight = config, outer_weight
        variant: Literal["paper", "code"] = "code" if config.clip == "code" else "paper"

        def clipper() -> ALRC:
            return ALRC(config.clip_mean, config.clip_mean_square, config.clip_decay, config.clip_sigmas, variant)

        self.clip_outer, self.clip_trainer = clipper(), clipper()
        self.running = RunningError(sizes) if config.running_error_weight else None

    def _settle(self, clip: ALRC, loss: Tensor, shared: Tensor | None) -> tuple[Tensor, bool]:
        """The loss as it is descended, and whether it was clipped."""
        settled = loss if self.config.clip == "off" else clip(loss, shared)
        clipped = bool(settled.detach() < loss.detach())
        return huberise(settled) if self.config.huberise else settled, clipped

    def _compare(self, output: Tensor, truth: Tensor, weigh: nn.Module | None = None) -> Tensor:
        target = low_pass(truth) if self.config.lowpass_target else truth
        error = output - target
        return reconstruction_error(error, self.config.base, None if weigh is None else weigh(error))

    def forward(
        self,
        estimate: Estimate,
        truth: Tensor,
        normalisation: Normalisation,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> LossTerms:
        """Loss of an estimate in normalised units against the truth (batch, 1, rows, cols) on [0, 1].

        ``reduce`` averages a scalar over the processes of a distributed run.
        """
        config = self.config
        span = normalisation.scale.float().reshape(-1, 1, 1, 1)
        centre = normalisation.centre.float().reshape(-1, 1, 1, 1)
        output = estimate.frame.float() * span + centre
        per_image = self._compare(low_pass(output) if config.lowpass_output else output, truth, self.running)
        outer = per_image.mean()
        if config.raw_weight:
            outer = outer + config.raw_weight * reconstruction_error(output - truth, config.base).mean()
        settled, outlier = self._settle(self.clip_outer, outer, reduce(outer) if reduce else None)
        total, outliers = settled * self.outer_weight, [outlier]
        if config.trainer_weight and estimate.half is not None:
            small = half_size(truth) if config.half_truth == "mean" else truth[..., ::2, ::2]
            half = self._compare(estimate.half.float() * span + centre, small).mean()
            settled, outlier = self._settle(self.clip_trainer, half, reduce(half) if reduce else None)
            total = total + config.trainer_weight * settled
            outliers.append(outlier)
        interval = interval_loss(estimate, truth, normalisation, config.interval)
        if config.interval_weight:
            total = total + self.outer_weight * config.interval_weight * interval
        with torch.no_grad():
            shown = reconstruction_error(output - truth, "rms").mean()
        return LossTerms(total, shown, interval.detach(), per_image.detach(), sum(outliers) / len(outliers))


def half_size(truth: Tensor) -> Tensor:
    """The truth at half size; an odd last row or column counts alone."""
    return F.avg_pool2d(truth, 2, ceil_mode=True, count_include_pad=False)


def interval_loss(estimate: Estimate, truth: Tensor, normalisation: Normalisation, kind: str) -> Tensor:
    """How badly the predicted scale fits the error against the raw truth; moves the scale only, not the frame.

    ``laplace``: mean of |e|/b + log b. ``pinball``: of the 90 % quantile of |e|, read as b·log 10 (Laplace's).
    """
    level = normalisation.apply(truth)
    error = (estimate.frame.detach().float() - level).abs()
    if kind == "laplace":
        return (error * (-estimate.log_scale).exp() + estimate.log_scale).mean()
    width = estimate.log_scale.exp() * 2.302585
    return torch.maximum(0.9 * (error - width), 0.1 * (width - error)).mean() * 4
