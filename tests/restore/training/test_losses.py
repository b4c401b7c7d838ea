"""The losses are what their names say, in the author's units where they are his."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from restore.generator.generator import Estimate
from restore.generator.low_pass import low_pass
from restore.gridding import Normalisation
from restore.training.losses import (
    GeneratorLoss,
    LossConfig,
    RunningError,
    half_size,
    interval_loss,
    reconstruction_error,
)
from scancontrol.errors import InvalidInput

UNIT = Normalisation(torch.zeros(1), torch.ones(1))


def _estimate(frame: torch.Tensor, log_scale: float = 0.0) -> Estimate:
    return Estimate(frame, torch.full_like(frame, log_scale), half_size(frame))


def test_the_low_pass_is_a_5x5_gaussian_of_sigma_2_5_with_reflected_edges() -> None:
    image = np.random.default_rng(0).random((40, 31))
    # Truncated at two pixels: scipy's radius is truncate·sigma rounded.
    expected = ndimage.gaussian_filter(image, 2.5, mode="mirror", truncate=0.8)
    found = low_pass(torch.from_numpy(image)[None, None])[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_mse_is_200_times_that_on_minus_one_to_one() -> None:
    error = torch.full((2, 1, 8, 8), 0.05)  # 0.1 on [-1, 1]
    assert reconstruction_error(error, "mse").tolist() == pytest.approx([200 * 0.01] * 2)
    assert reconstruction_error(error, "rms").tolist() == pytest.approx([5.0] * 2, rel=1e-4)
    assert reconstruction_error(error, "l1").tolist() == pytest.approx([200**0.5 * 0.1] * 2)
    assert reconstruction_error(error, "charbonnier").tolist() == pytest.approx([5.0] * 2, rel=1e-2)


def test_low_passed_output_leaves_high_frequencies_free() -> None:
    truth = torch.full((1, 1, 32, 32), 0.5)
    stripes = truth + 0.1 * (-1.0) ** torch.arange(32)
    free = GeneratorLoss(LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0, lowpass_output=True))
    bound = GeneratorLoss(LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0))
    assert float(free(_estimate(stripes), truth, UNIT).total) < 0.25 * float(
        bound(_estimate(stripes), truth, UNIT).total
    )


def test_errors_are_taken_in_the_micrographs_units_whatever_the_normalisation() -> None:
    truth = torch.rand(1, 1, 32, 32)
    shown = truth + 0.07
    other = Normalisation(torch.tensor([0.3]), torch.tensor([0.2]))
    plain = GeneratorLoss(LossConfig(interval_weight=0))(_estimate(shown), truth, UNIT)
    scaled = GeneratorLoss(LossConfig(interval_weight=0))(_estimate(other.apply(shown)), truth, other)
    torch.testing.assert_close(plain.total, scaled.total, rtol=1e-4, atol=1e-4)
    assert float(plain.rmse_pct) == pytest.approx(7.0, rel=1e-3)


@pytest.mark.parametrize("kind", ["laplace", "pinball"])
def test_the_interval_loss_is_least_where_the_scale_is_right(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    uniform = torch.rand(1, 1, 64, 64, generator=draw) - 0.5
    error = -0.3 * uniform.sign() * torch.log1p(-2 * uniform.abs())  # Laplace with scale 0.3
    losses = {
        scale: float(interval_loss(_estimate(torch.zeros(1, 1, 64, 64), np.log(scale)), error, UNIT, kind))
        for scale in (0.15, 0.3, 0.6)
    }
    assert min(losses, key=losses.__getitem__) == 0.3


def test_the_interval_loss_moves_the_scale_and_never_the_frame() -> None:
    frame = torch.zeros(1, 1, 8, 8, requires_grad=True)
    log_scale = torch.zeros(1, 1, 8, 8, requires_grad=True)
    interval_loss(Estimate(frame, log_scale, None), torch.rand(1, 1, 8, 8), UNIT, "laplace").backward()
    assert frame.grad is None
    assert log_scale.grad is not None


def test_clipping_tames_an_outlier_and_huberisation_takes_its_root() -> None:
    truth, bad = torch.zeros(1, 1, 32, 32), torch.full((1, 1, 32, 32), 10.0)
    plain = LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0, clip="off")
    assert float(GeneratorLoss(plain)(_estimate(bad), truth, UNIT).total) == pytest.approx(1000, rel=1e-3)
    clipped = LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0)
    limit = 25 + 3 * (900 - 625) ** 0.5
    assert float(GeneratorLoss(clipped)(_estimate(bad), truth, UNIT).total) == pytest.approx(limit, rel=1e-3)
    both = LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0, huberise=True)
    assert float(GeneratorLoss(both)(_estimate(bad), truth, UNIT).total) == pytest.approx(limit**0.5, rel=1e-3)


def test_running_errors_weigh_bad_places_more_with_mean_one() -> None:
    running = RunningError([32])
    error = torch.zeros(1, 1, 32, 32)
    error[..., 16:] = 1.0
    for _ in range(3000):
        weight = running(error)
    assert float(weight.mean()) == pytest.approx(1.0, abs=1e-5)
    assert float(weight[..., 24:].mean()) > 2 * float(weight[..., :8].mean())
    frozen = running.map_32.clone()
    running.eval()(error)
    assert torch.equal(running.map_32, frozen)


def test_each_image_counts_by_itself() -> None:
    truth = torch.zeros(2, 1, 32, 32)
    frame = torch.stack([torch.full((1, 32, 32), 0.02), torch.full((1, 32, 32), 0.10)])
    two = Normalisation(torch.zeros(2), torch.ones(2))
    terms = GeneratorLoss(LossConfig(raw_weight=0, trainer_weight=0, interval_weight=0))(_estimate(frame), truth, two)
    assert terms.per_image.tolist() == pytest.approx([2.0, 10.0], rel=1e-2)
    assert float(terms.total) == pytest.approx(6.0, rel=1e-2)


def test_settings_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(InvalidInput, match="is below 0"):
        LossConfig(raw_weight=-1)
    with pytest.raises(InvalidInput, match="has no place"):
        LossConfig(r1_weight=1.0)
