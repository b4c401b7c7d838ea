"""Measures of errors over the frame, of fineness, and of spikes."""

from __future__ import annotations

import numpy as np
import pytest
from experiment_tools import made_up_look

from restore.experiments.measures import (
    by_distance,
    error_growth,
    explained_by_distance,
    fine_power,
    spike_steps,
    transformed,
)


def test_errors_are_averaged_over_pixels_of_one_distance() -> None:
    distance = np.array([[0.0, 0.4, 1.0], [2.0, 2.2, 4.0]])
    square = np.array([[1.0, 3.0, 5.0], [7.0, 9.0, 2.0]])
    at, mean, count = by_distance(square, distance)
    assert at.tolist() == [0, 1, 2, 4]
    assert mean.tolist() == [2, 5, 8, 2]
    assert count.tolist() == [2, 1, 2, 1]


def test_errors_that_follow_the_distance_alone_are_explained_by_it_and_noise_is_not() -> None:
    assert explained_by_distance(made_up_look(growth=3.0)) == pytest.approx(1.0, abs=1e-5)
    assert explained_by_distance(made_up_look(growth=1.0, noise=1.0)) < 0.1
    assert error_growth(made_up_look(growth=3.0)) == pytest.approx(3.0)


def test_fine_power_is_one_for_the_truth_itself_and_none_for_what_is_blurred() -> None:
    assert fine_power(made_up_look()) == pytest.approx(1.0)
    assert fine_power(made_up_look(fine=0.1)) == pytest.approx(0.1)


def test_a_map_is_taken_to_the_mean_and_variance_of_another_linearly() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((8, 8)), 3 + 5 * rng.random((8, 8))
    shown = transformed(one, other)
    assert (shown.mean(), shown.std()) == (pytest.approx(other.mean()), pytest.approx(other.std()))
    assert np.corrcoef(shown.ravel(), one.ravel())[0, 1] == pytest.approx(1.0)


def test_a_spike_stands_out_of_the_hundred_steps_before_it() -> None:
    errors = np.tile([5.0, 6.0], 150)
    errors[[50, 120, 250]] = 30.0
    assert spike_steps(errors.tolist()).tolist() == [120, 250]
    assert len(spike_steps([1.0] * 80)) == 0
