"""Runs of the poster's experiments: resumed, branched, and ended after as many minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from experiment_tools import few_pictures, made_up_point

from restore.experiments.plans import BASE, EXPERIMENTS, WARM, Experiment, Scale
from restore.experiments.results import Point, append_point, points_of
from restore.experiments.runs import run_folder, run_one
from restore.training.images import ImageSet
from scancontrol.errors import InvalidInput

SCALE = Scale(width=1 / 32, size=64, steps=8, look_crops=1, crops=2)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return few_pictures(tmp_path / "images")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(images: Path, tmp_path: Path) -> None:
    pictures = ImageSet.read(images)
    holdout = (sorted(set(pictures.groups))[0],)
    two_stages = next(e for e in EXPERIMENTS if e.name == "two_stages")

    def run(out: Path, stop: Callable[[], bool]) -> bool:
        return run_one(two_stages, 1, SCALE, pictures, holdout, out, "cpu", stop)

    assert run(tmp_path / "whole", lambda: False)
    asked = iter([False] * 5 + [True] * 1000)
    assert not run(tmp_path / "parts", lambda: next(asked))
    assert run(tmp_path / "parts", lambda: False)
    whole, parts = (points_of(tmp_path / name / "two_stages" / "seed-1") for name in ("whole", "parts"))
    assert [(p.step, p.lowpass_pct) for p in whole] == [(p.step, pytest.approx(p.lowpass_pct, rel=1e-5)) for p in parts]
    assert whole[-1].step == 8


@pytest.mark.slow
def test_a_branch_of_the_shared_steps_is_the_run_that_took_them_itself(images: Path, tmp_path: Path) -> None:
    pictures = ImageSet.read(images)
    holdout = (sorted(set(pictures.groups))[0],)
    base, huber = (next(e for e in EXPERIMENTS if e.name == name) for name in (BASE, "huber"))
    shared = dataclasses.replace(SCALE, warm_steps=4)

    def ran(experiment: Experiment, scale: Scale, out: str) -> list[Point]:
        assert run_one(experiment, 0, scale, pictures, holdout, tmp_path / out, "cpu", lambda: False)
        return points_of(run_folder(tmp_path / out, experiment.name, 0))

    assert ran(WARM, shared, "shared")[-1].step == 4
    whole, branch = ran(base, SCALE, "whole"), ran(base, shared, "shared")
    assert [point.step for point in branch] == [5, 6, 7, 8]
    later = [point for point in whole if point.step > 4]
    assert [p.lowpass_pct for p in branch] == pytest.approx([p.lowpass_pct for p in later], rel=1e-5)
    assert branch[-1].processor_s > branch[0].processor_s > 0
    assert ran(huber, shared, "shared")[-1].lowpass_pct != branch[-1].lowpass_pct


@pytest.mark.slow
def test_ours_gets_the_processor_minutes_of_his_and_no_more(images: Path, tmp_path: Path) -> None:
    pictures = ImageSet.read(images)
    holdout = (sorted(set(pictures.groups))[0],)
    ours = next(e for e in EXPERIMENTS if e.name == "ours_blurred")
    with pytest.raises(InvalidInput, match="has not come to its end"):
        run_one(ours, 0, SCALE, pictures, holdout, tmp_path, "cpu", lambda: False)
    append_point(run_folder(tmp_path, BASE, 0), dataclasses.replace(made_up_point(BASE, 0, 8, 1.0), processor_s=1.0))
    assert run_one(ours, 0, SCALE, pictures, holdout, tmp_path, "cpu", lambda: False)
    points = points_of(run_folder(tmp_path, ours.name, 0))
    longest = max(b.processor_s - a.processor_s for a, b in pairwise([made_up_point(BASE, 0, 0, 1.0), *points]))
    assert 1.0 <= points[-1].processor_s < 1.0 + longest
    assert points[-1].done_pct == 100
