"""The evaluation says the same twice, in the words that its readers rely on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from restore.evaluate import main

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


def test_an_unreadable_image_ends_it_before_anything_is_computed_or_is_left_out_if_told_so(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (micrographs / "3.npy").write_bytes(b"nothing")
    (micrographs / "._1.npy").write_bytes(b"of a Mac")
    options = ("--coverages", "1/5", "--no-figures", "--patterns", "spiral")
    asked = ["--images", str(micrographs), "--out", str(tmp_path / "out"), "--methods", "nearest", *options]
    assert main(asked) == 2
    assert not list(tmp_path.glob("out/*"))
    said = capsys.readouterr().err
    assert "1 of 4" in said
    assert "--skip-unreadable" in said
    rows = _rows(micrographs, tmp_path / "out", *options, "--skip-unreadable")
    assert {row["images"] for row in rows} == {3}
    assert "left out" in capsys.readouterr().err


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


def test_specimens_are_judged_by_their_truth_and_the_table_says_so(tmp_path: Path) -> None:
    options = ["--specimens", "two_species-12px,particles,film", "--size", "128", "--methods", "nearest,harmonic"]
    options += ["--coverages", "1/10", "--patterns", "jittered_grid", "--no-figures", "--out", str(tmp_path / "out")]
    assert main(options) == 0
    rows = {(row["set"], row["method"]): row for row in json.loads((tmp_path / "out" / "rows.json").read_text())}
    assert len(rows) == 6
    crystal, particles = rows["two_species-12px", "harmonic"], rows["particles", "harmonic"]
    assert 0 < crystal["height"] < 1
    assert 0 <= crystal["defects_held"] <= 1
    assert crystal["electrons_per_sample"] == 60
    assert crystal["edge_width_px"] is None
    assert particles["edge_width_px"] > particles["edge_width_true_px"] > 1
    assert rows["film", "harmonic"]["height"] is None
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| specimen | nearest | harmonic |" in table
    assert "60 electrons a sample" in table


def test_the_dose_of_a_specimen_is_stated_and_more_of_it_helps(tmp_path: Path) -> None:
    found = []
    for electrons in ("3", "300", "none"):
        out = tmp_path / electrons
        options = ["--specimens", "film", "--size", "128", "--methods", "nearest", "--coverages", "1/5", "--no-figures"]
        assert main([*options, "--patterns", "spiral", "--electrons", electrons, "--out", str(out)]) == 0
        (row,) = json.loads((out / "rows.json").read_text())
        found.append(row)
    assert [row["electrons_per_sample"] for row in found] == [3, 300, None]
    assert found[0]["rmse_pct"] > found[1]["rmse_pct"] > found[2]["rmse_pct"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --specimens, --images"),
        (["--specimens", "quasicrystal"], "is not a known kind"),
        (["--specimens", "--electrons", "0"], "is not above 0"),
        (["--specimens", "--electrons", "some"], "is not a number"),
        (["--specimens", "--size", "8"], "is below 64"),
    ],
)
def test_specimens_that_cannot_be_drawn_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main([*options, "--methods", "nearest", "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one_process_in_its_order(
    micrographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = []
    for out, more in ((tmp_path / "alone", []), (tmp_path / "two", ["--workers", "2"])):
        options = [
            "--images",
            str(micrographs),
            "--specimens",
            "film",
            "--size",
            "64",
            "--methods",
            "push_pull,nearest",
        ]
        assert main([*options, "--coverages", "1/5", "--out", str(out), *more]) == 0
        rows = json.loads((out / "rows.json").read_text())
        found.append([{name: value for name, value in row.items() if "seconds" not in name} for row in rows])
        assert list((out / "figures").glob("*.png")) or list(out.glob("*.png"))
    assert len(found[0]) == 8
    assert found[0] == found[1]
