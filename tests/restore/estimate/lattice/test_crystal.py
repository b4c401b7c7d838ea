"""A crystal is found where there is one, nowhere else, and drawn no further than it is proven."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crystals import scattered, square_lattice
from torch import Tensor

from restore.estimate.lattice.crystal import Crystal, find_crystal, follow
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from scancontrol.paths.pattern import Pattern

pytestmark = pytest.mark.slow

SHAPE = (256, 256)


def _geometry(pattern: Pattern, shape: tuple[int, int] = SHAPE) -> FrameGeometry:
    return FrameGeometry.from_path(
        expand(PathRecipe(pattern=pattern, shape=shape, fov_nm=float(shape[1]), dwell_us=1.0))
    )


def _error_pct(found: Tensor, truth: Tensor) -> float:
    return 100 * float((found - truth).square().mean().sqrt() / (truth.max() - truth.min()))


@pytest.fixture(scope="module")
def proven() -> tuple[Crystal, Tensor, FrameGeometry]:
    lattice, geometry = square_lattice(10, SHAPE), scattered(0.05, SHAPE)
    samples = lattice.read(geometry, electrons=60)
    crystal = find_crystal(samples, geometry)
    assert crystal is not None
    return crystal, samples, geometry


@pytest.mark.parametrize(
    "pattern",
    [JitteredGrid(seed=1, coverage=CoverageGoal(value=0.05)), Archimedean(coverage=CoverageGoal(value=0.05))],
    ids=["jittered grid", "spiral"],
)
def test_a_perfect_crystal_is_told_from_a_twentieth_of_its_pixels(pattern: Pattern) -> None:
    lattice, geometry = square_lattice(10, SHAPE), _geometry(pattern)
    crystal = find_crystal(lattice.read(geometry, electrons=60), geometry)
    assert crystal is not None
    assert crystal.share == 1
    assert _error_pct(crystal.image, lattice.image()) < 2.5


def test_the_vectors_are_those_of_the_lattice(proven: tuple[Crystal, Tensor, FrameGeometry]) -> None:
    lengths = proven[0].vectors.norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 10.0), atol=0.03, rtol=0)


def test_the_picture_read_at_the_samples_is_what_is_told_of_the_samples() -> None:
    lattice, geometry = square_lattice(12, SHAPE), _geometry(JitteredGrid(coverage=CoverageGoal(value=0.05)))
    crystal = find_crystal(lattice.read(geometry, electrons=60), geometry)
    assert crystal is not None
    torch.testing.assert_close(crystal.image.flatten()[geometry.index], crystal.at_samples, atol=0.01, rtol=0)


@pytest.mark.parametrize(("gain", "offset"), [(250.0, 0.0), (0.01, 5.0), (-3.0, 100.0)])
def test_the_detectors_gain_and_offset_change_nothing_but_the_units(
    proven: tuple[Crystal, Tensor, FrameGeometry], gain: float, offset: float
) -> None:
    crystal, samples, geometry = proven
    other = find_crystal(samples * gain + offset, geometry)
    assert other is not None
    spread = float(crystal.image.std())
    found = (other.image - offset * crystal.share) / gain
    assert float((found - crystal.image).square().mean().sqrt()) < 0.02 * spread


def test_noise_holds_no_crystal() -> None:
    geometry = scattered(0.05, SHAPE)
    for seed in range(4):
        assert (
            find_crystal(torch.randn(geometry.count, generator=torch.Generator().manual_seed(seed)), geometry) is None
        )


def test_slow_undulation_holds_no_crystal() -> None:
    geometry = scattered(0.05, SHAPE)
    y, x = torch.fft.fftfreq(SHAPE[0])[:, None], torch.fft.rfftfreq(SHAPE[1])
    for seed in range(3):
        noise = torch.randn(SHAPE[0], len(x), dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
        image = torch.fft.irfft2(noise / (y.square() + x.square() + 2e-4), s=SHAPE)
        assert find_crystal(image.flatten()[geometry.index], geometry) is None


def test_one_grey_level_holds_no_crystal() -> None:
    geometry = scattered(0.05, SHAPE)
    assert find_crystal(torch.full((geometry.count,), 3.0), geometry) is None


def test_a_bent_crystal_says_how_it_is_bent() -> None:
    def bent(points: np.ndarray) -> np.ndarray:
        y, x = (points - 128).T / 256
        return 4 * np.stack([x**2, -x * y], 1)

    lattice, geometry = square_lattice(12, SHAPE, bent=bent), scattered(0.05, SHAPE)
    crystal = find_crystal(lattice.read(geometry, electrons=60), geometry)
    assert crystal is not None
    grid = np.stack(np.mgrid[:256, :256], -1).reshape(-1, 2).astype(float)
    affine = np.concatenate([np.ones((len(grid), 1)), grid], 1)
    off = crystal.strain.displacement_px.double().numpy().reshape(2, -1).T - bent(grid)
    off -= affine @ np.linalg.lstsq(affine, off, rcond=None)[0]
    assert np.sqrt(np.mean(off**2)) < 0.1
    assert _error_pct(crystal.image, lattice.image()) < 3


def test_a_vacancy_that_was_hit_is_shown_and_one_that_was_not_is_in_the_interval() -> None:
    lattice, geometry = square_lattice(16, SHAPE, vacancies=0.05), scattered(0.05, SHAPE)
    crystal = find_crystal(lattice.read(geometry, electrons=200), geometry)
    assert crystal is not None
    columns = crystal.columns
    assert columns is not None
    place = torch.from_numpy(lattice.columns).float()
    inside = ((place > 2) & (place < 253)).all(1)
    vacant = torch.from_numpy(lattice.vacant)[inside]
    distance, nearest = torch.cdist(place[inside], columns.positions).min(1)
    assert float(distance.median()) < 0.15
    shown, hit, width = columns.deviation[nearest], columns.hit[nearest], columns.half_width[nearest]
    assert float(-shown[vacant & hit].mean()) > 0.8 * 0.45
    assert float((shown[~vacant] < -0.25).float().mean()) < 0.004
    held = (shown[vacant] + 0.45).abs() <= width[vacant]
    assert float(held.float().mean()) >= 0.85


def test_chance_draws_no_defects(proven: tuple[Crystal, Tensor, FrameGeometry]) -> None:
    columns = proven[0].columns
    assert columns is not None
    assert float((columns.deviation.abs() > 0.225).float().mean()) < 0.001


def test_the_next_frame_of_a_stream_is_as_good(proven: tuple[Crystal, Tensor, FrameGeometry]) -> None:
    lattice = square_lattice(10, SHAPE)
    samples = lattice.read(proven[2], electrons=60, seed=1)
    followed = follow(proven[0], samples, proven[2])
    assert _error_pct(followed.image, lattice.image()) < 2.5
