"""Frames under way together: as if each were alone, in their order, the next one ready while one is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from training_tools import TINY

from restore.engine import Engine
from restore.feeding import Feeder
from restore.fills.restorer import FillRestorer
from restore.generator.carried import Carried
from restore.generator.following import RecordedFollowing
from restore.generator.generator import Estimate, Generator
from restore.generator.intervals import COVERAGES, DISTANCES, Calibration
from restore.generator.recorded import Recorded
from restore.generator.resident import Resident
from restore.generator.restorer import GeneratorRestorer
from restore.generator.weights import Weights
from restore.restorer import Restoration
from restore.under_way import Ended, UnderWay, Wanted
from scancontrol.errors import InvalidInput
from scancontrol.paths import Archimedean, CoverageGoal, JitteredGrid, PathRecipe, ScanPath, expand

FLAT = Calibration(factors=((2.0,) * (len(DISTANCES) + 1),) * (len(COVERAGES) + 1), trust=0.5)
GOAL = CoverageGoal(value=0.2)


def _path(pattern: object, side: int = 64) -> ScanPath:
    return expand(PathRecipe(pattern=pattern, shape=(side, side), fov_nm=64.0, dwell_us=1.0))  # type: ignore[arg-type]


GRIDS = [_path(JitteredGrid(coverage=GOAL, seed=seed)) for seed in range(3)]
SPIRAL, SMALL = _path(Archimedean(coverage=GOAL)), _path(JitteredGrid(coverage=GOAL), 48)


class Noted(GeneratorRestorer):
    """The generator, whose launches and finishes are noted; it has no memory for more than ``room`` frames at once."""

    def __init__(self, together: int = 4, recorded: bool = False) -> None:
        torch.manual_seed(1)
        network = Generator(TINY)
        for parameter in network.parameters():
            parameter.data.add_(0.02 * torch.randn_like(parameter))
        super().__init__(Weights("tiny", network.eval(), FLAT, "faithful", "h"), together=together)
        self._network = Resident(network, "single", recorded=recorded, together=together)
        self.did: list[str] = []
        self.room = together

    def launch(self, begun: Sequence[object]) -> list[object]:  # type: ignore[override]
        self.did.append(f"launch {len(begun)}")
        if len(begun) > self.room:
            raise torch.OutOfMemoryError
        return super().launch(begun)  # type: ignore[return-value, arg-type]

    def finish(self, launched: object) -> Restoration:
        self.did.append("finish")
        return super().finish(launched)  # type: ignore[arg-type]


class InTwo(Feeder):
    """Two batches under way, as on a GPU."""

    under_way = 2


def _engine(restorer: GeneratorRestorer | FillRestorer, paths: Sequence[ScanPath] = GRIDS, memory: int = 1) -> Engine:
    engine = Engine(restorer, memory=memory)
    for path in paths:
        engine.register(path)
    if isinstance(restorer, Noted):
        restorer.did.clear()
    return engine


def _samples(path: ScanPath, seed: int) -> np.ndarray:
    y, x = path.positions.T
    noise = 0.1 * np.random.default_rng(seed).standard_normal(path.count)
    return (1000 + 100 * (np.cos(20 * x + seed) * np.cos(17 * y) + noise)).astype("<f4")


def _all(frames: UnderWay[int]) -> list[Ended[int]]:
    ended = []
    while len(frames):
        ended += frames.step()
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [True, False])
def test_frames_that_are_restored_at_once_are_what_each_is_alone_whatever_their_paths(recorded: bool) -> None:
    restorer = Noted(recorded=recorded)
    paths = [*GRIDS[:2], SPIRAL]
    engine = _engine(restorer, paths)
    frames: UnderWay[int] = UnderWay(engine)
    samples = [_samples(path, seed) for seed, path in enumerate(paths)]
    samples[1][7] = 1e6  # an outlier: of that frame one sample is left out
    for number, path in enumerate(paths):
        frames.add(number, Wanted(samples[number], path.path_id, stream=str(number)))
    ended = _all(frames)
    assert [one.key for one in ended] == [0, 1, 2]
    assert restorer.did == ["launch 3", *["finish"] * 3]
    for one, path in zip(ended, paths, strict=True):
        alone = engine.restore(samples[one.key], path.path_id)
        assert isinstance(one.found, Restoration)
        assert one.found.interval is not None
        torch.testing.assert_close(one.found.estimate, alone.estimate, rtol=1e-5, atol=0.05)
        torch.testing.assert_close(one.found.interval, alone.interval, rtol=1e-3, atol=0.05)
        assert one.found.made_by.withheld_rmse == pytest.approx(alone.made_by.withheld_rmse, rel=1e-3)
        assert one.found.made_by.outliers == alone.made_by.outliers == (one.key == 1)


def test_frames_of_another_size_and_more_than_fit_go_next_and_none_waits_for_a_fuller_batch() -> None:
    restorer = Noted(together=2)
    engine = _engine(restorer, [GRIDS[0], SMALL])
    frames: UnderWay[int] = UnderWay(engine)
    for number, path in enumerate([GRIDS[0], SMALL, GRIDS[0], GRIDS[0], SMALL]):
        frames.add(number, Wanted(_samples(path, number), path.path_id))
    assert [one.key for one in _all(frames)] == [0, 2, 1, 4, 3]
    assert [what for what in restorer.did if what != "finish"] == ["launch 2", "launch 2", "launch 1"]


def test_frames_of_a_stream_keep_their_order_also_when_a_later_one_would_fit_beside_another() -> None:
    engine = _engine(Noted(), [GRIDS[0], SMALL])
    frames: UnderWay[int] = UnderWay(engine)
    for number, (path, stream) in enumerate([(GRIDS[0], "a"), (SMALL, "b"), (GRIDS[0], "b"), (GRIDS[0], "a")]):
        frames.add(number, Wanted(_samples(path, number), path.path_id, stream=stream))
    assert [one.key for one in _all(frames)] == [0, 3, 1, 2]


def test_the_next_batch_is_launched_before_the_one_under_way_is_brought_back_and_no_third_one() -> None:
    restorer = Noted(together=1, recorded=True)
    engine = _engine(restorer)
    engine.feeder = InTwo(torch.device("cpu"))
    frames: UnderWay[int] = UnderWay(engine)
    for number in range(3):
        frames.add(number, Wanted(_samples(GRIDS[number], number), GRIDS[number].path_id, stream="s"))
    ended = _all(frames)
    assert [one.key for one in ended] == [0, 1, 2]
    assert restorer.did == ["launch 1", "launch 1", "finish", "launch 1", "finish", "finish"]
    for one in ended:  # a recording's places were overwritten meanwhile, the frame was not
        alone = engine.restore(_samples(GRIDS[one.key], one.key), GRIDS[one.key].path_id)
        assert isinstance(one.found, Restoration)
        torch.testing.assert_close(one.found.estimate, alone.estimate, rtol=1e-5, atol=0.05)
    assert engine.room == 2


def test_a_remembered_frame_begins_when_the_one_before_it_is_finished_and_other_streams_go_on() -> None:
    restorer = Noted()
    engine = _engine(restorer, memory=3)
    engine.feeder = InTwo(torch.device("cpu"))
    frames: UnderWay[int] = UnderWay(engine)
    for number, (stream, frame) in enumerate([("a", 0), ("a", 1), ("b", 0), ("a", 2)]):
        path = GRIDS[frame]
        frames.add(number, Wanted(_samples(path, 0), path.path_id, stream=stream, frame=frame))
    ended = {one.key: one.found for one in _all(frames)}
    assert restorer.did[0] == "launch 2", "one of each stream"
    assert [ended[number].made_by.frames for number in (0, 1, 2, 3)] == [1, 2, 1, 3]  # type: ignore[union-attr]


@pytest.mark.slow
def test_recorded_frames_that_follow_others_are_what_they_are_unrecorded_and_share_their_recordings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples, path = _samples(GRIDS[0], 0), GRIDS[0]
    replayed: list[bool] = []
    follow = RecordedFollowing.__call__

    def noted(self: RecordedFollowing, given: tuple[torch.Tensor, ...], before: Carried) -> Estimate:
        replayed.append(before.looks)
        return follow(self, given, before)

    def stream(recorded: bool) -> list[Restoration]:
        engine = _engine(Noted(together=1, recorded=recorded), [path], memory=2)
        with monkeypatch.context() as patch:
            patch.setattr(RecordedFollowing, "__call__", noted)
            patch.setattr(Recorded, "__init__", lambda *_, **__: pytest.fail("the path was registered before"))
            return [engine.restore(samples, path.path_id, stream="s", frame=frame) for frame in range(6)]

    for plain, again in zip(stream(False), stream(True), strict=True):
        torch.testing.assert_close(again.estimate, plain.estimate, rtol=1e-4, atol=0.1)
        assert again.made_by.frames == plain.made_by.frames
    assert replayed == [False, False, True, False], "the first of two frames has less to begin with"


def test_a_frame_that_fails_takes_no_other_with_it() -> None:
    restorer = Noted()
    engine = _engine(restorer)
    frames: UnderWay[int] = UnderWay(engine)
    path = GRIDS[0]
    good = _samples(path, 0)
    for number, (samples, path_id) in enumerate(
        [(good, path.path_id), (good[:3], path.path_id), (good, "no such path"), (good * np.nan, path.path_id)]
    ):
        frames.add(number, Wanted(samples, path_id))
    frames.add(4, Wanted(good, path.path_id))
    ended = {one.key: one.found for one in _all(frames)}
    assert [type(ended[number]) for number in range(5)] == [
        Restoration, InvalidInput, InvalidInput, InvalidInput, Restoration
    ]  # fmt: skip
    restorer.did.clear()
    restorer.room = 1
    frames.add(0, Wanted(good, path.path_id))
    frames.add(1, Wanted(good, path.path_id))
    assert all(isinstance(one.found, Restoration) for one in _all(frames)), "each is tried by itself"
    assert restorer.did == ["launch 2", "launch 1", "launch 1", "finish", "finish"]
    restorer.room = 0
    frames.add(2, Wanted(good, path.path_id))
    assert [type(one.found) for one in _all(frames)] == [torch.OutOfMemoryError]


def test_a_restorer_that_knows_no_steps_does_one_frame_after_another() -> None:
    engine = _engine(FillRestorer("push_pull"))
    assert engine.room == 1
    frames: UnderWay[int] = UnderWay(engine, iter([10, 20]).__next__)
    for number in range(2):
        frames.add(number, Wanted(_samples(GRIDS[number], 0), GRIDS[number].path_id))
    assert not frames.would_wait
    (first,) = frames.step()
    (second,) = frames.step()
    assert [(one.key, one.began_ns) for one in (first, second)] == [(0, 10), (1, 20)]
    assert frames.step() == []
