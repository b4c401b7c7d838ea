"""Random paths of every kind, in pixels of a square frame, on the training device."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["KINDS", "draw_path"]

KINDS = ("jittered", "archimedean", "random", "grid", "line_hop", "fermat", "angular", "walk")


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
