"""What is remembered of earlier frames helps, moves with the specimen, is bounded, and forgotten where it changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from restore.estimate.drift import Drift
from restore.estimate.stream import Recalled, Stream
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from restore.restorer import Before, Restoration
from restore.withholding import withhold
from scancontrol.paths import CoverageGoal, JitteredGrid, PathRecipe, expand

SIDE, MARGIN = 128, 32
STILL = Drift(0.0, 0.0, 0.01, 1.0)


def specimen(seed: int = 0) -> np.ndarray:
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE + 2 * MARGIN,) * 2), 3.0)
    return (1000 + 200 * rough / rough.std()).astype(np.float32)


def view(image: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The field when the specimen has moved."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return map_coordinates(image, [y - moved[0] + MARGIN, x - moved[1] + MARGIN], order=3).astype(np.float32)


def geometry(frame: int, side: int = SIDE, coverage: float = 0.1) -> FrameGeometry:
    pattern = JitteredGrid(coverage=CoverageGoal(value=coverage), seed=frame)
    return FrameGeometry.from_path(expand(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=128.0, dwell_us=1.0)))


class Run:
    """Frames of a specimen, one after another, through a memory and a fill."""

    def __init__(self, frames: int, coverage: float = 0.1) -> None:
        self.stream, self.restorer, self.coverage = Stream(frames), FillRestorer("harmonic"), coverage
        self.number = 0

    def frame(self, field: np.ndarray) -> tuple[Recalled, np.ndarray, np.ndarray]:
        """What was recalled, the estimate and the interval of the next frame of a field."""
        path = geometry(self.number, coverage=self.coverage)
        values = torch.from_numpy(field.ravel()[path.index.numpy()])
        recalled = self.stream.recall(self.number, values, path)
        found = self.restorer.restore(recalled.values, recalled.geometry, None, recalled.before)
        self.stream.keep(recalled, found)
        found = recalled.told(found)
        self.number += 1
        assert found.interval is not None
        return recalled, found.estimate.numpy(), found.interval.numpy()


def error(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((estimate - truth) ** 2)))


def test_a_still_specimen_is_seen_better_with_every_frame_up_to_the_memorys_length() -> None:
    field = view(specimen(), np.zeros(2))
    run = Run(4, coverage=0.1)
    errors, frames = [], []
    for _ in range(8):
        recalled, estimate, _ = run.frame(field)
        errors.append(error(estimate, field))
        frames.append((recalled.frames, recalled.age))
    assert frames == [(1, 0), (2, 1), (3, 2), (4, 3), (4, 3), (4, 3), (4, 3), (4, 3)]
    assert max(errors[4:]) < 0.5 * errors[0]


@pytest.mark.slow
def test_older_samples_move_with_the_specimen() -> None:
    image = specimen()
    run, alone, ignoring = Run(4, 0.1), Run(1, 0.1), Run(4, 0.1)
    ignoring.stream._measure = lambda number, values, geometry, known: STILL  # type: ignore[method-assign]
    speed, last = np.array([0.9, -1.3]), {}
    for number in range(7):
        field = view(image, number * speed)
        for name, each in (("memory", run), ("alone", alone), ("ignoring", ignoring)):
            recalled, estimate, _ = each.frame(field)
            last[name] = error(estimate, field)
            if name == "memory":
                drift = recalled.drift
    assert drift is not None
    assert (drift.y_px, drift.x_px) == pytest.approx(tuple(speed), abs=0.2)
    assert last["memory"] < 0.65 * last["alone"]
    assert last["memory"] < 0.65 * last["ignoring"]


def test_where_the_specimen_has_changed_older_samples_are_forgotten_and_elsewhere_they_are_not() -> None:
    field = view(specimen(), np.zeros(2))
    run = Run(4, 0.1)
    for _ in range(4):
        run.frame(field)
    changed = field.copy()
    changed[30:60, 40:70] += 1500
    inside = np.s_[33:57, 43:67]
    recalled, first, at_once = run.frame(changed)
    assert 0.04 < recalled.forgotten < 0.25
    old = recalled.geometry.index[recalled.geometry.fresh :].numpy()
    stale = (recalled.values[recalled.geometry.fresh :].numpy() < 1500) & np.isin(
        old, np.flatnonzero(changed.ravel() > field.ravel() + 1)
    )
    assert stale.mean() < 0.02
    _, second, interval = run.frame(changed)
    single, alone, _ = Run(1, 0.1).frame(changed)
    assert single.frames == 1
    # Within two frames the error is that of a single frame, and it was never told with the old interval.
    assert error(second[inside], changed[inside]) < 1.2 * error(alone[inside], changed[inside])
    for estimate, told in ((first, at_once), (second, interval)):
        held = np.abs(estimate - changed) <= told
        assert held.mean() > 0.8
        assert held[inside].mean() > 0.85


def test_another_specimen_is_begun_anew() -> None:
    run = Run(4, 0.1)
    for _ in range(3):
        run.frame(view(specimen(), np.zeros(2)))
    recalled, _, _ = run.frame(view(specimen(9), np.zeros(2)))
    assert (recalled.frames, recalled.forgotten) == (1, 1.0)
    recalled, _, _ = run.frame(view(specimen(9), np.zeros(2)))
    assert recalled.frames == 2


@pytest.mark.slow
def test_what_leaves_the_field_is_dropped_and_the_memory_stays_bounded() -> None:
    image = specimen()
    run = Run(8)
    for number in range(20):
        recalled, _, _ = run.frame(view(image, number * np.array([1.0, 0.5])))
        rows, cols = recalled.geometry.shape
        assert ((recalled.geometry.index >= 0) & (recalled.geometry.index < rows * cols)).all()
        assert len(recalled.values) <= 8 * geometry(0).count * 1.1
        assert run.stream._kept is not None
        assert len(run.stream._kept.number.unique()) <= 8


def test_another_size_of_frame_and_one_that_comes_late_are_restored_alone() -> None:
    run = Run(4)
    field = view(specimen(), np.zeros(2))
    for _ in range(3):
        run.frame(field)
    small = geometry(0, side=64)
    assert run.stream.recall(3, torch.ones(small.count), small).frames == 1
    path = geometry(1)
    values = torch.from_numpy(field.ravel()[path.index.numpy()])
    late = run.stream.recall(1, values, path)
    assert late.frames == 1
    kept = run.stream._kept
    run.stream.keep(late, run.restorer.restore(values, path))
    assert run.stream._kept is kept


def test_only_samples_of_the_new_frame_are_withheld_from_it() -> None:
    run = Run(4, 0.1)
    field = view(specimen(), np.zeros(2))
    for _ in range(3):
        recalled, _, _ = run.frame(field)
    kept, held = withhold(recalled.geometry, 0.04)
    assert held is not None
    assert (held.index < recalled.geometry.fresh).all()
    assert not np.isin(held.pixel.numpy(), kept.index.numpy()).any()
    assert kept.fresh == recalled.geometry.fresh - len(held.index)


def test_an_older_frame_takes_the_place_of_one_that_was_lost_and_the_drift_is_foretold_over_the_gap() -> None:
    image, speed = specimen(), np.array([1.0, -0.6])
    run = Run(4, 0.1)
    for number in (0, 1, 2, 4):
        run.number = number
        recalled, _, _ = run.frame(view(image, number * speed))
    assert (recalled.frames, recalled.age) == (4, 4)
    assert recalled.drift is not None
    assert (recalled.drift.y_px, recalled.drift.x_px) == pytest.approx(tuple(2 * speed), abs=0.3)


def test_frames_of_long_ago_are_not_remembered() -> None:
    field = view(specimen(), np.zeros(2))
    run = Run(4, 0.1)
    run.frame(field)
    for number, frames in ((63, 2), (100, 2), (164, 1)):
        run.number = number
        recalled, _, _ = run.frame(field)
        assert recalled.frames == frames


class Carrying(FillRestorer):
    """A fill that notes what it is told of the frame before, and carries its own number."""

    def __init__(self) -> None:
        super().__init__("harmonic")
        self.told: list[Before | None] = []

    def restore(
        self,
        samples: torch.Tensor,
        geometry: FrameGeometry,
        noise_variance: float | None = None,
        before: Before | None = None,
    ) -> Restoration:
        self.told.append(before)
        return replace(super().restore(samples, geometry), carried=len(self.told))


def test_what_a_restoration_carried_comes_back_moved_once_the_memory_is_full_and_not_to_another_specimen() -> None:
    run, image, speed = Run(3, 0.1), specimen(), np.array([0.9, -1.3])
    run.restorer = restorer = Carrying()
    for number in range(5):
        run.frame(view(image, number * speed))
    assert restorer.told[:3] == [None, None, None]  # each was of fewer frames than there are now
    for number, before in enumerate(restorer.told[3:], 3):
        assert before is not None
        assert before.carried == number
        assert (before.moved.y_px, before.moved.x_px) == pytest.approx(tuple(speed), abs=0.3)
        assert (before.moved.gain, before.moved.shift) == (1.0, 0.0)
    run.frame(view(specimen(9), np.zeros(2)))
    assert restorer.told[-1] is None


def test_where_little_has_changed_the_restorer_is_told_where() -> None:
    run, field = Run(3, 0.1), view(specimen(), np.zeros(2))
    run.restorer = restorer = Carrying()
    for _ in range(4):
        run.frame(field)
    changed = field.copy()
    changed[40:56, 40:56] += 2000
    run.frame(changed)
    before = restorer.told[-1]
    assert before is not None
    assert before.changed is not None
    assert before.changed[42:54, 42:54].float().mean() > 0.9
    assert before.changed.float().mean() < 0.05


def test_samples_that_a_movement_took_between_pixels_count_as_what_is_at_their_pixels_centres() -> None:
    run, image, speed = Run(2, 0.2), specimen(), np.array([0.4, -0.3])
    run.stream._measure = lambda *_: Drift(*speed, 0.01, 1.0)  # type: ignore[method-assign]
    run.frame(view(image, np.zeros(2)))
    field = view(image, speed)
    recalled, _, _ = run.frame(field)
    fresh = recalled.geometry.fresh
    there = field.ravel()[recalled.geometry.index[fresh:].numpy()]
    before = recalled.older
    assert before is not None
    assert error(recalled.values[fresh:].numpy(), there) < 0.5 * error(before.values.numpy(), there)
