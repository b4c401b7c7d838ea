"""The table of all runs."""

from __future__ import annotations

from pathlib import Path

from experiment_tools import made_up_point

from restore.experiments.results import append_point, experiments_table, final, forget_after, gather, points_of


def test_a_run_that_did_not_go_as_far_is_not_compared() -> None:
    points = [made_up_point("a", 0, 5, 1.0, 50.0), made_up_point("a", 0, 10, 0.5), made_up_point("a", 1, 5, 2.0, 50.0)]
    assert [(point.seed, point.lowpass_pct) for point in final(points, "a")] == [(0, 0.5)]


def test_what_was_measured_after_the_step_that_is_gone_on_from_is_forgotten(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        append_point(tmp_path, made_up_point("a", 0, step, 1.0))
    forget_after(tmp_path, 10)
    assert [point.step for point in points_of(tmp_path)] == [5, 10]


def test_the_table_is_gathered_from_all_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        append_point(tmp_path / "alrc" / f"seed-{seed}", made_up_point("alrc", seed, 5, 3.0))
    assert points_of(tmp_path / "alrc" / "seed-0") == [made_up_point("alrc", 0, 5, 3.0)]
    assert len(gather(tmp_path)) == 2
    assert (tmp_path / "results.csv").read_text().count("\n") == 3
    assert "| `alrc` | 2 | 5 | 3.00 (3.00 to 3.00) | 3.00 | 4.00 |" in experiments_table(gather(tmp_path), tmp_path)
