"""The resident engine: what it withholds, what it promises, which fill it chooses, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.engine import Engine
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from restore.loading import load_restorer, pick_device, weights_file
from restore.restorer import Restoration
from restore.withholding import AtHeld, carried_over, half_widths, withhold
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, Points, ScanPath, expand

SHAPE = (96, 96)


def _path(pattern: object, dwell_us: float = 1.0, shape: tuple[int, int] = SHAPE) -> ScanPath:
    return expand(PathRecipe(pattern=pattern, shape=shape, fov_nm=100.0, dwell_us=dwell_us))  # type: ignore[arg-type]


SPIRAL = _path(Archimedean(coverage=CoverageGoal(value=0.1)))
GRID = _path(JitteredGrid(coverage=CoverageGoal(value=0.1)))


def _image(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 3)
    return (1000 + 200 * smooth / smooth.std()).astype(np.float32)


def _samples(path: ScanPath, image: np.ndarray) -> np.ndarray:
    return image.ravel()[FrameGeometry.from_path(path).index.numpy()]


@pytest.mark.parametrize("path", [SPIRAL, GRID], ids=["spiral", "grid"])
def test_the_error_on_withheld_samples_is_that_of_an_estimate_that_never_saw_them(path: ScanPath) -> None:
    engine = Engine(FillRestorer("push_pull"))
    geometry = engine.register(path).geometry
    samples = _samples(path, _image())
    _, held = withhold(geometry, 0.04)
    assert held is not None
    found = engine.restore(samples, path.path_id)
    changed = samples.copy()
    changed[held.index.numpy()] += 500
    again = engine.restore(changed, path.path_id)
    assert torch.equal(found.estimate, again.estimate)
    truth = samples[held.index.numpy()] - found.estimate.numpy().ravel()[held.pixel.numpy()]
    assert found.made_by.withheld_rmse == pytest.approx(float(np.sqrt(np.mean(truth**2))), rel=1e-4)


def test_the_error_to_expect_is_the_measured_one_carried_over_by_the_interval() -> None:
    geometry = FrameGeometry.from_path(SPIRAL)
    _, held = withhold(geometry, 0.04)
    assert held is not None
    widths = torch.full(SPIRAL.shape, 4.0)
    widths.view(-1)[held.pixel] = 2.0  # promised to be easier than the rest of the frame
    residual = torch.full((len(held.pixel),), 1.0)
    told = AtHeld.of(residual, held, widths)
    promise, nearly = carried_over(told, 0.0), carried_over(told)
    whole = float(widths.square().mean().sqrt())
    assert promise == pytest.approx(whole)
    assert nearly == pytest.approx(whole / 2), "half of what was promised there is half of it everywhere"
    assert nearly < carried_over(told, 0.3) < promise
    assert carried_over(told._replace(residual=2 * residual)) == pytest.approx(2 * nearly)


def test_an_arc_of_a_drawn_path_is_one_place_and_each_point_of_a_grid_another() -> None:
    for path in (SPIRAL, GRID):
        _, held = withhold(FrameGeometry.from_path(path), 0.04)
        assert held is not None
        runs = 1 + int((held.index.diff() > 1).sum())
        assert held.places == pytest.approx(runs, rel=0.1)
        assert 0 < held.say_on_errors < held.say_on_widths < 1


def test_points_are_withheld_from_grids_and_arcs_from_what_is_drawn() -> None:
    for path, drawn in ((SPIRAL, True), (GRID, False)):
        geometry = FrameGeometry.from_path(path)
        assert geometry.is_drawn == drawn
        kept, held = withhold(geometry, 0.05)
        assert held is not None
        assert kept.count + len(held.index) == geometry.count
        assert 0.02 < len(held.index) / geometry.count < 0.1
        gaps = np.diff(held.index.numpy())
        assert (np.median(gaps) == 1) == drawn
        # No pixel is both withheld and seen.
        assert not np.isin(held.pixel.numpy(), kept.index.numpy()).any()
        assert (held.distance_px > 0).all()


def test_arcs_reach_as_far_from_the_kept_path_as_a_pixel_between_turns_is_on_average() -> None:
    geometry = FrameGeometry.from_path(_path(Archimedean(coverage=CoverageGoal(value=0.05)), shape=(256, 256)))
    _, held = withhold(geometry, 0.04)
    assert held is not None
    gaps = geometry.distance[geometry.distance > 0]
    assert held.distance_px.max() >= gaps.mean()


def test_nine_in_ten_residuals_lie_within_the_half_width_at_every_distance() -> None:
    random = torch.Generator().manual_seed(0)
    distance = torch.rand(4000, generator=random) * 8
    residual = torch.randn(4000, generator=random) * (1 + distance)
    fresh_distance = torch.rand(200, 200, generator=random) * 8
    fresh = torch.randn(200, 200, generator=random) * (1 + fresh_distance)
    widths = half_widths(residual, distance, fresh_distance)
    assert (fresh.abs() <= widths).float().mean() == pytest.approx(0.9, abs=0.015)
    for low in (0, 2, 4, 6):
        ring = (fresh_distance >= low) & (fresh_distance < low + 2)
        assert (fresh.abs() <= widths)[ring].float().mean() == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("path", [SPIRAL, GRID], ids=["spiral", "grid"])
def test_the_interval_of_a_fill_holds_about_nine_in_ten_unseen_pixels(path: ScanPath) -> None:
    engine = Engine(FillRestorer("push_pull", share=0.1))
    geometry = engine.register(path).geometry
    inside = []
    for seed in range(4):
        smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 2).astype(np.float32)
        found = engine.restore(_samples(path, smooth), path.path_id)
        assert found.interval is not None
        unseen = geometry.distance.numpy() > 0
        inside.append((np.abs(found.estimate.numpy() - smooth) <= found.interval.numpy())[unseen].mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)


def test_estimate_and_interval_follow_the_detectors_gain_and_offset() -> None:
    engine = Engine(FillRestorer("push_pull"))
    engine.register(GRID)
    samples = _samples(GRID, _image())
    plain, moved = (engine.restore(s, GRID.path_id) for s in (samples, 2 * samples + 300))
    assert torch.allclose(moved.estimate, 2 * plain.estimate + 300, rtol=1e-4)
    assert plain.interval is not None
    assert moved.interval is not None
    assert torch.allclose(moved.interval, 2 * plain.interval, rtol=1e-2)


def test_a_frame_can_be_restored_while_it_is_still_being_scanned() -> None:
    engine = Engine(FillRestorer("push_pull"))
    engine.register(SPIRAL)
    image = _image()
    samples = _samples(SPIRAL, image)
    half = engine.restore(samples[: SPIRAL.count // 2], SPIRAL.path_id)
    whole = engine.restore(samples, SPIRAL.path_id)
    centre = (slice(36, 60), slice(36, 60))  # a spiral begins in the centre
    error = [np.abs(found.estimate.numpy() - image) for found in (half, whole)]
    assert error[0][centre].mean() < 1.5 * error[1][centre].mean()
    assert error[0].mean() > error[1].mean()


def test_achieved_positions_are_used_where_the_coils_lag() -> None:
    engine = Engine(FillRestorer("push_pull"))
    nominal = engine.register(SPIRAL).geometry
    lagging = engine.register(SPIRAL, CoilModel(time_constant_us=5.0)).geometry
    assert (nominal.index != lagging.index).float().mean() > 0.5


def test_the_least_recently_used_path_goes_when_there_are_too_many() -> None:
    engine = Engine(FillRestorer("push_pull"), paths_limit=2)
    paths = [_path(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=seed)) for seed in range(3)]
    for path in paths:
        engine.register(path)
    assert [path.path_id in engine for path in paths] == [False, True, True]
    with pytest.raises(InvalidInput, match="register its recipe"):
        engine.restore(np.zeros(paths[0].count, dtype="<u2"), paths[0].path_id)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(8, dtype="<u2"), "outside 16"),
        (np.zeros(10**5, dtype="<u2"), "outside 16"),
        (np.full(GRID.count, np.nan, dtype="<f4"), "readings = 0 is below 16 that are believed"),
    ],
    ids=["few", "many", "nan"],
)
def test_samples_that_cannot_be_restored_are_refused_by_name(samples: np.ndarray, words: str) -> None:
    engine = Engine(FillRestorer("push_pull"))
    engine.register(GRID)
    with pytest.raises(InvalidInput, match=words):
        engine.restore(samples, GRID.path_id)


def test_a_path_with_fewer_than_sixteen_samples_is_refused_at_registration() -> None:
    few = _path(Points.from_array(np.random.default_rng(0).random((10, 2))))
    with pytest.raises(InvalidInput, match="is below 16"):
        Engine(FillRestorer("push_pull")).register(few)


def test_a_method_or_device_that_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(InvalidInput, match="push_pull"):
        load_restorer("magic", None, torch.device("cpu"))
    with pytest.raises(InvalidInput, match=r"use one of: .*lite"):
        load_restorer("auto", Path("none-such"), torch.device("cpu"))
    with pytest.raises(InvalidInput, match="choose cpu"):
        pick_device("abacus")


def test_weights_that_ship_are_called_by_their_name() -> None:
    assert load_restorer("auto", Path("lite"), torch.device("cpu")).name == "lite"
    assert weights_file(None, torch.device("cpu")) == weights_file(Path("lite"), torch.device("cpu"))
    assert weights_file(None, torch.device("cuda")).stem == "live", "a GPU has time for more"
    assert weights_file(Path("mine/lite.safetensors"), torch.device("cpu")) == Path("mine/lite.safetensors")


def test_what_restores_is_said_with_every_restoration() -> None:
    engine = Engine(FillRestorer("nearest"))
    engine.register(GRID)
    found = engine.restore(_samples(GRID, _image()).astype("<u2"), GRID.path_id)
    assert isinstance(found, Restoration)
    made_by = found.made_by
    assert (made_by.method, made_by.face, made_by.weights_hash) == ("nearest", "classical", "")
    assert found.estimate.dtype == torch.float32


def test_samples_that_are_not_sound_are_as_if_never_measured() -> None:
    engine = Engine(FillRestorer("push_pull"))
    samples, sound = _samples(GRID, _image()), np.ones(GRID.count, dtype=bool)
    engine.register(GRID)
    clean = engine.restore(samples, GRID.path_id)
    sound[100:164] = False
    spoiled = samples.copy()
    spoiled[100:164] = 1e6
    left_out = engine.restore(spoiled, GRID.path_id, sound)
    assert float(left_out.estimate.max()) < 1.1 * float(clean.estimate.max())
    again = engine.restore(samples, GRID.path_id, sound)
    assert torch.equal(left_out.estimate, again.estimate)
    assert left_out.interval is not None
    with pytest.raises(InvalidInput, match="is below 16"):
        engine.restore(samples, GRID.path_id, np.zeros(GRID.count, dtype=bool))


def test_a_stream_is_remembered_and_said_and_other_streams_fields_and_looks_are_not_mixed_in() -> None:
    engine = Engine(FillRestorer("push_pull"), memory=3)
    paths = [_path(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=seed)) for seed in range(4)]
    for path in paths:
        engine.register(path)

    def seen(frame: int, stream: str | None = "s", complete: bool = True) -> tuple[int, int]:
        samples = _samples(paths[frame], _image())
        found = engine.restore(samples, paths[frame].path_id, stream=stream, frame=frame, complete=complete)
        assert found.made_by.samples_used == len(samples)
        return found.made_by.frames, found.made_by.age_frames

    assert [seen(0), seen(1)] == [(1, 0), (2, 1)]
    assert seen(2, complete=False) == (3, 2), "a look at a frame is restored with what is remembered"
    assert seen(2) == (3, 2)
    assert seen(3) == (3, 2), "and what it was made from is not remembered twice"
    assert seen(0, stream="other") == (1, 0)
    assert seen(3, stream=None) == (1, 0)


def test_another_field_of_view_is_another_specimen() -> None:
    engine = Engine(FillRestorer("push_pull"), memory=3)
    wide = expand(
        PathRecipe(pattern=JitteredGrid(coverage=CoverageGoal(value=0.1)), shape=SHAPE, fov_nm=200.0, dwell_us=1.0)
    )
    for path in (GRID, wide):
        engine.register(path)
    engine.restore(_samples(GRID, _image()), GRID.path_id, stream="s", frame=0)
    assert engine.restore(_samples(wide, _image()), wide.path_id, stream="s", frame=1).made_by.frames == 1


def test_a_memory_of_no_or_too_many_frames_is_refused() -> None:
    for memory in (0, 65):
        with pytest.raises(InvalidInput, match=f"memory = {memory} is outside 1 to 64 frames"):
            Engine(FillRestorer("push_pull"), memory=memory)


def test_paths_that_differ_in_their_seed_are_prepared_without_restoring_anything() -> None:
    calls = []

    class Counting(FillRestorer):
        def restore(self, samples: torch.Tensor, geometry: FrameGeometry, *_: object) -> Restoration:
            calls.append(geometry)
            return super().restore(samples, geometry)

    engine = Engine(Counting("push_pull"))
    times = [
        engine.register(_path(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=seed))).restore_ms
        for seed in range(3)
    ]
    assert len(calls) == 2, "the first one warms up and is timed"
    assert len(set(times)) == 1


def test_a_large_frame_is_timed_by_a_small_one_and_few_large_paths_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = 96 * 96
    for name, value in (("PRACTISED_PX", frame - 1), ("TRIAL_SIDE", 40)):
        monkeypatch.setattr(f"restore.restorer._{name}", value)
    for name, value in (("PIXELS_KEPT", 4 * frame), ("PREFIX_PIXELS_KEPT", frame)):
        monkeypatch.setattr(f"restore.engine._{name}", value)
    calls = []

    class Counting(FillRestorer):
        def restore(self, samples: torch.Tensor, geometry: FrameGeometry, *_: object) -> Restoration:
            calls.append(geometry.shape)
            return super().restore(samples, geometry)

    engine = Engine(Counting("push_pull"))
    paths = [_path(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=seed)) for seed in range(5)]
    newest = [engine.register(path) for path in paths][-1]
    assert calls == [(40, 40)] * 2
    assert newest.restore_ms > 0
    assert [path.path_id in engine for path in paths] == [False, True, True, True, True]
    first = newest.first(400)
    assert newest.first(400) is first
    newest.first(800)
    assert newest.first(400) is not first, "of large frames few prefixes are kept"


class WithLattice(FillRestorer):
    """Notes whether a lattice might have been used."""

    def __init__(self) -> None:
        super().__init__("push_pull")
        self.lattice: list[bool] = []

    def restore(self, samples, geometry, noise_variance=None, before=None, lattice=True):
        self.lattice.append(lattice)
        return super().restore(samples, geometry)


def test_the_newest_frame_is_looked_at_again_with_what_it_was_made_from_and_nothing_is_remembered_twice() -> None:
    restorer = WithLattice()
    engine = Engine(restorer, memory=3)
    paths = [_path(JitteredGrid(coverage=CoverageGoal(value=0.1), seed=seed)) for seed in range(4)]
    for path in paths:
        engine.register(path)

    def seen(frame: int, **options: bool) -> tuple[int, torch.Tensor]:
        path = paths[frame]
        found = engine.restore(_samples(path, _image()), path.path_id, stream="s", frame=frame, **options)
        return found.made_by.frames, found.estimate

    for frame in range(3):
        frames, first = seen(frame)
    restorer.lattice.clear()
    again, second = seen(2, complete=False, lattice=False)
    assert (frames, again) == (3, 3)
    assert restorer.lattice == [False]
    assert torch.equal(first, second)
    assert seen(3)[0] == 3


def test_frames_of_an_even_field_between_others_do_not_spoil_what_is_remembered() -> None:
    """The view is carried over one bright place and back: most frames see next to nothing."""
    engine = Engine(FillRestorer("push_pull"), memory=3)
    paths = [_path(JitteredGrid(coverage=CoverageGoal(value=0.2), seed=seed)) for seed in range(9)]
    even = 1000 + 0.01 * np.random.default_rng(0).standard_normal(SHAPE)
    bright = even.copy()
    bright[10:20, 10:20] += 500
    for frame, path in enumerate(paths):
        engine.register(path)
        image = bright if frame % 4 == 1 else even
        found = engine.restore(_samples(path, image), path.path_id, stream="s", frame=frame)
        again = engine.restore(_samples(path, image), path.path_id)
        miss = float((found.estimate - torch.from_numpy(image)).square().mean().sqrt())
        alone = float((again.estimate - torch.from_numpy(image)).square().mean().sqrt())
        assert miss < 1.5 * alone + 0.1, frame
