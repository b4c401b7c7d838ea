"""Draw what a microscope would have measured: crops, paths, noise and lag, on the training device.

Each item of a batch gets its own crop, path and noise from its own random generator, which is seeded by (run seed,
step, item). So a resumed run, or one on more processes, sees exactly the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore.gridding import Normalisation, distance_to_path, scatter_mean
from scancontrol.errors import InvalidInput

__all__ = ["Batch", "DrawConfig", "collate", "draw_item", "draw_path"]

KINDS = ("jittered", "archimedean", "random", "grid", "line_hop", "fermat", "angular", "walk")


class DrawConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the training data looks like. Shares are probabilities."""

    patterns: dict[str, float] = msgspec.field(
        default_factory=lambda: {
            "jittered": 0.32,
            "archimedean": 0.32,
            "random": 0.06,
            "grid": 0.05,
            "line_hop": 0.08,
            "fermat": 0.06,
            "angular": 0.05,
            "walk": 0.06,
        }
    )
    coverage: tuple[float, float] = (0.01, 0.2)
    coverage_skew: float = 1.0  # 1 draws coverage log-uniformly; above 1, low coverage more often
    subpixel_share: float = 0.35  # values interpolated at the exact position, otherwise the pixel's own
    poisson_share: float = 0.35
    electrons: tuple[float, float] = (10.0, 3000.0)  # per sample at full scale, log-uniform
    lag_share: float = 0.2  # of continuous paths: the beam trails the nominal position
    lag_samples: float = 2.0  # longest time constant
    zoom_share: float = 0.5
    zoom: tuple[float, float] = (0.7, 1.5)
    turn_share: float = 0.0  # turned by any angle and stretched, as far as the micrograph reaches
    stretch: float = 1.2  # longest side of the stretched crop over its shortest
    gamma_share: float = 0.25
    invert_share: float = 0.1

    def __post_init__(self) -> None:
        unknown = set(self.patterns) - set(KINDS)
        if unknown or not self.patterns or min(self.patterns.values()) < 0 or sum(self.patterns.values()) <= 0:
            raise InvalidInput(
                "patterns", self.patterns, "is no distribution over known patterns", f"use {', '.join(KINDS)}"
            )
        low, high = self.coverage
        if not 0 < low <= high <= 1:
            raise InvalidInput("coverage", self.coverage, "is not 0 < low ≤ high ≤ 1", "give (lowest, highest)")


@dataclass(frozen=True)
class Batch:
    """One training batch on the device; images (batch, 1, rows, cols).

    ``truth`` is in units where the micrograph spans [0, 1]; ``mean`` is normalised by ``normalisation``.
    """

    truth: Tensor
    mean: Tensor
    weight: Tensor
    distance: Tensor
    normalisation: Normalisation


@dataclass(frozen=True)
class _Item:
    truth: Tensor  # (size, size)
    index: Tensor
    values: Tensor


def crop(image: Tensor, size: int, config: DrawConfig, rng: np.random.Generator, device: torch.device) -> Tensor:
    """A random augmented (size, size) crop of a uint8 image, float32 in [0, 1]."""
    zoom = math.exp(rng.uniform(*np.log(config.zoom))) if rng.random() < config.zoom_share else 1.0
    if config.turn_share > 0 and rng.random() < config.turn_share:
        patch = _turned(image, size, zoom, config.stretch, rng, device)
    else:
        patch = _upright(image, size, zoom, rng, device)
    if rng.random() < 0.5:
        patch = patch.flip(1)
    if rng.random() < config.gamma_share:
        patch = patch ** math.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < config.invert_share:
        patch = 1 - patch
    return patch.contiguous()


def _upright(image: Tensor, size: int, zoom: float, rng: np.random.Generator, device: torch.device) -> Tensor:
    side = min(image.shape)
    source = min(max(32, round(size / zoom)), side)
    top, left = (int(rng.integers(0, n - source + 1)) for n in image.shape)
    patch = image[top : top + source, left : left + source].to(device).float() / 255.0
    if source != size:
        patch = F.interpolate(
            patch[None, None], size=(size, size), mode="bicubic", align_corners=False, antialias=source > size
        )[0, 0].clamp(0, 1)
    return torch.rot90(patch, int(rng.integers(4)))


