"""A lattice is used in its own grain, and not in the one beside it."""

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


def _error(picture: Tensor) -> float:
    """In the larger grain, away from the boundary, as a share of the lattice's range."""
    true = square_lattice(10, SHAPE, angle_deg=17).image()
    inner = (slice(None), slice(0, BOUNDARY_PX - 30))
    return float((picture - true)[inner].square().mean().sqrt() / (true.max() - true.min()))


def test_of_two_grains_one_is_told_whole_and_the_other_left_alone(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal = proven[0]
    assert float(crystal.region[:, : BOUNDARY_PX - 30].mean()) > 0.95
    assert float(crystal.region[:, BOUNDARY_PX + 30 :].mean()) < 0.5
    assert crystal.share > 0.9
    assert _error(crystal.image) < 0.03


def test_where_the_lattice_is_not_its_picture_is_even(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal = proven[0]
    outside = crystal.image[crystal.region == 0]
    assert len(outside) > 500
    assert float(outside.std()) < 1e-5


def test_the_samples_know_the_region_as_the_picture_does(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal, geometry = proven
    off = crystal.image.flatten()[geometry.index] - crystal.at_samples
    # What differs is the place within a pixel, 0.4 px: a quarter of a column's deviation.
    assert float(off.square().mean().sqrt()) < 0.35 * float(crystal.at_samples.std())
    outside = crystal.region.flatten()[geometry.index] == 0
    np.testing.assert_allclose(off[outside], 0, atol=1e-5)


def test_the_next_frame_of_a_stream_keeps_the_region(proven: tuple[Crystal, FrameGeometry]) -> None:
    crystal, geometry = proven
    followed = follow(crystal, _samples(geometry, seed=1), geometry)
    torch.testing.assert_close(followed.region, crystal.region)
    assert _error(followed.image) < 0.03
