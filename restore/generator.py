"""The generator in the poster's form, with blocks of today: inner network, trainer head, outer network.

The *inner* network sees the whole frame at half size: the spectral start, what the samples say about its misfit,
where they lie, and the frame's own statistics. In training only, the *trainer* head turns its features into a
half-size restoration with its own loss. The *outer* network recombines the features with the full-size input and
predicts what to add to the low-passed start, and the logarithm of the error's scale on every pixel.

Both networks work at a quarter of the frame's size with plain 3×3 convolutions: few, fat kernels. There is no batch
normalisation; the frame's statistics scale and shift the features instead (Perez et al. 2018,
https://arxiv.org/abs/1709.07871).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.low_pass import low_pass
from restore.planes import FULL_CHANNELS, HALF_CHANNELS, network_planes
from restore.spectral import STATISTICS, SpectralProcess, SpectralStart
from restore.texture import TextureStrengths, textured
from scancontrol.errors import InvalidInput

__all__ = ["PRESETS", "Estimate", "Generator", "GeneratorConfig", "consistent"]


class GeneratorConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="spectral", tag_field="kind"
):
    """Size of the generator.

    Attributes:
        widths: channels at 1/4, 1/8, 1/16, … of the frame's size; inner_blocks: at each of them, encoder and decoder.
        spectral_iterations: of each round of the start, see :class:`restore.spectral.SpectralProcess`.
        first: networks that correct the start before the others do, so that its spectrum is learnt once more, from
            their frame, with the last round's iterations. They are trained on their own, as a generator without.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192)
    inner_blocks: tuple[int, ...] = (0, 1, 1, 2)
    outer_blocks: int = 2
    extra_residuals: bool = True  # encoder features added to the mirrored decoder level
    path_information: bool = True  # weight and distance planes; without them only values are seen
    texture: bool = False  # the realistic face: detail and noise in place, in strengths that the outer network predicts
    spectral_iterations: tuple[int, ...] = (4, 5, 5, 8)
    first: GeneratorConfig | None = None

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.inner_blocks) or not self.widths:
            raise InvalidInput(
                "inner_blocks",
                self.inner_blocks,
                f"has not one entry for each of the {len(self.widths)} widths",
                "give as many block counts as widths",
            )
        if min(self.widths) < 1 or min(self.inner_blocks) < 0 or self.outer_blocks < 0:
            raise InvalidInput("widths", self.widths, "has an entry below 1", "give positive channel counts")
        if len(self.spectral_iterations) < 2:
            raise InvalidInput("spectral_iterations", self.spectral_iterations, "is no two rounds", "give two or more")
        if self.first is not None and (self.first.first is not None or self.first.texture):
            raise InvalidInput("first", self.first, "are not plain networks", "leave out their first and texture")
        # A file of weights states this, and its hash proves only that somebody computed one.
        largest = {"widths": (*self.widths, 1024), "spectral_iterations": (*self.spectral_iterations, 1024)}
        largest["inner_blocks and outer_blocks"] = (*self.inner_blocks, self.outer_blocks, 64)
        for quantity, (*values, limit) in largest.items():
            if len(values) > 8 or max(values) > limit:
                raise InvalidInput(quantity, values, f"has an entry above {limit}, or more than 8", "use a preset")


PRESETS: dict[str, GeneratorConfig] = {
    "lite": GeneratorConfig(),
    "live": GeneratorConfig(
        widths=(48, 96, 160, 192),
        inner_blocks=(1, 1, 2, 2),
        spectral_iterations=(8, 8, 8, 8, 8, 16),
        first=GeneratorConfig(),
    ),
}


class Estimate(NamedTuple):
    """What the generator says, in the units of its normalised input.

    Attributes:
        frame: the restored frame, (batch, 1, rows, cols).
        log_scale: natural logarithm of the expected absolute error on each pixel, (batch, 1, rows, cols).
        half: the trainer head's half-size frame, (batch, 1, ⌈rows/2⌉, ⌈cols/2⌉); None outside training.
    """

    frame: Tensor
    log_scale: Tensor
    half: Tensor | None


class Block(nn.Module):
    """x + conv(relu(conv(x))), 3×3; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu_(self.first(F.relu(x)))).add_(x)


class Inner(nn.Module):
    """Large-scale features at 1/4 size, (batch, widths[0], rows/4, cols/4), from ``Planes.half``."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = config.widths
        self.extra_residuals = config.extra_residuals
        self.stem = nn.Conv2d(HALF_CHANNELS, widths[0], 3, padding=1)
        films = nn.Linear(64, 2 * sum(widths))
        nn.init.zeros_(films.weight)
        nn.init.zeros_(films.bias)
        self.condition = nn.Sequential(nn.Linear(len(STATISTICS), 64), nn.ReLU(), films)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(blocks)))
            for width, blocks in zip(widths, config.inner_blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(blocks)))
            for width, blocks in zip(widths[:-1], config.inner_blocks, strict=False)
        )
        self.widths = widths

    def forward(self, planes: Tensor, statistics: Tensor) -> Tensor:
        conditions = self.condition(statistics).to(planes.dtype)
        films = conditions[:, :, None, None].split([2 * w for w in self.widths], 1)
        x = self.stem(planes)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.down[level - 1](F.relu(x))
            scale, shift = films[level].chunk(2, 1)
            x = blocks(torch.addcmul(shift, x, 1 + scale))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.up[level](x), scale_factor=2, mode="bilinear", align_corners=False)
            if self.extra_residuals:
                x = x.add_(skips[level])
            x = self.decode[level](x)
        return x


