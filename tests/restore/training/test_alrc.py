"""Adaptive learning rate clipping does what Algorithm 1 says, line by line."""

from __future__ import annotations

import pytest
import torch

from restore.training.alrc import ALRC, huberise

LOSSES = [20.0, 30.0, 500.0, 28.0, 1000.0, 26.0, 90.0, 24.0] * 3


def _algorithm_1(losses: list[float], clipped_moments: bool) -> tuple[list[float], float, float]:
    mu1, mu2, beta, n = 25.0, 30.0**2, 0.9, 3.0
    dynamic = []
    for loss in losses:
        limit = mu1 + n * (mu2 - mu1**2) ** 0.5
        dynamic.append(min(loss, limit))
        seen = dynamic[-1] if clipped_moments else loss
        mu1, mu2 = beta * mu1 + (1 - beta) * seen, beta * mu2 + (1 - beta) * seen**2
    return dynamic, mu1, mu2


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_the_dynamic_loss_and_the_moments_follow_the_algorithm(variant: str) -> None:
    clip = ALRC(decay=(0.9, 0.9), variant=variant)
    found = [float(clip(torch.tensor(loss))) for loss in LOSSES]
    expected, mu1, mu2 = _algorithm_1(LOSSES, variant == "code")
    assert found == pytest.approx(expected, rel=1e-5)
    assert float(clip.mean) == pytest.approx(mu1)
    assert float(clip.mean_square) == pytest.approx(mu2)


def test_paper_and_code_differ_from_the_loss_after_an_outlier_on() -> None:
    paper, code = (_algorithm_1(LOSSES, clipped)[0] for clipped in (False, True))
    first = next(i for i, (a, b) in enumerate(zip(paper, code, strict=True)) if a != b)
    assert LOSSES[2] > paper[2], "the first outlier is clipped alike by both"
    assert first == 4
    assert code[4] < paper[4], "the code's moments forget the outlier, so the next one is clipped harder"
    limits = [ALRC(decay=(0.9, 0.9), variant=variant) for variant in ("paper", "code")]
    for clip in limits:
        for loss in LOSSES[:3]:
            clip(torch.tensor(loss))
    assert limits[1].limit < limits[0].limit


def test_the_initial_limit_is_the_posters() -> None:
    assert float(ALRC().limit) == pytest.approx(25 + 3 * (900 - 625) ** 0.5)


def test_an_outliers_gradient_is_scaled_by_limit_over_loss_and_others_are_untouched() -> None:
    for value in (10.0, 400.0):
        clip = ALRC()
        limit = float(clip.limit)
        x = torch.tensor(value, requires_grad=True)
        clip(3 * x).backward()
        assert float(x.grad) == pytest.approx(3 * min(1.0, limit / (3 * value)), rel=1e-5)


def test_evaluation_moves_no_moment_and_a_nan_loss_poisons_none() -> None:
    clip = ALRC()
    clip(torch.tensor(float("nan")))
    assert float(clip.mean) == 25
    clip.eval()(torch.tensor(100.0))
    assert float(clip.mean) == 25


def test_processes_of_a_distributed_run_decide_by_the_shared_loss() -> None:
    clip = ALRC()
    limit = float(clip.limit)
    assert float(clip(torch.tensor(10.0), torch.tensor(2 * limit))) == pytest.approx(5.0)


def test_huberisation_is_the_square_root_above_one() -> None:
    x = torch.tensor([0.0, 0.25, 1.0, 4.0, 100.0])
    assert huberise(x).tolist() == [0.0, 0.25, 1.0, 2.0, 10.0]
