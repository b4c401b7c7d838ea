"""Samples become images without losing where they were taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from restore.gridding import FrameGeometry, Normalisation, distance_to_path
from scancontrol.errors import InvalidInput


def _random_geometry(seed: int, n: int, shape: tuple[int, int]) -> tuple[FrameGeometry, np.ndarray]:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1, (n, 2))
    return FrameGeometry.from_positions(positions, shape, rng.uniform(0.5, 2, n)), positions


@pytest.mark.parametrize("shape", [(16, 16), (33, 70), (128, 64)])
@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_the_distance_to_the_path_is_the_exact_euclidean_one(shape: tuple[int, int], share: float) -> None:
    touched = np.random.default_rng(3).random(shape) < share
    touched[shape[0] // 3, shape[1] // 2] = True
    expected = ndimage.distance_transform_edt(~touched)
    np.testing.assert_allclose(distance_to_path(torch.from_numpy(touched)), expected, atol=1e-4)


def test_each_sample_falls_on_the_pixel_that_holds_its_position() -> None:
    geometry, positions = _random_geometry(0, 500, (40, 56))
    pixel = np.floor(positions * [40, 56]).astype(int)
    np.testing.assert_array_equal(geometry.index, pixel[:, 0] * 56 + pixel[:, 1])
    back = torch.stack([geometry.index // 56, geometry.index % 56], 1) + geometry.offset
    np.testing.assert_allclose((back + 0.5) / torch.tensor([40, 56]), positions, atol=1e-6)


def test_gridding_is_the_dwell_weighted_mean_and_keeps_the_total() -> None:
    geometry, _ = _random_geometry(1, 3000, (32, 32))
    samples = torch.randn(2, 3000, dtype=torch.float64)
    mean, weight = geometry.grid(samples)
    assert mean.shape == (2, 32, 32)
    np.testing.assert_allclose((mean * weight).sum((1, 2)), (samples * geometry.dwell).sum(1), rtol=1e-5, atol=1e-4)
    assert torch.all(mean[:, weight == 0] == 0)


def test_a_frame_still_being_scanned_equals_the_path_cut_short() -> None:
    geometry, positions = _random_geometry(2, 400, (24, 24))
    assert torch.equal(geometry.prefix(200).index, FrameGeometry.from_positions(positions[:200], (24, 24)).index)
    assert geometry.prefix(200).touched < geometry.touched


def test_samples_that_coil_lag_carries_outside_weigh_nothing() -> None:
    positions = np.random.default_rng(0).uniform(0.01, 0.99, (64, 2))
    positions[:5] = [1.02, -0.01]
    geometry = FrameGeometry.from_positions(positions, (20, 20))
    assert float(geometry.weight.sum()) == pytest.approx(59, rel=1e-5)
    samples = torch.ones(64)
    samples[:5] = 1e6
    assert float(geometry.normalisation(samples).scale) == 0
    assert float(geometry.grid(samples)[0].max()) == 1


@settings(max_examples=40, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 99))
def test_normalised_samples_do_not_depend_on_gain_or_offset(gain: float, offset: float, seed: int) -> None:
    raw = torch.from_numpy(np.random.default_rng(seed).gamma(2.0, 30.0, (1, 300)))
    moved = raw * gain + offset
    one, two = Normalisation.of(raw), Normalisation.of(moved)
    torch.testing.assert_close(two.apply(moved), one.apply(raw), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(two.invert(one.apply(raw)).double(), moved, rtol=1e-5, atol=1e-3 * gain + 1e-2)


def test_one_grey_level_maps_to_nothing_and_back_to_itself() -> None:
    level = Normalisation.of(torch.full((1, 50), 1234.5))
    assert float(level.scale) == 0
    assert torch.all(level.invert(torch.randn(1, 8)) == 1234.5)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.full((10, 2), 0.5), "is below 16"),
        (np.full((40, 3), 0.5), "is not"),
        (np.full((40, 2), np.nan), "no place"),
        (np.full((40, 2), 1.5), "is below 16"),
    ],
)
def test_positions_that_cannot_carry_a_frame_are_refused(positions: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        FrameGeometry.from_positions(positions, (32, 32))


def test_samples_that_do_not_suit_the_path_are_refused() -> None:
    geometry, _ = _random_geometry(1, 100, (32, 32))
    with pytest.raises(InvalidInput, match="not the path's 100"):
        geometry.grid(torch.zeros(99))
    with pytest.raises(InvalidInput, match="NaN"):
        geometry.grid(torch.full((100,), float("nan")))


def test_far_from_what_was_scanned_the_distance_is_exact_too() -> None:
    touched = torch.zeros(3, 240, 130, dtype=torch.bool)
    touched[0, :20] = torch.from_numpy(np.random.default_rng(3).random((20, 130)) < 0.05)
    touched[1, 239, 7] = True
    found = distance_to_path(touched).double().numpy()
    pixels = np.stack(np.mgrid[:240, :130], -1)
    for frame in (0, 1):
        places = np.argwhere(touched[frame].numpy())
        expected = np.sqrt(np.square(pixels[:, :, None] - places).sum(-1).min(-1))
        np.testing.assert_allclose(found[frame], expected, atol=1e-4)
    np.testing.assert_allclose(found[2], np.hypot(240, 130), rtol=1e-6)
