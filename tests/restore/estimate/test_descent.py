"""Where samples fit best is told as surely as blocks of the field agree on it, and of two fits the better one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from restore.estimate.descent import Fit, descend, fits_better
from restore.estimate.known import Known

SIDE, MARGIN = 128, 16
PRIOR, SPREAD = np.zeros(2), np.eye(2)


def scanned(image: np.ndarray, moved: tuple[float, float], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of a specimen that has moved, at 800 places; values, places."""
    places = np.random.default_rng(seed).uniform(0, SIDE - 1, (800, 2))
    values = map_coordinates(image, (places - moved + MARGIN).T, order=1)
    return torch.from_numpy(values.astype(np.float32)), torch.from_numpy(places.astype(np.float32))


def known(image: np.ndarray, deviation: float = 0.1) -> Known:
    inner = torch.from_numpy(image[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32))
    return Known(inner, torch.full_like(inner, deviation))


def rough(seed: int, sigma_px: float = 4.0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE + 2 * MARGIN,) * 2), sigma_px)
    return np.asarray(field / field.std())


def fitted(image: np.ndarray, estimate: np.ndarray, moved: tuple[float, float] = (0.0, 0.0)) -> Fit:
    return descend(*scanned(image, moved), known(estimate), PRIOR, PRIOR, SPREAD)


def test_errors_that_neighbouring_samples_share_make_a_place_as_uncertain_as_it_is() -> None:
    away = []
    for seed in range(6):
        image = rough(seed, 8.0)
        found = fitted(image, image + 0.4 * rough(100 + seed, 8.0), (0.6, -0.4))
        off = found.place - (0.6, -0.4)
        away.append(float(off @ np.linalg.solve(found.covariance, off)))
    assert 0.3 < np.mean(away) / 2 < 3.0  # squared standard deviations of two numbers


def test_an_edge_that_the_estimate_has_pixels_away_is_followed_as_far_as_its_other_edges_agree() -> None:
    image = np.zeros((SIDE + 2 * MARGIN,) * 2)
    image[40:90, 40:60], image[60:120, 80:130] = 1.0, 0.7
    wrong = np.roll(image, (1, 0), (0, 1))
    found = fitted(image, wrong)
    assert found.place == pytest.approx((-1.0, 0.0), abs=0.35)


def test_a_stripe_tells_how_far_it_has_moved_across_itself() -> None:
    stripe = np.repeat(rough(3)[:, :1], SIDE + 2 * MARGIN, axis=1)
    found = fitted(stripe, stripe, (0.8, 0.0))
    assert found.place[0] == pytest.approx(0.8, abs=0.1)
    assert found.covariance[0, 0] < 0.01


def test_of_two_places_the_true_one_fits_better_surely_and_none_fits_better_than_itself() -> None:
    image = rough(5)
    seen, before = scanned(image, (1.0, 2.0)), known(image)
    true, other = np.array((1.0, 2.0)), np.array((-6.0, 9.0))
    assert fits_better(*seen, before, true, other) > 3
    assert fits_better(*seen, before, other, true) == pytest.approx(-fits_better(*seen, before, true, other))
    assert fits_better(*seen, before, true, true) == 0


def test_a_place_is_no_better_for_leaving_out_what_is_known_least() -> None:
    lattice = np.tile(np.cos(np.arange(SIDE + 2 * MARGIN) * np.pi / 8), (SIDE + 2 * MARGIN, 1))
    estimate = lattice.copy()
    estimate[:, -MARGIN - 16 :] += 1.0  # where it is an edge's
    values, places = scanned(lattice, (0.0, 0.0))
    beyond = np.array((0.0, 16.0))  # one period: what is left of the samples lies where the estimate is right
    assert fits_better(values, places, known(estimate), beyond, np.zeros(2)) < 3
