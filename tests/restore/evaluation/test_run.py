"""The runs of an evaluation: who restores, along which path, and how long it will take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from restore.engine import Engine
from restore.evaluation.run import Remaining, evaluate, restorers_named, scan_path
from restore.evaluation.subjects import Subject, read_specimens
from restore.fills.registry import FILLS
from restore.fills.restorer import FillRestorer
from scancontrol.errors import InvalidInput

CPU = torch.device("cpu")


def test_every_classical_peer_stands_in_every_row_unless_others_are_named() -> None:
    names = [restorer.name for restorer in restorers_named(None, [], CPU, 0.04, "single")]
    assert names[: len(FILLS)] == list(FILLS)
    assert "kriging" in names
    assert [restorer.name for restorer in restorers_named(["lite", "nearest"], [], CPU, 0.04, "single")] == [
        "lite",
        "nearest",
    ]


def test_an_unknown_method_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match="kriging"):
        restorers_named(["magic"], [], CPU, 0.04, "single")


def test_an_exact_restorer_scores_no_error_and_full_height(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = read_specimens(["square-12px"], (96, 96), 1, None)

    class Exact(Engine):
        def restore(self, samples, path_id, sound=None):
            found = super().restore(samples, path_id, sound)
            return replace(found, estimate=torch.from_numpy(sets["square-12px"][0].pixels))

    monkeypatch.setattr("restore.evaluation.run.Engine", Exact)
    ((row, pictures),) = evaluate(sets, [FillRestorer("nearest")], ["jittered_grid"], [0.1], CPU)
    assert row["rmse_pct"] == pytest.approx(0, abs=1e-4)
    assert row["height"] == pytest.approx(1)
    assert row["set"] == "square-12px"
    assert row["touched"] == pytest.approx(0.1, rel=0.05)
    assert not pictures["square"].any()


def test_readings_of_a_specimen_are_counted_electrons_and_ever_the_same() -> None:
    (subject,) = read_specimens(["film"], (96, 96), 1, 30.0)["film"]
    index = np.arange(0, 96 * 96, 7)
    first = subject.read(index)
    assert np.array_equal(first, subject.read(index))
    assert np.allclose(first * 30, np.rint(first * 30), atol=1e-3)
    plain = Subject("a", "SEM", subject.pixels)
    assert np.array_equal(plain.read(index), subject.pixels.ravel()[index])


def test_a_stated_noise_narrows_the_interval_to_the_specimens_and_changes_no_units() -> None:
    def row(stated: bool) -> dict[str, float]:
        sets = read_specimens(["film"], (96, 96), 1, 40.0, noise_is_stated=stated)
        ((row, _),) = evaluate(sets, [FillRestorer("spectral_fast")], ["jittered_grid"], [0.2], CPU)
        return row

    unstated, stated = row(False), row(True)
    assert stated["rmse_pct"] == pytest.approx(unstated["rmse_pct"], rel=1e-3)
    narrower = stated["interval_half_width_pct"] / unstated["interval_half_width_pct"]
    assert 0.05 < narrower < 0.9, "much of what was withheld is noise"


def test_draws_of_a_specimen_differ() -> None:
    found = read_specimens(["film", "square-9px#4"], (64, 64), 3, None)
    assert [subject.name for subject in found["film"]] == ["film", "film#1", "film#2"]
    assert len(found["square-9px#4"]) == 1


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(InvalidInput, match="choose from spiral"):
        scan_path("zigzag", 0.05, (64, 64))


def test_the_time_left_knows_what_each_method_takes() -> None:
    remaining = Remaining(["fast", "slow"], 2)
    assert remaining.rows == 4
    assert remaining.after("fast", 1.0) == pytest.approx(3.0)  # the slow one is not known yet
    assert remaining.after("fast", 1.0) == pytest.approx(2.0)
    assert remaining.after("slow", 10.0) == pytest.approx(10.0)
    assert remaining.after("slow", 10.0) == 0
