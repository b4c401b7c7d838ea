"""Kinds that are no crystal, or not everywhere: particles with sharp edges, films, crystalline particles on a film."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from simulators.specimens.films import smooth_noise
from simulators.specimens.truths.columns import laid, rendered
from simulators.specimens.truths.lattices import drawn_cell, with_defects
from simulators.specimens.truths.truth import NO_EDGES, Columns, Edges, Truth

__all__ = ["crystal_particles", "film", "particles"]

_WIDTH_OF_SIGMA = 2.5631  # from 10 to 90 % of a Gaussian edge
_REACH_PX = 10.0
_GAP_PX = 2 * _REACH_PX

Shape = tuple[int, int]


@dataclass(frozen=True)
class _Polygon:
    """A convex outline: the half-planes ``normal · (p - middle) < distance``."""

    middle: NDArray[np.float64]  # (2,)
    normals: NDArray[np.float64]  # (k, 2), in the order of their angles
    distances: NDArray[np.float64]  # (k,)

    @property
    def radius(self) -> float:
        """A circle of which about the middle holds the outline."""
        return 1.5 * float(self.distances.max())

    def depth(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far inside (positive) or outside each position (..., 2) is, near the outline."""
        away = positions - self.middle
        depth = np.full(away.shape[:-1], np.inf)
        for normal, distance in zip(self.normals, self.distances, strict=True):
            np.minimum(depth, distance - away @ normal, out=depth)
        return depth

    def edges(self, width_px: float) -> Edges:
        """The middle of each facet that is long enough to be measured."""
        before, after = np.roll(self.normals, 1, 0), np.roll(self.normals, -1, 0)
        tangent = self.normals[:, ::-1] * (-1, 1)

        def meets(other: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
            along = (tangent * other).sum(1)
            way = distance - self.distances * (self.normals * other).sum(1)
            return np.asarray(way / np.where(along == 0, 1.0, along))

        ends = meets(before, np.roll(self.distances, 1)), meets(after, np.roll(self.distances, -1))
        point = self.middle + self.normals * self.distances[:, None] + tangent * ((ends[0] + ends[1]) / 2)[:, None]
        clear = self.depth(point - _REACH_PX * self.normals) > 0.999 * _REACH_PX
        clear &= np.abs(ends[1] - ends[0]) > _REACH_PX
        count = int(clear.sum())
        return Edges(point[clear], self.normals[clear], np.full(count, width_px), np.full(count, _REACH_PX))


def _polygon(middle: NDArray[np.float64], radius: float, rng: np.random.Generator) -> _Polygon:
    """Four to nine facets, or so many that it is round."""
    count = int(rng.choice((4, 5, 6, 7, 8, 9, 32)))
    round_enough = count == 32
    angle = (np.arange(count) + rng.uniform(-0.2, 0.2, count) * (not round_enough)) * (2 * math.pi / count)
    angle += rng.uniform(0, 2 * math.pi)
    distances = radius * (np.ones(count) if round_enough else rng.uniform(0.85, 1.0, count))
    return _Polygon(middle, np.stack((np.sin(angle), np.cos(angle)), -1), distances)


def _apart(shape: Shape, rng: np.random.Generator, count: int, smallest: float, largest: float) -> Iterator[_Polygon]:
    """Up to ``count`` outlines that keep apart, with radii as parts of the field's shorter side."""
    placed: list[_Polygon] = []
    for _ in range(4 * count):
        radius = min(shape) * float(np.exp(rng.uniform(math.log(smallest), math.log(largest))))
        outline = _polygon(rng.random(2) * shape, radius, rng)
        clear = (np.linalg.norm(outline.middle - other.middle) - outline.radius - other.radius for other in placed)
        if all(gap > _GAP_PX for gap in clear):
            placed.append(outline)
            yield outline
        if len(placed) == count:
            return


def _stamp(image: NDArray[np.float32], outline: _Polygon, level: float, sigma_px: float) -> None:
    """Add ``level`` inside the outline, with an edge as a Gaussian of ``sigma_px`` blurs it."""
    reach = outline.radius + 4 * sigma_px
    low = np.maximum(np.floor(outline.middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(outline.middle + reach) + 1, image.shape).astype(int)
    if (high <= low).any():
        return
    rows, cols = np.mgrid[low[0] : high[0], low[1] : high[1]]
    inside = ndtr(outline.depth(np.stack((rows, cols), -1).astype(np.float64)) / sigma_px)
    image[low[0] : high[0], low[1] : high[1]] += np.asarray(level * inside, np.float32)


def particles(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Particles of even brightness with sharp edges, 1 to 4 px wide, on an even background."""
    image = np.full(shape, rng.uniform(0.05, 0.3), np.float32)
    edges = []
    for outline in _apart(shape, rng, int(rng.integers(4, 15)), 0.04, 0.16):
        sigma_px = float(rng.uniform(0.4, 1.5))
        _stamp(image, outline, float(rng.uniform(0.3, 0.7)), sigma_px)
        edges.append(outline.edges(_WIDTH_OF_SIGMA * sigma_px))
    return Truth("particles", image, edges=_inside(edges, shape))


def _inside(edges: list[Edges], shape: Shape) -> Edges:
    """All of them, but those too near the frame's border to be measured."""
    if not edges:
        return NO_EDGES
    position = np.concatenate([part.position_px for part in edges])
    keep = ((position > _REACH_PX) & (position < np.array(shape) - 1 - _REACH_PX)).all(1)
    return Edges(
        position[keep],
        np.concatenate([part.normal for part in edges])[keep],
        np.concatenate([part.width_px for part in edges])[keep],
        np.concatenate([part.reach_px for part in edges])[keep],
    )


def _film(shape: Shape, rng: np.random.Generator, mean: float, contrast: float) -> NDArray[np.float32]:
    """An amorphous film: the grain of its atoms, and slow changes of its thickness."""
    grain = smooth_noise(shape, (1.0, 1.0), float(np.exp(rng.uniform(math.log(0.7), math.log(6.0)))), rng)
    slow = smooth_noise(shape, (1.0, 1.0), min(shape) * float(rng.uniform(0.04, 0.15)), rng)
    return np.asarray(np.maximum(mean * (1 + contrast * (grain + slow)), 0), np.float32)


def film(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """An amorphous film alone."""
    return Truth("film", _film(shape, rng, 0.45, float(rng.uniform(0.05, 0.3))))


def crystal_particles(shape: Shape, rng: np.random.Generator, period_px: float | None) -> Truth:
    """Crystalline particles, each of its own lattice and thinner at its rim, on an amorphous film."""
    image = _film(shape, rng, float(rng.uniform(0.05, 0.25)), float(rng.uniform(0.05, 0.25)))
    parts = []
    for outline in _apart(shape, rng, int(rng.integers(2, 7)), 0.1, 0.3):
        cell = drawn_cell(rng, period_px)
        columns = with_defects(laid(cell, shape, (float(rng.random()), float(rng.random()))), rng)
        depth = outline.depth(columns.position_px)
        strength = 0.7 * np.clip((depth + cell.period_px) / (3 * cell.period_px), 0, 1)
        columns = replace(columns, height=columns.height * strength, ordinary_height=columns.ordinary_height * strength)
        parts.append(columns.where(depth > 0))
        _stamp(image, outline, float(rng.uniform(0.05, 0.2)), float(rng.uniform(1.0, 4.0)))
    columns = Columns.joined(*parts)
    return Truth("crystal_particles", image + rendered(columns, shape), columns)
