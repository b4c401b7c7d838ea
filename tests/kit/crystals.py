"""Lattices of Gaussian columns, known everywhere, and readings of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from restore.fills.registry import positions_px
from restore.gridding import FrameGeometry

Displacement = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Lattice:
    """Columns (m, 2) in pixels with their heights, and which are vacancies of 45 %."""

    columns: np.ndarray
    heights: np.ndarray
    vacant: np.ndarray
    sigma_px: float
    vectors: np.ndarray
    shape: tuple[int, int]

    def at(self, points: np.ndarray) -> np.ndarray:
        """The specimen at points (n, 2)."""
        reach = 6 * self.sigma_px
        distance, nearest = cKDTree(self.columns).query(points, k=24, distance_upper_bound=reach)
        heights = np.append(self.heights, 0.0)[nearest]
        return (heights * np.exp(-0.5 * (np.minimum(distance, reach) / self.sigma_px) ** 2)).sum(1)

    def image(self) -> Tensor:
        """The specimen on every pixel, (rows, cols)."""
        grid = np.stack(np.mgrid[: self.shape[0], : self.shape[1]], -1).reshape(-1, 2)
        return torch.from_numpy(self.at(grid.astype(float)).reshape(self.shape)).float()

    def read(self, geometry: FrameGeometry, electrons: float | None = None, seed: int = 0) -> Tensor:
        """A reading of each sample of a geometry, counted from so many electrons at height 1, or exact."""
        values = self.at(positions_px(geometry).double().numpy())
        if electrons is not None:
            values = np.random.default_rng(seed).poisson(np.maximum(values, 0) * electrons) / electrons
        return torch.from_numpy(values).float()


def square_lattice(
    period_px: float,
    shape: tuple[int, int] = (160, 160),
    angle_deg: float = 17.0,
    vacancies: float = 0.0,
    bent: Displacement | None = None,
    seed: int = 0,
) -> Lattice:
    """Two species: bright columns, and columns of 0.45 of their height between them."""
    generator = np.random.default_rng(seed)
    turn = np.deg2rad(angle_deg)
    vectors = period_px * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    line = np.arange(-2 * max(shape) // int(period_px), 2 * max(shape) // int(period_px))
    cells = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    columns = np.concatenate([(cells + np.array(place)) @ vectors for place in ((0.1, 0.2), (0.6, 0.7))])
    heights = np.repeat([1.0, 0.45], len(cells))
    near = ((columns > -20) & (columns < np.array(shape) + 20)).all(1)
    columns, heights = columns[near], heights[near]
    if bent is not None:
        columns = columns + bent(columns)
    vacant = generator.random(len(columns)) < vacancies
    return Lattice(columns, np.where(vacant, 0.55 * heights, heights), vacant, period_px / 6, vectors, shape)


def scattered(share: float, shape: tuple[int, int] = (160, 160), seed: int = 0) -> FrameGeometry:
    """The geometry of points anywhere in the frame."""
    count = round(share * shape[0] * shape[1])
    return FrameGeometry.from_positions(np.random.default_rng(seed).random((count, 2)), shape)
