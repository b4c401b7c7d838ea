"""Multi-scale discriminators: crops of 70, 140 and 280 px, all seen at 70 px, each by its own network.

Four 4×4 convolutions of stride 2 without padding, 64-128-256-512 channels, 70-34-16-7-2 px, spectrally normalised
by one power iteration; the outputs are summed to one score. 2.754 M parameters each with one input channel. The
author's are unconditional, so they judge realism and not correctness; ``conditional`` ones also see the fill and the
path weight of the crop.

References:
    Miyato et al. 2018, https://arxiv.org/abs/1802.05957 (spectral normalisation, Algorithm 1).
    Mao et al. 2017, https://arxiv.org/abs/1611.04076 (least squares). Lim & Ye 2017, https://arxiv.org/abs/1705.02894
    (hinge). Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734 (relativistic). Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406 (R1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scancontrol.errors import InvalidInput

__all__ = [
    "CROPS",
    "Adversary",
    "Discriminator",
    "Scores",
    "adversarial_loss",
    "discriminator_loss",
    "multiscale_crops",
]

CROPS = (70, 140, 280)
_SEEN = 70
_MARGIN = 140

Kind = Literal["least_squares", "hinge", "relativistic"]


class SpectralConv(nn.Module):
    """4×4 convolution of stride 2, VALID, divided by its largest singular value (estimated, one iteration a step)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_out, width_in, 4, 4) * 0.05)
        self.bias = nn.Parameter(torch.zeros(width_out))
        self.u: Tensor
        self.register_buffer("u", torch.randn(width_out) * 0.03)

    def normalised(self) -> Tensor:
        """w / σ(w); in training mode the running left vector u takes one power iteration."""
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
            if self.training:
                self.u.copy_(u)
        return self.weight / torch.dot(u, matrix @ v)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalised(), self.bias, stride=2)


class Discriminator(nn.Module):
    """Score (batch,) of 70 × 70 crops (batch, channels, 70, 70); leaky ReLU 0.2 after every layer, the last too."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        widths = (channels, 64, 128, 256, 512)
        self.layers = nn.ModuleList(SpectralConv(a, b) for a, b in pairwise(widths))

    def forward(self, crops: Tensor) -> Tensor:
        x = crops
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return x.sum((1, 2, 3))


def multiscale_crops(images: Tensor, generator: torch.Generator, crops: Sequence[int] = CROPS) -> list[Tensor]:
    """One random crop per scale, a multiple of 70 px, at the same place in every image, as 70 × 70 of its pixels.

    Every second or fourth pixel is taken, as the author's resizing does: averaging would take the noise away by which
    a restoration is told from a micrograph.

    Images (batch, channels, rows, cols) are first padded by 140 px of reflection, as the author does against
    periodic artefacts, or by as much as a smaller image has. Stack real and restored along channels or batch to
    give both the same place.

    Raises:
        InvalidInput: the padded images are smaller than the largest crop.
    """
    rows, cols = images.shape[-2:]
    margin = min(_MARGIN, rows - 1, cols - 1)
    padded = F.pad(images, (margin,) * 4, mode="reflect")
    height, width = padded.shape[-2:]
    if min(height, width) < max(crops):
        raise InvalidInput("crop", max(crops), f"is larger than the padded {height} × {width}", "train on larger crops")
    found = []
    for size in crops:
        top = int(torch.randint(height - size + 1, (1,), generator=generator))
        left = int(torch.randint(width - size + 1, (1,), generator=generator))
        crop = padded[..., top : top + size, left : left + size]
        stride = size // _SEEN
        found.append(crop[..., ::stride, ::stride])
    return found


class Scores(NamedTuple):
    """One scale's scores of real and restored crops, (batch,) each, and R1 of the real ones if it was asked for."""

    real: Tensor
    restored: Tensor
    penalty: Tensor | None


class Adversary(nn.Module):
    """The three discriminators; conditional ones see two more planes."""

    def __init__(self, conditional: bool = False) -> None:
        super().__init__()
        self.conditional = conditional
        self.scales = nn.ModuleList(Discriminator(3 if conditional else 1) for _ in CROPS)

    def forward(
        self, real: Tensor, restored: Tensor, condition: Tensor, generator: torch.Generator, penalise: bool = False
    ) -> list[Scores]:
        """Scores at every scale, real and restored from the same places.

        Args:
            real, restored: (batch, 1, rows, cols) on [-1, 1].
            condition: fill and path weight (batch, 2, rows, cols); unused by unconditional discriminators.
            penalise: also measure the gradient penalty R1 on the real crops.
        """
        if self.conditional:
            real, restored = torch.cat([real, condition], 1), torch.cat([restored, condition], 1)
        batch = real.shape[0]
        scores = []
        crops = multiscale_crops(torch.cat([real, restored]), generator)
        for network, crop in zip(self.scales, crops, strict=True):
            if not penalise:
                score = network(crop)
                scores.append(Scores(score[:batch], score[batch:], None))
                continue
            seen = crop[:batch].detach().requires_grad_()
            score = network(seen)
            (gradient,) = torch.autograd.grad(score.sum(), seen, create_graph=True)
            penalty = gradient.square().sum((1, 2, 3)).mean()
            scores.append(Scores(score, network(crop[batch:]), penalty))
        return scores


def discriminator_loss(real: Tensor, restored: Tensor, kind: Kind) -> Tensor:
    """What a discriminator makes small, from its scores (batch,)."""
    if kind == "least_squares":
        return (real - 1).square().mean() + restored.square().mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + restored).mean()
    return F.softplus(restored.mean() - real).mean() + F.softplus(restored - real.mean()).mean()


def adversarial_loss(real: Tensor, restored: Tensor, kind: Kind) -> Tensor:
    """What the generator makes small against one discriminator, from the same scores."""
    if kind == "least_squares":
        return (restored - 1).square().mean()
    if kind == "hinge":
        return -restored.mean()
    return F.softplus(real.mean() - restored).mean() + F.softplus(real - restored.mean()).mean()