class Trainer(nn.Module):
    """Half-size correction from the inner features; only training needs it."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.head = nn.Conv2d(config.widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.head(F.relu(features)), 2)


class Outer(nn.Module):
    """Correction and log scale at full size from ``Planes.full`` and the inner features."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.stem = nn.Conv2d(FULL_CHANNELS, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(config.outer_blocks)))
        self.head = nn.Conv2d(width, 32, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]
        self.head.bias.data[16:] = -1.5  # type: ignore[union-attr]
        self.texture = TextureStrengths(width) if config.texture else None

    def forward(self, planes: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Correction and log scale, (batch, 1, rows, cols) each, and strengths of the texture if there is one."""
        x = F.relu_(self.blocks(self.stem(planes).add_(features)))
        out = F.pixel_shuffle(self.head(x), 4)
        return out[:, :1], out[:, 1:], None if self.texture is None else self.texture(x).float()


class FirstNetworks(nn.Module):
    """Correct the start at half size; see ``GeneratorConfig.first``. No gradient passes the start, nor reaches them."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.inner, self.outer = Inner(config), Outer(config)
        self.path_information = config.path_information
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, mean: Tensor, weight: Tensor, distance: Tensor, start: SpectralStart) -> Tensor:
        """The corrected half-size frame, (batch, 1, rows/2, cols/2)."""
        half, full, _ = network_planes(mean, weight, distance, start, self.path_information)
        precision = self.outer.stem.weight.dtype
        correction = self.outer(full.to(precision), self.inner(half.to(precision), start.statistics))[0]
        # The correction is of the low-passed start; the detail that the low pass takes stays.
        return start.estimate + F.avg_pool2d(correction.float(), 2)


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

    def forward(self, mean: Tensor, weight: Tensor, distance: Tensor) -> Estimate:
        """Restore normalised partial frames.

        Arguments:
            mean: normalised samples per pixel, 0 off the path, (batch, 1, rows, cols).
            weight: dwell per pixel relative to one nominal sample, 0 off the path, (batch, 1, rows, cols).
            distance: pixels to the path, (batch, 1, rows, cols).
        """
        rows, cols = mean.shape[-2:]
        below, right = -rows % self.stride, -cols % self.stride
        if below or right:
            mean, weight = F.pad(mean, (0, right, 0, below)), F.pad(weight, (0, right, 0, below))
            distance = F.pad(distance, (0, right, 0, below), mode="replicate")
        start = self._start(mean, weight, distance, float(rows * cols))
        half, full, fill = network_planes(mean, weight, distance, start, self.config.path_information)
        smooth = low_pass(fill)
        precision = self.outer.stem.weight.dtype
        features = self.inner(half.to(precision), start.statistics)
        correction, log_scale, strengths = self.outer(full.to(precision), features)
        trained = None
        if self.training:
            trained = (start.estimate + self.trainer(features))[..., : -(-rows // 2), : -(-cols // 2)]
        noise = (0.5 * start.statistics[:, STATISTICS.index("log noise")]).exp()
        frame = smooth + correction
        if strengths is not None:
            frame = smooth + low_pass(correction) + textured(strengths, fill - smooth, noise)
        frame = consistent(frame, mean, weight, noise, fill - smooth)[..., :rows, :cols]
        return Estimate(frame, log_scale.float().clamp(-8, 4)[..., :rows, :cols], trained)

    def _start(self, mean: Tensor, weight: Tensor, distance: Tensor, area: float) -> SpectralStart:
        iterations = self.config.spectral_iterations
        with torch.autocast(mean.device.type, enabled=False):  # dot products of thousands of terms need float32
            process = SpectralProcess(mean, weight, area)
            start = process.start(iterations)
        if self.first is None:
            return start
        corrected = self.first(mean, weight, distance, start)
        with torch.autocast(mean.device.type, enabled=False):
            return process.again(corrected, iterations[-1])


def consistent(frame: Tensor, mean: Tensor, weight: Tensor, noise: Tensor, detail: Tensor) -> Tensor:
    """The frame, kept within three standard errors of what was measured wherever the beam dwelt.

    What was measured is the reading at one point, or that reading without the detail which a low-passed frame cannot
    show: anything between the two agrees with it.

    Arguments:
        noise: standard deviation of one nominal sample about the spectral start, (batch,), from the frame itself.
        detail: the start minus the start low-passed, shape of ``frame``.
    """
    limit = 3 * noise[:, None, None, None] * weight.clamp_min(1e-6).rsqrt()
    lowest = mean - detail.clamp_min(0) - limit
    highest = mean - detail.clamp_max(0) + limit
    return torch.where(weight > 0, torch.maximum(torch.minimum(frame, highest), lowest), frame)
