"""The command that runs the poster's experiments."""

from __future__ import annotations

from pathlib import Path

import pytest
from experiment_tools import few_pictures

from restore.experiments.__main__ import main
from restore.experiments.results import points_of


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return few_pictures(tmp_path / "images")


def test_an_unknown_experiment_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--only", "magic"]) == 2
    assert "choose from alrc" in capsys.readouterr().err


def test_experiments_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    needs = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert (needs["huber"], needs["adversarial"]) == ([], ["alrc"])
    assert main(["--list", "--steps", "8", "--warm-steps", "4"]) == 0
    assert "huber warm\n" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(400)  # four processes that import torch, on a busy machine
def test_runs_fail_alone_and_are_drawn_again_without_training(images: Path, tmp_path: Path) -> None:
    group = sorted(path.name for path in images.iterdir())[0]
    out = tmp_path / "out"
    options = ["--images", str(images), "--holdout", group, "--out", str(out), "--seeds", "1"]
    options += ["--steps", "4", "--size", "96", "--width", str(1 / 32), "--look-crops", "1", "--crops", "2"]
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
    assert {path.name for path in out.glob("poster-*.png")} >= {
        f"poster-{name}.png" for name in ("clipping", "adversarial", "pictures", "spectra", "errors", "spikes")
    }
