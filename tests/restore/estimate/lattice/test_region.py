"""Two grains are two lattices, each in its own region, and what is no crystal is neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crystals import scattered, square_lattice
from torch import Tensor

from restore.estimate.lattice.crystal import Crystal, find_crystal, follow
from restore.fills.registry import positions_px
from restore.gridding import FrameGeometry

pytestmark = pytest.mark.slow

SHAPE = (256, 256)
BOUNDARY_PX = 150


def _samples(geometry: FrameGeometry, seed: int = 0) -> Tensor:
    """Of two grains, turned by 28°, the larger one on the left."""
    left, right = (square_lattice(10, SHAPE, angle_deg=angle).read(geometry, 60, seed) for angle in (17, 45))
    return torch.where(positions_px(geometry)[:, 1] < BOUNDARY_PX, left, right)


@pytest.fixture(scope="module")
def proven() -> tuple[Crystal, FrameGeometry]:
    geometry = scattered(0.05, SHAPE)
    crystal = find_crystal(_samples(geometry), geometry)
    assert crystal is not None
    return crystal, geometry


LEFT, RIGHT = slice(0, BOUNDARY_PX - 30), slice(BOUNDARY_PX + 30, None)


def _error(picture: Tensor, angle_deg: float = 17, where: slice = LEFT) -> float:
    """In a grain, away from the boundary, as a share of the lattice's range."""
    true = square_lattice(10, SHAPE, angle_deg=angle_deg).image()
    inner = (slice(None), where)
    return float((picture - true)[inner].square().mean().sqrt() / (true.max() - true.min()))


def test_of_two_grains_each_is_told_whole(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal = proven[0]
    assert len(crystal.grains) == 2
    first, second = (grain.region for grain in crystal.grains)
    assert float(first[:, LEFT].mean()) > 0.95
    assert float(second[:, RIGHT].mean()) > 0.95
    assert crystal.share > 0.9
    assert _error(crystal.image) < 0.03
    assert _error(crystal.image, 45, RIGHT) < 0.04


def test_strain_is_told_of_the_larger_grain_and_contradicted_in_the_other(
    proven: tuple[Crystal, FrameGeometry],
) -> None:
    crystal = proven[0]
    angle = torch.rad2deg(torch.atan2(crystal.vectors[:, 1], crystal.vectors[:, 0]))
    off = torch.remainder(angle - 17 + 45, 90) - 45
    assert float(off.abs().max()) < 1
    assert float(crystal.doubt[:, LEFT].mean()) < 0.05
    assert float(crystal.doubt[:, RIGHT].mean()) > 0.95


def test_beside_a_particle_the_picture_is_even() -> None:
    geometry = scattered(0.05, SHAPE)
    y, x = (positions_px(geometry) - 128).T
    lattice = square_lattice(10, SHAPE).read(geometry, 60)
    inside = y.square() + x.square() < 80**2
    film = torch.from_numpy(np.random.default_rng(1).poisson(9, geometry.count) / 60).float()
    crystal = find_crystal(torch.where(inside, lattice, film), geometry)
    assert crystal is not None
    rows, cols = torch.meshgrid(torch.arange(256.0) - 128, torch.arange(256.0) - 128, indexing="ij")
    radius = (rows.square() + cols.square()).sqrt()
    assert float(crystal.region[radius < 60].mean()) > 0.95
    assert float(crystal.region[radius > 110].mean()) < 0.02
    assert float(crystal.image[radius > 110].std()) < 0.02


def test_the_samples_know_the_region_as_the_picture_does(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal, geometry = proven
    off = crystal.image.flatten()[geometry.index] - crystal.at_samples
    # What differs is the place within a pixel, 0.4 px: a quarter of a column's deviation.
    assert float(off.square().mean().sqrt()) < 0.35 * float(crystal.at_samples.std())


def test_the_next_frame_of_a_stream_keeps_the_regions(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal, geometry = proven
    followed = follow(crystal, _samples(geometry, seed=1), geometry)
    torch.testing.assert_close(followed.region, crystal.region)
    assert _error(followed.image) < 0.03
    assert _error(followed.image, 45, RIGHT) < 0.04
