"""Claims are judged by the differences of paired seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiment_tools import made_up_look, made_up_point

from restore.experiments.claims import measured, verdict, verdicts_table
from restore.experiments.looks import write_look
from restore.experiments.plans import BASE, Claim
from restore.experiments.runs import run_folder


@pytest.mark.parametrize(
    ("lower", "higher", "word"),
    [
        ((10.0, 20.0, 30.0), (12.0, 22.1, 31.9), "held"),
        ((12.0, 22.1, 31.9), (10.0, 20.0, 30.0), "not held"),
        ((10.0, 20.0, 30.0), (14.0, 17.0, 31.0), "cannot be told"),
        ((10.0,), (12.0,), "not run"),
    ],
)
def test_a_claim_is_judged_by_the_differences_of_paired_seeds(lower, higher, word: str) -> None:
    found = verdict(Claim("b is worse", "a", "b"), dict(enumerate(lower)), dict(enumerate(higher)))
    assert found.word == word
    if word == "held":
        assert found.difference == pytest.approx(2.0)
        assert found.half_width == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("higher", "word"),
    [((10.05, 20.1, 29.9), "held"), ((12.0, 22.1, 31.9), "not held"), ((10.0, 24.0, 28.0), "cannot be told")],
)
def test_a_claim_of_little_effect_needs_an_interval_within_its_margin(higher, word: str) -> None:
    claim = Claim("little", "a", "b", little_pct=5)
    assert verdict(claim, {0: 10.0, 1: 20.0, 2: 30.0}, dict(enumerate(higher))).word == word


def test_seeds_that_only_one_of_the_two_has_are_not_compared() -> None:
    found = verdict(Claim("b is worse", "a", "b"), {0: 1.0, 1: 2.0, 7: 0.0}, {0: 2.0, 1: 3.0, 9: 99.0})
    assert (found.seeds, found.difference) == (2, 1.0)


def test_measures_are_read_from_what_the_runs_kept(tmp_path: Path) -> None:
    points = [made_up_point(BASE, 0, 5, 3.0), made_up_point("adversarial", 0, 5, 4.0)]
    assert measured(tmp_path, points, "error", BASE) == {0: 3.0}
    assert measured(tmp_path, points, "growth", BASE) == {}
    write_look(run_folder(tmp_path, BASE, 0), made_up_look(growth=3.0))
    assert measured(tmp_path, points, "growth", BASE)[0] == pytest.approx(3.0)
    curve = run_folder(tmp_path, BASE, 0) / "stage-0" / "curve.csv"
    curve.parent.mkdir(exist_ok=True)
    errors = np.full(200, 5.0) + np.arange(200) % 2
    errors[150] = 40
    curve.write_text("step,rmse_pct,clipped\n" + "".join(f"{n},{e},0\n" for n, e in enumerate(errors)))
    assert measured(tmp_path, points, "spikes", BASE) == {0: 5.0}


def test_the_table_has_every_claim_and_says_what_was_not_run(tmp_path: Path) -> None:
    points = [made_up_point(name, seed, 5, error) for name, error in (("alrc", 3.0), ("huber", 3.5)) for seed in (0, 1)]
    table = verdicts_table(tmp_path, points)
    assert "`alrc` 3.00 | `huber` 3.50 | +0.50 ± 0.00 (2 seeds) | held |" in table
    assert "`extra_residuals` – | – (0 seeds) | not run |" in table
