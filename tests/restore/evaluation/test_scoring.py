"""From a restoration and its truth to the figures of a row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.evaluation.scoring import score_image, summarise
from restore.restorer import Restoration
from scancontrol.restoration import Provenance


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
