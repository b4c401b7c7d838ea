"""Places of remembered frames are told better by all of them than by each, and a leap is followed at once."""

from __future__ import annotations

import numpy as np
import pytest

from restore.estimate.drift import Drift
from restore.estimate.way import Way

FRAMES = 4  # that are remembered


def measured(way: Way, number: int, places: np.ndarray, noise: np.ndarray, sd_px: float) -> Drift:
    """What samples say of a frame that lies at ``places[number]``, with what was foretold of it."""
    before = way.foretold(number)
    taken = way.state[:-1]
    wrong = (places[list(way.numbers)] - taken).mean(0)  # an estimate is where its frames are on average
    alone = places[number] - (taken[-1] + wrong) + noise
    prior, said = np.linalg.inv(before.matrix()), np.eye(2) / sd_px**2
    far = alone - (before.y_px, before.x_px)
    leaps = bool(far @ np.linalg.inv(before.matrix() + np.eye(2) * sd_px**2) @ far > 16)
    if leaps:
        prior = np.linalg.inv(before.matrix() + 16 * np.eye(2))
    both = np.linalg.inv(prior + said)
    y, x = both @ (prior @ (before.y_px, before.x_px) + said @ alone)
    covariance = (float(both[0, 0]), float(both[0, 1]), float(both[1, 1]))
    return Drift(float(y), float(x), float(both[0, 0]) ** 0.5, 1.0, covariance, leaps)


def followed(places: np.ndarray, sd_px: float, seed: int = 0) -> list[Way]:
    """The way after each frame."""
    rng = np.random.default_rng(seed)
    ways = [Way.begun(0)]
    for number in range(1, len(places)):
        noise = sd_px * rng.standard_normal(2)
        ways.append(ways[-1].then(number, measured(ways[-1], number, places, noise, sd_px), FRAMES))
    return ways


def misplaced(way: Way, places: np.ndarray) -> float:
    """Root mean square error of the older frames' places against the newest one's, px."""
    true = places[way.numbers[-1]] - places[list(way.numbers)]
    return float(np.sqrt(np.square(way.offsets() - true)[:-1].sum(1).mean()))


def steadily(speed: tuple[float, float], frames: int = 16) -> np.ndarray:
    return np.arange(frames)[:, None] * np.array(speed)


@pytest.mark.parametrize("speed", [(0.0, 0.0), (0.9, -1.2), (-2.0, 2.2)])
def test_frames_are_placed_better_than_each_was_measured(speed: tuple[float, float]) -> None:
    places = steadily(speed)
    errors = [misplaced(followed(places, 1.0, seed)[-1], places) for seed in range(20)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.6  # two measured places differ by a deviation of 2 px


def test_a_new_frame_says_more_of_the_frames_before_it() -> None:
    places = steadily((1.0, 0.5))
    second, third = followed(places, 0.5)[1:3]

    def variance(way: Way) -> float:
        by = np.kron([[-1.0, 1.0] + [0.0] * (len(way.state) - 2)], np.eye(2))
        return float(np.trace(by @ way.covariance @ by.T))

    assert variance(third) < 0.9 * variance(second)


def test_how_unsteady_the_specimen_is_is_learnt() -> None:
    still = followed(np.zeros((16, 2)), 0.02)[-1]
    vibrating = followed(np.random.default_rng(3).normal(0, 0.5, (16, 2)), 0.02)[-1]
    assert still.variance < 0.02
    assert vibrating.variance > 0.2


def test_a_leap_is_followed_at_once_and_the_rate_stays_what_it_was() -> None:
    places = steadily((0.5, 0.0), 12)
    places[8:] += (6.0, -8.0)
    ways = followed(places, 0.2)
    assert ways[8].state[-2] == pytest.approx(places[8], abs=0.6)
    assert misplaced(ways[8], places) < 0.5
    assert ways[8].state[-1] == pytest.approx((0.5, 0.0), abs=0.2)
    assert ways[9].foretold(10).y_px == pytest.approx(0.5, abs=0.4)


def test_what_was_not_measured_follows_the_rate_with_growing_uncertainty() -> None:
    way = followed(steadily((1.0, -1.0)), 0.05)[-1]
    near, far = way.foretold(16), way.foretold(20)
    assert (far.y_px - near.y_px, far.x_px - near.x_px) == pytest.approx((4.0, -4.0), abs=0.2)
    assert np.trace(far.matrix()) > 2 * np.trace(near.matrix())


def test_only_frames_that_are_remembered_are_kept() -> None:
    way = followed(steadily((1.0, 0.0)), 0.1)[-1]
    assert way.numbers == (12, 13, 14, 15)
    assert way.state.shape == (5, 2)
    assert way.covariance.shape == (10, 10)
