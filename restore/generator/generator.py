"""The generator in the poster's form, with blocks of today: inner network, trainer head, outer network.

The *inner* network sees the whole frame at half size: the spectral start, what the samples say about its misfit,
where they lie, and the frame's own statistics. In training only, the *trainer* head turns its features into a
half-size restoration with its own loss. The *outer* network recombines the features with the full-size input and
predicts what to add to the start, and the logarithm of the error's scale on every pixel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.estimate.fused import chain
from restore.estimate.process import SpectralProcess, SpectralStart
from restore.generator.carried import Carried
from restore.generator.planes import network_planes
from restore.generator.presets import PRESETS, GeneratorConfig
from restore.generator.subnetworks import FirstNetworks, Inner, Outer, Trainer, conditions_of
from restore.generator.texture import textured

__all__ = ["Estimate", "Generator", "consistent"]


class Estimate(NamedTuple):
    """What the generator says, in the units of its normalised input.

    Attributes:
        frame: the restored frame, (batch, 1, rows, cols).
        log_scale: natural logarithm of the expected absolute error on each pixel, (batch, 1, rows, cols).
        half: the trainer head's half-size frame, (batch, 1, ⌈rows/2⌉, ⌈cols/2⌉); None outside training.
        carried: what the next frame may begin with; None where frames always begin anew.
    """

    frame: Tensor
    log_scale: Tensor
    half: Tensor | None
    carried: Carried | None = None


class Generator(nn.Module):
    """Restores any frame from any path.

    Example:
        >>> net = Generator(PRESETS["lite"])
        >>> mean, weight, distance = torch.zeros(3, 1, 1, 50, 70)
        >>> net(mean, weight, distance).frame.shape
        torch.Size([1, 1, 50, 70])
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config or PRESETS["lite"]
        self.inner = Inner(self.config)
        self.trainer = Trainer(self.config)
        self.outer = Outer(self.config)
        self.first = None if self.config.first is None else FirstNetworks(self.config.first)

    def compute_in(self, precision: torch.dtype) -> None:
        """Change the convolutions to a precision; the start, the frame and its statistics stay in float32."""
        for networks in (self, self.first):
            if networks is not None:
                networks.inner.to(precision)
                networks.inner.condition.float()
                networks.outer.to(precision)

    @property
    def stride(self) -> int:
        """Frames are padded, without weight, to a multiple of this."""
        levels = [len(config.widths) for config in (self.config, self.config.first) if config is not None]
        return 4 * 2 ** (max(levels) - 1)

    def forward(
        self, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor | None = None, before: Carried | None = None
    ) -> Estimate:
        """Restore normalised partial frames.

        Args:
            mean: normalised samples per pixel, 0 off the path, (batch, 1, rows, cols).
            weight: dwell per pixel relative to one nominal sample, 0 off the path, (batch, 1, rows, cols).
            distance: pixels to the path, (batch, 1, rows, cols).
            noise: variance of one nominal sample about the specimen, in normalised units, if it is known: (batch,), NaN
                where it is not.
            before: what the frame before of the same size carried, moved to this one.
        """
        rows, cols = mean.shape[-2:]
        below, right = -rows % self.stride, -cols % self.stride
        if below or right:
            mean, weight = F.pad(mean, (0, right, 0, below)), F.pad(weight, (0, right, 0, below))
            distance = F.pad(distance, (0, right, 0, below), mode="replicate")
        process = self._process(mean, weight, float(rows * cols))
        trained = carried = None
        if before is not None and not before.looks and not self.config.texture:
            with _single_precision(mean.device):
                full_size = process.followed(before.process)
            correction, log_scale = before.said()
            carried = replace(before, process=process.carried())
            frame = full_size + correction
        else:
            start = self._start(process, weight, distance, noise, before)
            features, full = self._looked(weight, distance, start, noise)
            correction, log_scale, strengths = self.outer(full, features)
            log_scale = log_scale.float().clamp(-8, 4)
            frame = start.full + correction
            if strengths is not None:
                frame = frame + textured(strengths, process.noise.sqrt())
            if self.training:
                trained = (start.estimate + self.trainer(features))[..., : -(-rows // 2), : -(-cols // 2)]
            elif self.first is None:
                age = 0 if before is None else before.age
                carried = Carried(process.carried(), correction.float(), log_scale, age=age)
        frame = consistent(frame, mean, weight, process.noise.sqrt())[..., :rows, :cols]
        return Estimate(frame, log_scale[..., :rows, :cols], trained, carried)

    def _looked(
        self, weight: Tensor, distance: Tensor, start: SpectralStart, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The inner network's features, and the planes that the outer one recombines them with."""
        half, full = network_planes(weight, distance, start, self.config.path_information)
        precision = self.outer.stem.weight.dtype
        return self.inner(half.to(precision), conditions_of(start.statistics, noise)), full.to(precision)

    def _process(self, mean: Tensor, weight: Tensor, area: float) -> SpectralProcess:
        with _single_precision(mean.device):
            return SpectralProcess(mean, weight, area)

    def _start(
        self, process: SpectralProcess, weight: Tensor, distance: Tensor, noise: Tensor | None, before: Carried | None
    ) -> SpectralStart:
        iterations = self.config.spectral_iterations
        with _single_precision(weight.device):
            if before is not None:
                return process.follow(before.process)
            start = process.start(iterations, self.config.full_iterations if self.first is None else ())
        if self.first is None:
            return start
        corrected = self.first(weight, distance, start, conditions_of(start.statistics, noise))
        with _single_precision(weight.device):
            return process.again(corrected, iterations[-1], self.config.full_iterations)


def _single_precision(device: torch.device) -> AbstractContextManager[object]:
    """No automatic half precision: dot products of thousands of terms need float32."""
    if device.type not in ("cpu", "cuda"):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


@chain
def consistent(frame: Tensor, mean: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
    """The frame, kept within three standard errors of what was measured wherever the beam dwelt.

    Args:
        noise: standard deviation of one nominal sample about the spectral start, (batch,), from the frame itself.
    """
    # Where the beam was not, the mean is 0 and the limit a million times that of one sample.
    limit = weight.clamp_min(1e-12).rsqrt_().mul_(3 * noise[:, None, None, None])
    return torch.clamp(frame, mean - limit, mean + limit)
