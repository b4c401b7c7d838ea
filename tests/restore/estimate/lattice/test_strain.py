"""Strain from a sparse frame is the strain that was put in, and what phase analysis of the full frame finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crystals import Displacement, scattered, square_lattice

from restore.estimate.lattice.crystal import Crystal, find_crystal
from restore.estimate.lattice.strain import strain_map
from scancontrol.errors import InvalidInput

pytestmark = pytest.mark.slow

SHAPE = (256, 256)
STRAIN = 0.02


def _strained(points: np.ndarray) -> np.ndarray:
    """Stretched along x by a bump of strain in the middle of the frame, and sheared a little."""
    x = points[:, 1] - 128
    return np.stack([0.3 * STRAIN * 40 * np.sin(x / 40), STRAIN * 50 * np.tanh(x / 50)], 1)


def _crystal(displacement: Displacement, share: float = 0.05, electrons: float = 60) -> Crystal:
    lattice, geometry = square_lattice(10, SHAPE, bent=displacement), scattered(share, SHAPE)
    crystal = find_crystal(lattice.read(geometry, electrons=electrons), geometry)
    assert crystal is not None
    return crystal


def _without_affine(field: np.ndarray) -> np.ndarray:
    """A field (2, rows, cols) less its best affine map."""
    grid = np.stack(np.mgrid[: field.shape[1], : field.shape[2]], -1).reshape(-1, 2)
    affine = np.concatenate([np.ones((len(grid), 1)), grid], 1)
    flat = field.reshape(2, -1).T
    return (flat - affine @ np.linalg.lstsq(affine, flat, rcond=None)[0]).T.reshape(field.shape)


def _true(displacement: Displacement) -> np.ndarray:
    """The displacement at the places where the columns have come to, (2, rows, cols)."""
    grid = np.stack(np.mgrid[: SHAPE[0], : SHAPE[1]], -1).reshape(-1, 2).astype(float)
    origin = grid.copy()
    for _ in range(20):
        origin = grid - displacement(origin)
    return displacement(origin).T.reshape(2, *SHAPE)


@pytest.fixture(scope="module")
def strained() -> Crystal:
    return _crystal(_strained)


@pytest.mark.parametrize(("share", "allowed_px"), [(0.05, 0.1), (0.02, 0.2)])
def test_the_displacement_is_right_to_a_fraction_of_a_pixel(share: float, allowed_px: float) -> None:
    found = _crystal(_strained, share).strain.displacement_px.numpy().astype(float)
    off = _without_affine(found) - _without_affine(_true(_strained))
    assert np.sqrt(np.mean(off**2)) < allowed_px


def test_the_deviation_that_is_stated_is_that_which_is_made(strained: Crystal) -> None:
    off = _without_affine(strained.strain.displacement_px.numpy().astype(float)) - _without_affine(_true(_strained))
    stated = strained.strain.displacement_sd_px.numpy()
    assert 0.3 < np.sqrt(np.mean(off**2) / np.mean(stated**2)) < 2


def test_strains_are_those_of_a_known_deformation(strained: Crystal) -> None:
    true = _true(_strained)
    slopes = np.stack([np.stack(np.gradient(component)) for component in true])
    slopes = slopes - slopes.mean((2, 3), keepdims=True)
    inner = (slice(32, -32), slice(32, -32))
    found = strained.strain
    for name, expected in (
        ("exx", slopes[1, 1]),
        ("eyy", slopes[0, 0]),
        ("exy", 0.5 * (slopes[0, 1] + slopes[1, 0])),
        ("rotation", 0.5 * (slopes[1, 0] - slopes[0, 1])),
    ):
        off = getattr(found, name).numpy()[inner] - expected[inner]
        assert np.sqrt(np.mean(off**2)) < 0.003, name


def test_geometric_phase_analysis_of_the_full_frame_finds_the_same() -> None:
    lattice = square_lattice(10, SHAPE, bent=_strained)
    image = lattice.image().double().numpy()
    crystal = _crystal(_strained)
    reciprocal = np.linalg.inv(lattice.vectors).T
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    fy, fx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])
    phases = []
    for g in reciprocal:
        turned = np.fft.fft2((image - image.mean()) * np.exp(-2j * np.pi * (g[0] * y + g[1] * x)))
        smooth = np.fft.ifft2(turned * np.exp(-0.5 * (fy**2 + fx**2) / 0.012**2))
        phases.append(np.unwrap(np.unwrap(np.angle(smooth), axis=0), axis=1))
    # The phase of wave g is −2π g·u.
    displaced = np.linalg.solve(reciprocal, -np.stack(phases).reshape(2, -1) / (2 * np.pi)).reshape(2, *SHAPE)
    inner = (slice(None), slice(32, -32), slice(32, -32))
    off = _without_affine(displaced[inner]) - _without_affine(crystal.strain.displacement_px.double().numpy()[inner])
    assert np.sqrt(np.mean(off**2)) < 0.1


def test_a_reference_region_has_no_mean_strain(strained: Crystal) -> None:
    found = strain_map(strained.fit, (100, 90, 60, 70))
    for values in (found.exx, found.eyy, found.exy, found.rotation):
        assert abs(float(values[100:160, 90:160].mean())) < 5e-4
    mean = found.displacement_px[:, 100:160, 90:160].mean((1, 2))
    torch.testing.assert_close(mean, torch.zeros(2), atol=1e-4, rtol=0)


def test_a_region_outside_the_frame_is_refused(strained: Crystal) -> None:
    with pytest.raises(InvalidInput, match="region"):
        strain_map(strained.fit, (200, 0, 100, 100))


def test_the_gradient_that_is_sent_gives_the_same_strain(strained: Crystal) -> None:
    sent, whole = strained.gradient.numpy().astype(float), strained.strain
    at = np.linspace(0, 255, sent.shape[-1]).round().astype(int)
    slopes = sent[:4].reshape(2, 2, *sent.shape[1:]).transpose(2, 3, 0, 1)
    mean = slopes[1:-1, 1:-1].mean(axis=(0, 1))
    relative = np.linalg.inv(np.eye(2) - slopes) @ (np.eye(2) - mean)
    for found, map_, sd, number in (
        (relative[..., 1, 1] - 1, whole.exx, whole.sd[0], 4),
        (relative[..., 0, 0] - 1, whole.eyy, whole.sd[1], 5),
    ):
        off = (found - map_.numpy()[np.ix_(at, at)])[1:-1, 1:-1]
        assert np.abs(off).max() < 2e-3
        assert np.abs(sent[number] - sd.numpy()[np.ix_(at, at)]).max() < 0.05 * sent[number].max()
