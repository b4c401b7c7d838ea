"""The poster's experiments: paired, resumable, and told apart by their seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from training_tools import specimens

from restore.experiments.__main__ import main
from restore.experiments.plans import BASE, CLAIMS, EXPERIMENTS, WARM, Claim, Experiment, Scale, configuration
from restore.experiments.results import Point, append_point, final, gather, points_of, verdict, verdicts_table
from restore.experiments.runs import run_folder, run_one
from restore.training.images import ImageSet
from scancontrol.errors import InvalidInput

SCALE = Scale(width=1 / 32, size=64, steps=8)


def _point(experiment: str, seed: int, step: int, error: float, done_pct: float = 100.0) -> Point:
    return Point(experiment, seed, step, done_pct, error, error, error + 1, 0.1 * step, 1000, 64)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_every_experiment_is_a_configuration_and_only_what_it_names_differs(experiment) -> None:
    base = next(e for e in EXPERIMENTS if e.name == BASE)
    ordinary = configuration(base, SCALE, 3, ("a",))
    for stage in range(len(experiment.stages)):
        config = configuration(experiment, SCALE, 3, ("a",), stage)
        assert config.seed == 3
        assert config.crops == ordinary.crops
        if len(experiment.stages) == 1 and "draw" not in experiment.changes:
            assert config.draw == ordinary.draw
    assert sum(share for _, share in experiment.stages) <= 1


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if e.warm], ids=lambda e: e.name)
def test_what_branches_from_the_shared_steps_has_their_network_and_optimiser(experiment) -> None:
    shared, config = (configuration(e, SCALE, 0, ()) for e in (WARM, experiment))
    assert (config.network, config.optimiser, config.schedule) == (shared.network, shared.optimiser, shared.schedule)


def test_every_run_comes_after_those_that_it_needs() -> None:
    scale = Scale(steps=8, warm_steps=4)
    names = {WARM.name} | {experiment.name for experiment in EXPERIMENTS}
    for experiment in EXPERIMENTS:
        assert experiment.needs(scale) <= names - {experiment.name}
        assert WARM.name not in experiment.needs(Scale(steps=8))
    assert next(e for e in EXPERIMENTS if e.name == "adversarial").needs(scale) == {BASE}


def test_the_parts_of_two_stages_take_as_many_steps_as_one() -> None:
    two = next(e for e in EXPERIMENTS if e.name == "two_stages")
    steps = [configuration(two, SCALE, 0, (), stage).schedule.last_step for stage in range(3)]
    assert sum(step for step in steps if step is not None) == SCALE.steps


def test_every_claim_is_about_experiments_that_exist() -> None:
    names = {experiment.name for experiment in EXPERIMENTS}
    assert {claim.lower for claim in CLAIMS} | {claim.higher for claim in CLAIMS} <= names


@pytest.mark.parametrize(
    ("lower", "higher", "word"),
    [
        ((10.0, 20.0, 30.0), (12.0, 22.1, 31.9), "held"),
        ((12.0, 22.1, 31.9), (10.0, 20.0, 30.0), "not held"),
        ((10.0, 20.0, 30.0), (14.0, 17.0, 31.0), "not to be told"),
        ((10.0,), (12.0,), "not run"),
    ],
)
def test_a_claim_is_judged_by_the_differences_of_paired_seeds(lower, higher, word: str) -> None:
    points = [_point("a", seed, 5, error) for seed, error in enumerate(lower)]
    points += [_point("b", seed, 5, error) for seed, error in enumerate(higher)]
    found = verdict(points, Claim("b is worse", "a", "b"))
    assert found.word == word
    if word == "held":
        assert found.difference_pct == pytest.approx(2.0)
        assert found.half_width_pct == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)


def test_a_run_that_did_not_go_as_far_is_not_compared() -> None:
    points = [_point("a", 0, 5, 1.0, 50.0), _point("a", 0, 10, 0.5), _point("a", 1, 5, 2.0, 50.0)]
    assert final(points, "a") == {0: 0.5}


def test_the_table_is_gathered_from_all_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        append_point(tmp_path / "alrc" / f"seed-{seed}", _point("alrc", seed, 5, 3.0))
    assert points_of(tmp_path / "alrc" / "seed-0") == [_point("alrc", 0, 5, 3.0)]
    assert len(gather(tmp_path)) == 2
    assert (tmp_path / "results.csv").read_text().count("\n") == 3
    assert "`alrc` 3.00" in verdicts_table(gather(tmp_path))


def test_an_unknown_experiment_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--only", "magic"]) == 2
    assert "choose from alrc" in capsys.readouterr().err


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four small pictures in two groups."""
    folder = tmp_path / "images"
    drawn = specimens(4)
    for number, (image, group) in enumerate(zip(drawn.images, drawn.groups, strict=True)):
        (folder / group).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(folder / group / f"{number}.png")
    return folder


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
    append_point(run_folder(tmp_path, BASE, 0), dataclasses.replace(_point(BASE, 0, 8, 1.0), processor_s=3.0))
    assert run_one(ours, 0, SCALE, pictures, holdout, tmp_path, "cpu", lambda: False)
    points = points_of(run_folder(tmp_path, ours.name, 0))
    longest = max(b.processor_s - a.processor_s for a, b in pairwise([_point(BASE, 0, 0, 1.0), *points]))
    assert 3.0 <= points[-1].processor_s < 3.0 + longest
    assert points[-1].done_pct == 100


@pytest.mark.slow
@pytest.mark.timeout(400)  # four processes that import torch, on a busy machine
def test_runs_fail_alone_and_are_drawn_again_without_training(images: Path, tmp_path: Path) -> None:
    group = sorted(path.name for path in images.iterdir())[0]
    out = tmp_path / "out"
    options = ["--images", str(images), "--holdout", group, "--out", str(out), "--seeds", "1"]
    options += ["--steps", "4", "--size", "96", "--width", str(1 / 32)]
    assert main([*options, "--only", "alrc", "--minutes", "0.0"]) == 0
    assert not list(out.glob("*/seed-0/points.csv"))
    # Without the base's weights the adversarial stage cannot begin; the other one runs all the same.
    assert main([*options, "--only", "adversarial", "huber"]) == 1
    assert points_of(out / "huber" / "seed-0")[-1].step == 4
    assert not points_of(out / "adversarial" / "seed-0")
    assert main([*options, "--only", "alrc", "adversarial"]) == 0
    assert points_of(out / "adversarial" / "seed-0")
    before = (out / "results.csv").read_text()
    (out / "results.csv").unlink()
    assert main([*options, "--only", "none"]) == 0
    assert (out / "results.csv").read_text() == before
    assert (out / "poster-clipping.png").stat().st_size > 1000
