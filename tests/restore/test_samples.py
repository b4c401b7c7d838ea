"""Samples of any program: restored along their own path, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from restore import restore_samples
from scancontrol.errors import InvalidInput

SHAPE = (48, 64)
_NOISE = gaussian_filter(np.random.default_rng(3).standard_normal(SHAPE), 5)
TRUTH = 500 + 100 * _NOISE / _NOISE.std()


def _scattered(count: int = 600) -> np.ndarray:
    return np.random.default_rng(4).random((count, 2))


def _read_at(positions: np.ndarray) -> np.ndarray:
    return map_coordinates(TRUTH, (positions * SHAPE - 0.5).T, order=1, mode="nearest")


def test_samples_at_scattered_positions_become_the_picture_that_they_are_of() -> None:
    positions = _scattered()
    found = restore_samples(_read_at(positions), positions, SHAPE, method="push_pull", pixel_nm=0.2)
    assert found.estimate is not None
    assert found.interval is not None
    assert found.estimate.shape == SHAPE
    assert float(np.sqrt(np.mean((found.estimate - TRUTH) ** 2))) < 25  # the truth's deviation is 100
    assert found.made_by is not None
    assert found.made_by.samples_used == 600
    assert found.made_by.withheld_rmse is not None
    assert found.pixel_nm == 0.2


@pytest.mark.parametrize("flat", [True, False], ids=["row by row", "as an image"])
def test_a_mask_stands_for_the_middles_of_its_pixels(flat: bool) -> None:
    mask = np.random.default_rng(5).random(SHAPE) < 0.2
    found = restore_samples(TRUTH[mask] if flat else TRUTH, mask, method="push_pull")
    np.testing.assert_allclose(found.partial[mask], TRUTH[mask], rtol=1e-6)
    assert not found.partial[~mask].any()
    np.testing.assert_array_equal(found.dwell_map_us > 0, mask)


def test_a_sample_that_dwelt_longer_counts_more_and_one_that_is_no_number_not_at_all() -> None:
    positions = np.vstack([_scattered(), [[0.5, 0.5]] * 3])
    values, dwell = np.append(_read_at(positions[:-3]), [0.0, 400.0, np.nan]), np.full(603, 2.0)
    dwell[-2] = 6.0
    inside = (np.floor(positions[:-3] * SHAPE) == (24, 32)).all(1)
    kept = np.append(~inside, [True] * 3)
    found = restore_samples(values[kept], positions[kept], SHAPE, dwell=dwell[kept], method="push_pull")
    assert found.partial[24, 32] == pytest.approx(300.0)
    assert found.dwell_map_us[24, 32] == pytest.approx(8.0)
    assert found.estimate is not None
    assert np.isfinite(found.estimate).all()
    assert found.made_by is not None
    assert found.made_by.lost == 1


def test_what_does_not_fit_together_is_refused_by_name() -> None:
    positions = _scattered()
    values = _read_at(positions)
    with pytest.raises(InvalidInput, match="shape = None is needed"):
        restore_samples(values, positions)
    with pytest.raises(InvalidInput, match="is not the mask's"):
        restore_samples(TRUTH, TRUTH > 500, (10, 10))
    with pytest.raises(InvalidInput, match="not one for each of 600 positions"):
        restore_samples(values[:-1], positions, SHAPE)
    with pytest.raises(InvalidInput, match=r"is not \(n, 2\)"):
        restore_samples(values, positions.T, SHAPE)
    with pytest.raises(InvalidInput, match="outside the field of view"):
        restore_samples(values, positions * 64, SHAPE)
    with pytest.raises(InvalidInput, match="dwell"):
        restore_samples(values, positions, SHAPE, dwell=0)
    with pytest.raises(InvalidInput, match="complex"):
        restore_samples(values + 1j, positions, SHAPE, method="push_pull")
