"""The evaluation says the same twice, in the words that its readers rely on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from restore.engine import Restoration
from restore.evaluate import main
from restore.evaluation.scoring import score_image, summarise
from scancontrol.restoration import Provenance

ASKED_FOR = {
    "method",
    "pattern",
    "coverage",
    "touched",
    "dose",
    "images",
    "rmse_pct",
    "rmse_lowpass_pct",
    "psnr_db",
    "ssim",
    "interval_coverage_pct",
    "seconds_per_frame",
}


@pytest.fixture
def micrographs(tmp_path: Path) -> Path:
    """Three small images of two modalities, named by a manifest beside their folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[:96, :96]
    lines = ["file,modality,group"]
    for number, period in enumerate((9.0, 14.0, 31.0)):
        image = np.sin(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period)
        np.save(folder / f"{number}.npy", image.astype(np.float32))
        lines.append(f"images/{number}.npy,{'SEM' if number else 'TEM'},{number}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def _rows(images: Path, out: Path, *more: str) -> list[dict[str, object]]:
    assert main(["--images", str(images), "--out", str(out), "--methods", "push_pull,nearest", *more]) == 0
    rows: list[dict[str, object]] = json.loads((out / "rows.json").read_text())
    return rows


def test_the_same_command_twice_gives_the_same_numbers(micrographs: Path, tmp_path: Path) -> None:
    options = ("--coverages", "1/5", "--no-figures")
    first, second = _rows(micrographs, tmp_path / "a", *options), _rows(micrographs, tmp_path / "b", *options)
    for row in (*first, *second):
        assert row.keys() >= ASKED_FOR
        assert row.pop("seconds_per_frame") > 0  # type: ignore[operator]
    assert first == second
    assert {(row["pattern"], row["method"]) for row in first} == {
        (pattern, method) for pattern in ("spiral", "jittered_grid") for method in ("push_pull", "nearest")
    }
    assert set(first[0]["by_modality"]) == {"TEM", "SEM"}  # type: ignore[call-overload]


def test_a_model_card_ends_with_the_last_evaluation(micrographs: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# tiny\n\n## Data\n\nsome\n")
    for limit in ("1", "2"):
        options = ("--coverages", "1/5", "--no-figures", "--limit", limit, "--card", str(card))
        _rows(micrographs, tmp_path / "out", *options)
    text = card.read_text()
    assert text.startswith("# tiny\n\n## Data\n\nsome\n")
    assert text.count("## Evaluation") == 1
    assert "On 2 images of images, 4 % of the samples withheld." in text
    assert text.endswith((tmp_path / "out" / "table.md").read_text())


@pytest.mark.slow
def test_a_report_has_a_table_and_pictures(micrographs: Path, tmp_path: Path) -> None:
    _rows(micrographs, tmp_path / "out", "--coverages", "1/5", "--limit", "2")
    assert "| push_pull |" in (tmp_path / "out" / "table.md").read_text()
    assert list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--coverages", "3"], "outside 0 to 1"),
        (["--coverages", "lots"], "is not a number"),
        (["--patterns", "zigzag"], "choose from spiral"),
        (["--methods", "magic"], "choose from"),
        (["--limit", "0"], "is below 1"),
        (["--images", "nowhere"], "holds no image"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    base = ["--images", str(micrographs), "--out", str(tmp_path / "out"), "--methods", "nearest", "--no-figures"]
    assert main([*base, *options]) == 2
    assert words in capsys.readouterr().err


def _restoration(estimate: np.ndarray, interval: float, withheld: float | None) -> Restoration:
    frame = torch.from_numpy(estimate)
    made_by = Provenance(method="any", face="classical", withheld_rmse=withheld, expected_rmse=withheld)
    return Restoration(frame, torch.full_like(frame, interval), made_by)


def test_a_perfect_restoration_has_no_error_and_a_narrow_interval_holds_it() -> None:
    truth = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    score = score_image("a", "SEM", truth, np.zeros((48, 48)), _restoration(truth, 1e-6, 0.0), 0.1)
    assert score.rmse == pytest.approx(0, abs=1e-6)
    assert score.interval_coverage == 1
    assert score.rmse_lowpass > 0.01, "noise is an error against the low-passed truth"


def test_correlations_need_three_frames_that_differ() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((48, 48)).astype(np.float32)
    scores = [
        score_image(str(n), "SEM", truth, np.zeros((48, 48)), _restoration(truth + 0.1 * n, 0.1 * n, 0.1 * n), 0.1)
        for n in range(1, 4)
    ]
    assert summarise(scores)["withheld_correlation"] == pytest.approx(1)
    assert summarise(scores)["expected_correlation"] == pytest.approx(1)
    assert summarise(scores[:2])["withheld_correlation"] is None