def _turned(
    image: Tensor, size: int, zoom: float, stretch: float, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """A parallelogram of the image, read bicubically; enlarged as far as it must be to lie inside."""

    def turn(angle: float) -> np.ndarray:
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    ratio = math.exp(rng.uniform(0, math.log(stretch)) / 2)
    axes = turn(rng.uniform(0, 2 * math.pi)) @ np.diag([ratio, 1 / ratio]) @ turn(rng.uniform(0, math.pi))
    extent = size * np.abs(axes).sum(1)  # of its bounding box, rows and cols, unzoomed
    sides = np.array(image.shape, dtype=float)
    axes = axes / max(zoom, 1.0, float((extent / (sides - 1)).max()))  # never coarser: nothing would be averaged
    reach = size * np.abs(axes).sum(1) / 2
    centre = rng.uniform(reach, sides - reach)
    # grid_sample takes (x, y) from −1 to 1 over the image, and the output's pixels likewise.
    theta = np.concatenate([(axes * size / sides[:, None])[::-1, ::-1], (2 * centre / sides - 1)[::-1, None]], 1)
    grid = F.affine_grid(
        torch.from_numpy(theta.astype(np.float32)).to(device)[None], [1, 1, size, size], align_corners=False
    )
    whole = image.to(device).float()[None, None] / 255.0
    return F.grid_sample(whole, grid, "bicubic", "reflection", align_corners=False)[0, 0].clamp(0, 1)


def _spiral(kind: str, size: int, coverage: float, rng: np.random.Generator, device: torch.device) -> Tensor:
    spacing = 1 / coverage
    centre = np.full(2, size / 2)
    if rng.random() < 0.5:  # an off-centre crop of a larger frame
        centre = centre + rng.uniform(-size, size, 2)
    reach = float(np.hypot(*(np.abs(centre - size / 2) + size / 2)))
    growth = spacing / (2 * math.pi)
    if kind == "fermat":  # turns close up outwards; the same density over the frame's own disc
        frame = max(reach, size * 0.7072)
        end = 2 * math.pi * coverage * frame / 2
        rate = 1 / frame
        theta = torch.arange(int(end / rate), device=device, dtype=torch.float64) * rate
        radius = frame * (theta / end).sqrt()
    else:
        end = reach / growth
        if kind == "angular":
            theta = torch.arange(int(end * reach), device=device, dtype=torch.float64) / reach
        else:
            step = rng.choice([0.5, 1.0, 1.0, 1.0])
            theta = torch.arange(int(end * end * growth / (2 * step)), device=device, dtype=torch.float64)
            theta = ((theta + 0.5) * (2 * step / growth)).sqrt()
        radius = growth * theta
    theta = theta * rng.choice([-1.0, 1.0]) + rng.uniform(0, 2 * math.pi)
    return torch.stack([centre[0] + radius * theta.sin(), centre[1] + radius * theta.cos()], 1)


def _cells(size: int, coverage: float, jitter: float, rng: np.random.Generator, device: torch.device) -> Tensor:
    count = max(4, round(size * math.sqrt(coverage)))
    draw = torch.from_numpy(rng.random((count, count, 2))).to(device)
    line = torch.arange(count, device=device, dtype=torch.float64)
    cell = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    return ((cell + 0.5 + (draw - 0.5) * jitter) * (size / count)).reshape(-1, 2)


def _lines(kind: str, size: int, coverage: float, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Rows about 1/coverage apart: hopping within a band per pixel, or a walk (the poster's grid-like path)."""
    grid = kind == "walk"
    lines = max(2, round(size * coverage / (2 if grid else 1)))
    spacing = size / lines

    def rows() -> np.ndarray:
        base = (np.arange(lines)[:, None] + 0.5) * spacing
        if grid:
            moves = rng.normal(0, 1, (lines, size)) * (rng.random((lines, size)) < 0.5)
            offset = np.cumsum(0.6 * moves, 1)
            period = 2 * spacing
            offset = np.abs((offset + spacing / 2) % period - spacing) - spacing / 2  # reflect inside the band
        else:
            offset = (rng.random((lines, size)) - 0.5) * spacing
        across = np.broadcast_to(np.arange(size) + 0.5, (lines, size))
        return np.stack([base + offset, across], -1).reshape(-1, 2)

    points = rows()
    if grid:
        points = np.concatenate([points, rows()[:, ::-1]])
    return torch.from_numpy(points).to(device)


def draw_path(
    kind: str, size: int, coverage: float, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, bool]:
    """Positions (n, 2) in pixels [0, size) of a random path of a kind, and whether neighbours in it are adjacent."""
    if kind in ("archimedean", "fermat", "angular"):
        positions = _spiral(kind, size, coverage, rng, device)
        return positions[((positions >= 0) & (positions < size)).all(1)], True
    if kind in ("jittered", "grid"):
        jitter = rng.choice([1.0, 1.0, 0.5]) if kind == "jittered" else rng.choice([0.0, 0.1])
        return _cells(size, coverage, jitter, rng, device).clamp(0, size - 1e-6), False
    if kind == "random":
        count = max(32, round(coverage * size * size))
        return torch.from_numpy(rng.random((count, 2)) * size).to(device), False
    return _lines(kind, size, coverage, rng, device).clamp(0, size - 1e-6), kind == "walk"


def _read_values(truth: Tensor, where: Tensor, exact: bool) -> Tensor:
    """The micrograph at positions (n, 2) in pixels: bilinear, or the pixel's own value."""
    size = truth.shape[0]
    if not exact:
        pixel = where.floor().long().clamp(0, size - 1)
        return truth[pixel[:, 0], pixel[:, 1]]
    at = (where / size * 2 - 1).flip(1).float()[None, None]
    return F.grid_sample(truth[None, None], at, "bilinear", "border", align_corners=False)[0, 0, 0]


def draw_item(image: Tensor, size: int, config: DrawConfig, rng: np.random.Generator, device: torch.device) -> _Item:
    """One crop and the samples that a scan of it would have given."""
    truth = crop(image, size, config, rng, device)
    names, shares = zip(*config.patterns.items(), strict=True)
    kind = str(rng.choice(names, p=np.array(shares) / sum(shares)))
    lowest, highest = np.log(config.coverage)
    coverage = math.exp(lowest + (highest - lowest) * rng.random() ** config.coverage_skew)
    where, continuous = draw_path(kind, size, coverage, rng, device)
    if len(where) < 32:
        where, continuous = draw_path("random", size, max(coverage, 0.01), rng, device)
    achieved = where
    if continuous and rng.random() < config.lag_share:
        decay = math.exp(-1 / rng.uniform(0.2, config.lag_samples))
        taps = decay ** torch.arange(12, device=device, dtype=torch.float64)
        padded = torch.cat([where[:1].expand(11, 2), where])
        achieved = F.conv1d(padded.T[:, None], (taps / taps.sum()).flip(0)[None, None])[:, 0].T
    values = _read_values(truth, achieved, rng.random() < config.subpixel_share)
    if rng.random() < config.poisson_share:
        electrons = math.exp(rng.uniform(*np.log(config.electrons)))
        counted = rng.poisson(values.cpu().numpy().astype(np.float64).clip(0) * electrons + 0.02 * electrons)
        values = (torch.from_numpy(counted).to(device) / electrons - 0.02).float()
    pixel = where.floor().long().clamp(0, size - 1)
    return _Item(truth, pixel[:, 0] * size + pixel[:, 1], values)


def collate(items: list[_Item]) -> Batch:
    """Grid the items together: one scatter and one distance transform for the whole batch."""
    size, longest = items[0].truth.shape[0], max(len(item.index) for item in items)
    index = torch.stack([F.pad(item.index, (0, longest - len(item.index))) for item in items])
    values = torch.stack([F.pad(item.values, (0, longest - len(item.values))) for item in items])
    used = torch.stack([F.pad(torch.ones_like(item.values), (0, longest - len(item.values))) for item in items])
    normalisations = [Normalisation.of(item.values[None]) for item in items]
    normalisation = Normalisation(
        torch.cat([n.centre for n in normalisations]), torch.cat([n.scale for n in normalisations])
    )
    mean, weight = scatter_mean(index, used, normalisation.apply(values), size * size)
    shape = (len(items), 1, size, size)
    weight = weight.reshape(shape)
    truth = torch.stack([item.truth for item in items])[:, None]
    return Batch(truth, mean.reshape(shape), weight, distance_to_path(weight > 0), normalisation)
