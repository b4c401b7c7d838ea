"""A movement is found from samples along any path, to a fraction of a pixel, and says how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from restore.estimate.drift import Drift, Foretold, Known, measure_drift
from restore.gridding import FrameGeometry
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, expand
from scancontrol.paths.pattern import Pattern

SIDE = 128
MARGIN = 24
PATTERNS: dict[str, Pattern] = {
    "spiral": Archimedean(coverage=CoverageGoal(value=0.05)),
    "jittered": JitteredGrid(coverage=CoverageGoal(value=0.05), seed=3),
}


def specimen(sigma_px: float = 4.0, seed: int = 0) -> np.ndarray:
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE + 2 * MARGIN,) * 2), sigma_px)
    return (1000 + 200 * rough / rough.std()).astype(np.float32)


def samples(image: np.ndarray, geometry: FrameGeometry, moved: tuple[float, float]) -> torch.Tensor:
    """What the beam reads of a specimen that has moved."""
    at = geometry.places.numpy() - np.array(moved) + MARGIN
    return torch.from_numpy(map_coordinates(image, at.T, order=3).astype(np.float32))


def known(image: np.ndarray, deviation: float = 20.0) -> Known:
    inner = torch.from_numpy(image[MARGIN:-MARGIN, MARGIN:-MARGIN].copy())
    noise = deviation * torch.randn(inner.shape, generator=torch.Generator().manual_seed(1))
    return Known(inner + noise, torch.full_like(inner, deviation))


def geometry(name: str) -> FrameGeometry:
    recipe = PathRecipe(pattern=PATTERNS[name], shape=(SIDE, SIDE), fov_nm=128.0, dwell_us=1.0)  # type: ignore[arg-type]
    return FrameGeometry.from_path(expand(recipe))


def off(found: object, moved: tuple[float, float]) -> float:
    return math.hypot(found.y_px - moved[0], found.x_px - moved[1])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.3, -0.2), (2.4, 1.7), (-8.0, 6.0)])
def test_a_movement_is_found_to_a_fraction_of_a_pixel(name: str, moved: tuple[float, float]) -> None:
    image, path = specimen(), geometry(name)
    found = measure_drift(samples(image, path, moved), path.places, known(image))
    assert off(found, moved) < 0.1
    assert off(found, moved) < 5 * found.sd_px
    assert found.misfit < 1.5


def test_an_outlier_in_twenty_readings_moves_nothing() -> None:
    image, path = specimen(), geometry("jittered")
    values = samples(image, path, (1.2, -0.7))
    values[::20] = 65535.0
    assert off(measure_drift(values, path.places, known(image)), (1.2, -0.7)) < 0.15


def test_of_a_lattices_periods_the_smallest_step_from_what_was_foretold_is_taken() -> None:
    y, x = np.mgrid[: SIDE + 2 * MARGIN, : SIDE + 2 * MARGIN]
    lattice = (1000 + 100 * (np.cos(2 * np.pi * y / 10) + np.cos(2 * np.pi * x / 10))).astype(np.float32)
    path = geometry("jittered")
    values = samples(lattice, path, (3.0, -2.0))
    assert off(measure_drift(values, path.places, known(lattice)), (3.0, -2.0)) < 0.1
    foretold = measure_drift(values, path.places, known(lattice), Foretold.about(12.5, -2.0, 2.5))
    assert off(foretold, (13.0, -2.0)) < 0.1


def test_samples_that_say_nothing_leave_what_was_foretold_with_its_uncertainty() -> None:
    path = geometry("spiral")
    flat = np.full((SIDE + 2 * MARGIN,) * 2, 1000, np.float32)
    inner = torch.full((SIDE, SIDE), 1000.0)
    found = measure_drift(
        samples(flat, path, (0, 0)),
        path.places,
        Known(inner, torch.full_like(inner, 20.0)),
        Foretold.about(1.5, -0.5, 2.0),
    )
    assert off(found, (1.5, -0.5)) < 1e-3
    assert found.sd_px == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("moved", [(2.0, -1.0), (-8.0, 6.0)])
def test_a_leap_is_followed_however_surely_something_else_was_foretold(moved: tuple[float, float]) -> None:
    image, path = specimen(), geometry("jittered")
    found = measure_drift(samples(image, path, moved), path.places, known(image), Foretold.about(0.0, 0.0, 0.05))
    assert off(found, moved) < 0.2
    assert found.leaps


def test_samples_that_hardly_tell_are_held_to_what_was_foretold_by_as_much_as_it_is_known() -> None:
    image, path = specimen(12.0), geometry("jittered")
    values = samples(image, path, (0.3, 0.2))
    values += 300 * torch.randn(len(values), generator=torch.Generator().manual_seed(2))

    def found(sd_px: float) -> Drift:
        return measure_drift(values, path.places, known(image, 300.0), Foretold.about(0.0, 0.0, sd_px))

    sure, unsure = found(0.2), found(5.0)
    assert off(sure, (0.0, 0.0)) < 0.5 * off(unsure, (0.0, 0.0))
    assert sure.sd_px < 0.2 < unsure.sd_px
    assert not sure.leaps


def test_another_specimen_fits_nowhere_and_says_so() -> None:
    path = geometry("jittered")
    found = measure_drift(samples(specimen(seed=5), path, (0, 0)), path.places, known(specimen()))
    assert found.misfit > 3


def test_the_movement_does_not_depend_on_the_detectors_gain_and_offset() -> None:
    image, path = specimen(), geometry("jittered")
    values, before = samples(image, path, (1.0, 2.0)), known(image)
    once = measure_drift(values, path.places, before)
    gained = measure_drift(4 * values + 300, path.places, Known(4 * before.estimate + 300, 4 * before.deviation))
    assert off(gained, (once.y_px, once.x_px)) < 1e-2


def test_where_nothing_is_known_before_no_movement_is_told() -> None:
    places = torch.rand(500, 2) * 60
    nothing = torch.full((64, 64), torch.nan)
    drift = measure_drift(torch.rand(500), places, Known(nothing, torch.ones(64, 64)), Foretold(1.0, 2.0))
    assert (drift.y_px, drift.x_px) == (1.0, 2.0)
    assert drift.sd_px == float("inf")


def test_an_even_field_that_is_known_very_well_is_compared_without_overflow() -> None:
    path = geometry("jittered")
    even = torch.full((SIDE, SIDE), 1.0)
    values = torch.ones(path.count) + 0.5 * (torch.arange(path.count) % 7 == 0)
    found = measure_drift(values, path.places, Known(even, torch.full_like(even, 1e-12)), Foretold.about(0.5, 0.0, 1.0))
    assert math.isfinite(found.y_px + found.x_px)
