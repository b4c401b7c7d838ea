"""Where the author's recipe differs from ours, the preset follows him."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from restore.generator.ede2020 import Ede2020, EdeConfig
from restore.generator.generator import Estimate
from restore.generator.low_pass import low_pass
from restore.gridding import Normalisation
from restore.training.config import ScheduleConfig, load_config
from restore.training.discriminators import multiscale_crops
from restore.training.drawing import DrawConfig, collate, draw_item
from restore.training.losses import GeneratorLoss, LossConfig, RunningError

CONFIG = Path(__file__).parents[3] / "config"
STAGES = ("train-ede2020.yaml", "train-ede2020-adversarial.yaml")
CPU = torch.device("cpu")
UNIT = Normalisation(torch.zeros(1), torch.ones(1))
PLAIN = LossConfig(base="mse", trainer_weight=2.0, interval_weight=0, clip="off", half_truth="strided")


def _images(side: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 1, side, side, generator=generator)
    return frame, (torch.rand(1, 1, side, side, generator=generator) < 0.3).float(), torch.zeros_like(frame)


def test_the_inner_network_sees_every_second_pixel() -> None:
    network = Ede2020(EdeConfig(width=1 / 16)).eval()
    seen: list[Tensor] = []
    network.inner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mean, weight, distance = _images()
    network(mean * weight, weight, distance)
    assert torch.equal(seen[0][:, 1], weight[:, 0, ::2, ::2])


def test_the_half_size_truth_is_every_second_pixel() -> None:
    truth, _, _ = _images()
    estimate = Estimate(truth, torch.zeros_like(truth), truth[..., ::2, ::2])
    assert float(GeneratorLoss(PLAIN)(estimate, truth, UNIT).total) == 0
    averaged = msgspec.structs.replace(PLAIN, half_truth="mean")
    assert float(GeneratorLoss(averaged)(estimate, truth, UNIT).total) > 1


def test_the_noise_of_a_crop_survives_its_resizing() -> None:
    noise = torch.rand(1, 1, 512, 512, generator=torch.Generator().manual_seed(1))
    for crop in multiscale_crops(noise, torch.Generator().manual_seed(2)):
        assert crop.shape[-2:] == (70, 70)
        assert float(crop.std()) == pytest.approx(12**-0.5, rel=0.05)


def test_the_inner_network_has_the_half_size_loss_once_and_the_trainer_twice() -> None:
    torch.manual_seed(0)
    network = Ede2020(EdeConfig(width=1 / 16)).train()
    mean, weight, distance = _images()
    truth = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    estimate = network(mean * weight, weight, distance)
    GeneratorLoss(PLAIN, outer_weight=0.0)(estimate, truth, UNIT).total.backward()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    touched = weight > 0
    span = mean[touched].max() - mean[touched].min()
    planes = torch.cat([torch.where(touched, (mean - mean[touched].min()) / span, 0.0), weight], 1)
    half = (network.trainer(network.inner(planes[..., ::2, ::2])) * 0.5 + 0.5) * span + mean[touched].min()
    (800 * (half - truth[..., ::2, ::2]).square().mean()).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            times = 2.0 if name.startswith("trainer.") else 1.0
            assert torch.allclose(found[name], times * parameter.grad, rtol=1e-3, atol=1e-5), name


def test_in_the_second_stage_the_trainers_output_is_compared_as_it_is() -> None:
    truth, _, _ = _images()
    second = msgspec.structs.replace(PLAIN, lowpass_target=True, lowpass_output=True)
    blurred = Estimate(truth, torch.zeros_like(truth), low_pass(truth[..., ::2, ::2]))
    assert float(GeneratorLoss(second)(blurred, truth, UNIT).total) == pytest.approx(0, abs=1e-9)
    sharp = blurred._replace(half=truth[..., ::2, ::2])
    assert float(GeneratorLoss(second)(sharp, truth, UNIT).total) > 1


def test_the_first_stage_ends_where_the_second_begins_and_their_rates_are_one_policy() -> None:
    first, second = (load_config(CONFIG / name).schedule for name in STAGES)
    assert not first.is_over(499_999, 0)
    assert first.is_over(500_000, 0)
    assert second.is_over(500_000, 0)
    assert not second.is_over(499_999, 0)
    assert [first.factor(step) for step in (0, 249_999, 499_999)] == [3.0, 3.0, pytest.approx(3 / 8)]
    assert [second.factor(step) for step in (0, 249_999, 499_999)] == [1.0, 1.0, pytest.approx(1 / 8)]


def test_a_schedule_that_is_no_part_of_its_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no part of"):
        ScheduleConfig(steps=10, first_step=5, last_step=20)


@pytest.mark.parametrize("name", STAGES)
def test_both_stages_have_one_fixed_path(name: str) -> None:
    config = load_config(CONFIG / name).draw
    image = torch.randint(0, 255, (600, 600), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first, second = (
        collate([draw_item(image, 512, config, np.random.default_rng(seed), CPU)]).weight for seed in (1, 2)
    )
    assert torch.equal(first, second)
    assert float((first > 0).float().mean()) == pytest.approx(1 / 5.7, rel=0.02)  # what the poster's "1/20" touches
    assert float(first.mean()) == pytest.approx(1 / 22.07, rel=0.01)
    assert float(first.max()) == 0.625  # his count, too


@pytest.mark.parametrize("kind", ["jittered", "archimedean", "ede_grid"])
def test_a_fixed_path_is_ever_the_same_and_a_drawn_one_is_not(kind: str) -> None:
    image = torch.randint(0, 255, (64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def weights(path: Literal["fixed", "drawn"]) -> list[Tensor]:
        draw = DrawConfig(patterns={kind: 1.0}, coverage=(0.1, 0.1), path=path)
        return [collate([draw_item(image, 64, draw, np.random.default_rng(s), CPU)]).weight for s in (1, 2)]

    assert torch.equal(*weights("fixed"))
    if kind != "ede_grid":
        assert not torch.equal(*weights("drawn"))


@pytest.mark.parametrize("path", ["fixed", "drawn"])
def test_running_errors_weigh_the_path_down_only_if_it_is_fixed(path: Literal["fixed", "drawn"]) -> None:
    draw = DrawConfig(patterns={"walk": 1.0}, coverage=(0.1, 0.1), path=path, lag_share=0, poisson_share=0)
    image = torch.randint(0, 255, (64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    running = RunningError([64]).train()
    batches = [collate([draw_item(image, 64, draw, np.random.default_rng(seed), CPU)]) for seed in range(20)]
    for turn in range(2000):
        batch = batches[turn % len(batches)]
        weight = running(torch.where(batch.weight > 0, 0.0, 0.5))
    on = collate([draw_item(image, 64, draw, np.random.default_rng(99), CPU)]).weight > 0
    ratio = float(weight[on].mean() / weight[~on].mean())
    assert (ratio < 0.85) == (path == "fixed"), ratio


@pytest.mark.slow
def test_a_narrower_network_has_the_authors_layers() -> None:
    full, small = Ede2020(EdeConfig()), Ede2020(EdeConfig(width=1 / 8))
    assert [n for n, _ in full.named_parameters()] == [n for n, _ in small.named_parameters()]
    assert sum(p.numel() for p in small.parameters()) == pytest.approx(1.66e6, rel=0.01)
