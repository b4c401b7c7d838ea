"""The author's own networks: preset ``ede2020``, layer by layer as his code builds them.

105.76 M parameters inner, 0.381 M outer, 0.0376 M trainer. Convolutions carry Salimans–Kingma weight normalisation
w = g·V/‖V‖ with V ~ N(0, 0.05²), g = 1, b = 0; transposed convolutions, and the first 5×5 ones where no path is
concatenated, also subtract their channel means over the batch and add a learnt bias (mean-only batch normalisation).
With a path channel the first inner convolution is a plain one. The author's code never leaves training mode, so at
batch size one the mean is that of the very image, at inference too; the same is done here.

The layers' shapes, activations and normalisations were read in the code that trained the poster's networks
(generation G1 with the path concatenated, G3 without).

References:
    Ede & Beanland 2020, https://doi.org/10.1038/s41598-020-65261-0
    Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868, sections 2 and 3.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.generator.generator import Estimate
from scancontrol.errors import InvalidInput

__all__ = ["Ede2020", "EdeConfig", "EdeInner", "EdeOuter", "EdeTrainer", "NormalisedConv", "same_padding", "scaled"]

Activation = Literal["leaky", "relu"]


def scaled(channels: int, width: float) -> int:
    """A share of the author's channels, at least one."""
    return max(1, round(channels * width))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after) of one axis: the excess goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class NormalisedConv(nn.Module):
    """Convolution (or its transpose) with weight normalisation and optional mean-only batch normalisation.

    Args:
        transposed: a stride 2 transposed convolution, SAME, doubling each side.
        weight_norm: w = g·V/‖V‖ per output channel; otherwise w = V.
        mean_only: subtract the channel's mean over batch and space before adding the bias.
        slope: of the leaky activation after it; 0 is ReLU, None is linear.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        transposed: bool = False,
        weight_norm: bool = True,
        mean_only: bool = False,
        slope: float | None = 0.01,
    ) -> None:
        super().__init__()
        self.stride, self.kernel, self.transposed = stride, kernel, transposed
        self.mean_only, self.slope = mean_only, slope
        shape = (width_in, width_out) if transposed else (width_out, width_in)
        self.direction = nn.Parameter(torch.randn(*shape, kernel, kernel) * 0.05)
        self.gain = nn.Parameter(torch.ones(width_out)) if weight_norm else None
        self.bias = nn.Parameter(torch.zeros(width_out))

    def extra_repr(self) -> str:
        return (
            f"{tuple(self.direction.shape)}, stride={self.stride}, transposed={self.transposed}, "
            f"weight_norm={self.gain is not None}, mean_only={self.mean_only}, slope={self.slope}"
        )

    @property
    def weight(self) -> Tensor:
        """The kernel that is convolved with, (out, in, k, k), or (in, out, k, k) transposed."""
        if self.gain is None:
            return self.direction
        axes, shape = ((0, 2, 3), (1, -1, 1, 1)) if self.transposed else ((1, 2, 3), (-1, 1, 1, 1))
        length = torch.linalg.vector_norm(self.direction, dim=axes, keepdim=True)
        # Parted so, the large tensor is passed over once: a tenth of a narrow network's step.
        return self.direction * (self.gain.reshape(shape) / length.clamp_min(1e-12))

    def forward(self, x: Tensor) -> Tensor:
        rows, cols = x.shape[-2:]
        if self.transposed:
            # SAME of the forward convolution that this one transposes: (0, 1) of padding for 3×3, stride 2.
            y = F.conv_transpose2d(x, self.weight, stride=self.stride)[..., : 2 * rows, : 2 * cols]
        else:
            top, bottom = same_padding(rows, self.kernel, self.stride)
            left, right = same_padding(cols, self.kernel, self.stride)
            if top == bottom == left == right:
                y = F.conv2d(x, self.weight, stride=self.stride, padding=top)
            else:
                y = F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, stride=self.stride)
        if self.mean_only:
            y = y - y.mean((0, 2, 3), keepdim=True)
        y = y + self.bias.reshape(1, -1, 1, 1)
        return y if self.slope is None else F.leaky_relu(y, self.slope)


class Residual(nn.Module):
    """Three 3×3 convolutions of one width with identity added, and no activation after the addition."""

    def __init__(self, width: int, slope: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(NormalisedConv(width, width, slope=slope) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class EdeInner(nn.Module):
    """Half-size input (batch, 1 or 2, 256, 256) to 64 feature maps of the same size."""

    def __init__(
        self, path: bool = True, extra_residuals: bool = False, activation: Activation = "leaky", width: float = 1.0
    ) -> None:
        super().__init__()
        slope, first = (0.0, 0.0) if activation == "relu" else (0.01, 0.1)
        self.extra_residuals = extra_residuals
        widths = tuple(scaled(channels, width) for channels in (64, 128, 256, 512, 768))
        # With the path concatenated the first convolution is plain; without it both normalisations are on.
        self.encode = nn.ModuleList(
            [NormalisedConv(2 if path else 1, widths[0], 5, weight_norm=not path, mean_only=not path, slope=first)]
            + [NormalisedConv(a, b, stride=2, slope=slope) for a, b in pairwise(widths)]
        )
        self.middle = nn.Sequential(*(Residual(widths[-1], slope) for _ in range(6)))
        back = widths[::-1]
        self.decode = nn.ModuleList(
            NormalisedConv(a, b, stride=2, transposed=True, mean_only=True, slope=slope) for a, b in pairwise(back)
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.encode:
            x = layer(x)
            skips.append(x)
        x = self.middle(x)
        for layer, skip in zip(self.decode, skips[-2::-1], strict=True):
            x = layer(x)
            if self.extra_residuals:
                x = x + skip
        return x


class EdeTrainer(nn.Module):
    """64 feature maps to a half-size completion: 3×3 to 64, then 3×3 to one, linear."""

    def __init__(self, activation: Activation = "leaky", width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(64, width)
        self.layers = nn.Sequential(
            NormalisedConv(channels, channels, slope=0.0 if activation == "relu" else 0.01),
            NormalisedConv(channels, 1, slope=None),
        )

    def forward(self, features: Tensor) -> Tensor:
        completion: Tensor = self.layers(features)
        return completion


class EdeOuter(nn.Module):
    """Full-size input and inner features to the restoration, linear, about [-1, 1]."""

    def __init__(self, path: bool = True, activation: Activation = "leaky", width: float = 1.0) -> None:
        super().__init__()
        slope, first = (0.0, 0.0) if activation == "relu" else (0.01, 0.1)
        few, many = scaled(32, width), scaled(64, width)
        self.first = NormalisedConv(2 if path else 1, few, 5, mean_only=not path, slope=first)
        self.second = NormalisedConv(few, many, stride=2, slope=first)
        self.middle = nn.Sequential(*(Residual(many, slope) for _ in range(3)))
        self.up = NormalisedConv(many, few, stride=2, transposed=True, mean_only=True, slope=slope)
        self.last = nn.Sequential(NormalisedConv(few, few, slope=slope), NormalisedConv(few, 1, slope=None))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        restored: Tensor = self.last(self.up(self.middle(self.second(self.first(x)) + features)))
        return restored


class EdeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ede2020", tag_field="kind"):
    """The author's switches: path concatenated, extra residuals, activation, and nearest infill of the input.

    ``width`` is a share of his channels: 1 is his network, 1/8 one of 1.66 M parameters that a processor trains.

    Raises:
        InvalidInput: the width is outside 1/32 to 1.
    """

    path_information: bool = True
    extra_residuals: bool = False
    activation: Activation = "leaky"
    infill: bool = False
    width: float = 1.0

    def __post_init__(self) -> None:
        if not 1 / 32 <= self.width <= 1:
            raise InvalidInput("width", self.width, "is outside 1/32 to 1", "1 is the author's network")


class Ede2020(nn.Module):
    """The whole generator behind the same call as ours: normalised partial frame in, normalised estimate out.

    His input is the partial scan scaled to [0, 1] by its own extremes with zeros (or, infilled, the nearest sample)
    off the path, and the dwell; his output is on [-1, 1] of the truth's extremes. Between, the estimate is mapped
    back by the partial scan's extremes, which is all that can be known.
    """

    def __init__(self, config: EdeConfig | None = None) -> None:
        super().__init__()
        self.config = config or EdeConfig()
        path, activation = self.config.path_information, self.config.activation
        self.inner = EdeInner(path, self.config.extra_residuals, activation, self.config.width)
        self.trainer = EdeTrainer(activation, self.config.width)
        self.outer = EdeOuter(path, activation, self.config.width)

    def forward(self, mean: Tensor, weight: Tensor, distance: Tensor, noise: Tensor | None = None) -> Estimate:
        """As :meth:`~restore.generator.generator.Generator.forward`; sides: multiples of 32. log_scale is all zero.

        What is stated of the noise is not looked at.
        """
        touched = weight > 0
        low = torch.where(touched, mean, torch.inf).amin((1, 2, 3), keepdim=True)
        high = torch.where(touched, mean, -torch.inf).amax((1, 2, 3), keepdim=True)
        span = (high - low).clamp_min(1e-6)
        scan = torch.where(touched, (mean - low) / span, 0.0)
        if self.config.infill:
            scan = _nearest(scan, touched)
        planes = torch.cat([scan, weight.clamp_max(1.0)], 1) if self.config.path_information else scan
        # Bilinear resizing in TensorFlow 1 takes every second pixel when it halves, and averages nothing.
        features = self.inner(planes[..., ::2, ::2])
        frame = (self.outer(planes, features) * 0.5 + 0.5) * span + low
        trained = (self.trainer(_half_gradient(features)) * 0.5 + 0.5) * span + low if self.training else None
        return Estimate(frame, torch.zeros_like(frame), trained)


def _half_gradient(features: Tensor) -> Tensor:
    """The features, with half of their gradient: his trainer has its loss twice, his inner network once."""
    return 0.5 * features + 0.5 * features.detach()


def _nearest(values: Tensor, touched: Tensor) -> Tensor:
    """The value of the nearest touched pixel, by jump flooding; (batch, 1, rows, cols)."""
    rows, cols = values.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=values.device), torch.arange(cols, device=values.device), indexing="ij"
    )
    seed = torch.where(touched, y * cols + x, -1)
    step = 1 << (max(rows, cols) - 1).bit_length()
    while step := step // 2:
        best = _square_distance(seed, y, x, cols)
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                moved = F.pad(seed, (step, step, step, step), value=-1)
                moved = moved[..., step + dy : step + dy + rows, step + dx : step + dx + cols]
                other = _square_distance(moved, y, x, cols)
                seed, best = torch.where(other < best, moved, seed), torch.minimum(best, other)
    return values.flatten(2).gather(2, seed.clamp_min(0).flatten(2)).reshape(values.shape)


def _square_distance(seed: Tensor, y: Tensor, x: Tensor, cols: int) -> Tensor:
    square = ((seed // cols) - y).square() + ((seed % cols) - x).square()
    return torch.where(seed >= 0, square, 1 << 40)
