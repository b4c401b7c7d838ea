"""The table of faults: each does harm that the model of the readings takes away, and none costs a clean frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from restore.evaluation.faults import FAULTS, evaluate_faults, format_faults
from restore.evaluation.run import scan_path
from restore.evaluation.subjects import Subject
from restore.fills.restorer import FillRestorer

RANDOM = np.random.default_rng(4)
NAMED = {fault.name: fault for fault in FAULTS}


def _subject() -> Subject:
    image = gaussian_filter(RANDOM.standard_normal((128, 128)), 5)
    grain = 0.02 * RANDOM.standard_normal((128, 128))
    return Subject("rough", "SEM", (100 + 20 * (image / image.std() + grain)).astype(np.float32))


@pytest.mark.slow
def test_faults_do_less_harm_with_the_model_on_and_a_clean_frame_is_as_it_was() -> None:
    wanted = ("none", "1 % spikes", "30 % lost, as zeros", "afterglow, τ = 3", "readings 3 samples late")
    faults = [fault for fault in FAULTS if fault.name.startswith(wanted) and "not stated" not in fault.name]
    assert len(faults) == len(wanted)
    sets = {"rough": [_subject(), _subject()]}
    rows = list(
        evaluate_faults(sets, [FillRestorer("spectral_fast")], ["jittered_grid"], 0.1, torch.device("cpu"), faults)
    )
    clean, *spoiled = rows
    assert clean["fault"] == "none"
    assert clean["on_rmse_pct"] == pytest.approx(clean["off_rmse_pct"], rel=0.01)
    assert clean["on_noticed_pct"] == 0
    for row in spoiled:
        assert row["on_rmse_pct"] < 0.8 * row["off_rmse_pct"], row["fault"]
        if "lost" not in row["fault"]:  # which leaves gaps of whole lines, whoever knows of it
            assert row["on_rmse_pct"] < 1.4 * clean["on_rmse_pct"], row["fault"]
    assert {row["told"] for row in spoiled} == {"nothing 2", "outliers 2", "lost 2", "delay 2"}
    text = format_faults(rows)
    assert text.count("\n|") == 2 + len(rows)
    assert "| none |" in text


def test_a_baseline_is_taken_off_where_the_path_crosses_itself() -> None:
    faults = [fault for fault in FAULTS if fault.name == "none" or "baseline" in fault.name]
    sets = {"rough": [_subject()]}
    restorers = [FillRestorer("spectral_fast")]
    clean, spoiled = evaluate_faults(sets, restorers, ["crossed_grid"], 0.1, torch.device("cpu"), faults)
    assert clean["on_noticed_pct"] == 0
    assert clean["on_rmse_pct"] == clean["off_rmse_pct"]
    assert spoiled["off_rmse_pct"] > 3 * clean["on_rmse_pct"]
    assert spoiled["on_rmse_pct"] < 1.25 * clean["on_rmse_pct"]
    assert spoiled["on_noticed_pct"] == spoiled["on_honest_pct"] == 100


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_is_ever_the_same_and_changes_readings_unless_it_is_none(fault) -> None:
    path = scan_path("jittered_grid", 0.2, (128, 128))
    values = RANDOM.random(path.count)
    first, again = (fault.spoil(values.copy(), path, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, again, equal_nan=True)
    assert first.shape == values.shape
    assert np.array_equal(first, values) == (fault.name == "none")
