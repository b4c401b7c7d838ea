"""Learning curves reach the disk in groups, and forget what came after the checkpoint that is resumed."""

from __future__ import annotations

import csv
from pathlib import Path

from restore.training.curves import Curves


def row(step: int) -> dict[str, float]:
    return {
        "step": step,
        "minutes": step / 60,
        "rmse_pct": 10.0 / step,
        "interval_loss": 1.0,
        "samples_per_s": 5.0,
        "waiting_pct": 0.0,
    }


def steps_in(file: Path) -> list[int]:
    with file.open(newline="") as lines:
        return [int(float(line["step"])) for line in csv.DictReader(lines)]


def test_rows_are_written_in_twenties_and_the_rest_at_the_end(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    for step in range(1, 26):
        curves.add(row(step), 25, quiet=True)
    assert steps_in(tmp_path / "curve.csv") == list(range(1, 21))
    curves.end()
    assert steps_in(tmp_path / "curve.csv") == list(range(1, 26))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_validation_comes_after_the_steps_before_it(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    for step in range(1, 4):
        curves.add(row(step), 10, quiet=True)
    curves.add_validation({"step": 3, "minutes": 0.1, "held_out_pct": 4.0, "held_out_start": 6.0})
    assert steps_in(tmp_path / "curve.csv") == [1, 2, 3]
    assert steps_in(tmp_path / "validation.csv") == [3]
    curves.end()


def test_what_a_killed_run_wrote_after_its_checkpoint_is_forgotten(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    for step in range(1, 21):
        curves.add(row(step), 20, quiet=True)
    curves.end()
    Curves(tmp_path).forget_after(12)
    assert steps_in(tmp_path / "curve.csv") == list(range(1, 13))
