"""The discriminators judge crops of three scales, spectrally normalised."""

from __future__ import annotations

import pytest
import torch

from restore.training.discriminators import (
    Adversary,
    Discriminator,
    adversarial_loss,
    discriminator_loss,
    multiscale_crops,
)
from scancontrol.errors import InvalidInput


def test_each_discriminator_has_its_authors_sizes_and_parameters() -> None:
    network = Discriminator()
    assert sum(p.numel() for p in network.parameters()) == 2_754_496  # 2.754 M
    sizes: list[tuple[int, int]] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda _m, _i, out: sizes.append((out.shape[1], out.shape[-1])))
    score = network(torch.zeros(3, 1, 70, 70))
    assert sizes == [(64, 34), (128, 16), (256, 7), (512, 2)]
    assert score.shape == (3,)


def test_power_iterations_bring_the_largest_singular_value_to_one() -> None:
    layer = Discriminator().layers[1].train()
    for _ in range(60):
        layer.normalised()
    top = torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), 2)
    assert float(top) == pytest.approx(1.0, abs=0.02)


def test_evaluating_a_discriminator_does_not_change_it() -> None:
    network = Discriminator().eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network(torch.randn(1, 1, 70, 70))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_crops_are_of_three_scales_at_one_place_for_all_images() -> None:
    ramp = torch.arange(300.0).expand(1, 1, 300, 300)
    crops = multiscale_crops(torch.cat([ramp, ramp + 1000]), torch.Generator().manual_seed(2))
    assert [tuple(c.shape) for c in crops] == [(2, 1, 70, 70)] * 3
    for crop in crops:
        torch.testing.assert_close(crop[0] + 1000, crop[1])
    steps = [float((c[0, 0, 0, 1:] - c[0, 0, 0, :-1]).abs().median()) for c in crops]
    assert steps == pytest.approx([1, 2, 4], rel=0.01)


def test_images_too_small_for_the_largest_crop_are_refused() -> None:
    with pytest.raises(InvalidInput, match="is larger than the padded"):
        multiscale_crops(torch.zeros(1, 1, 64, 64), torch.Generator())


def test_conditional_discriminators_see_the_path_and_others_do_not() -> None:
    real, restored = torch.rand(2, 1, 2, 160, 160).unbind(0)
    real, restored = real.transpose(0, 1), restored.transpose(0, 1)
    for conditional in (False, True):
        adversary = Adversary(conditional).eval()
        scores = [
            adversary(real, restored, condition, torch.Generator().manual_seed(1))[0].real
            for condition in (torch.zeros(2, 2, 160, 160), torch.ones(2, 2, 160, 160))
        ]
        assert torch.equal(*scores) is not conditional


def test_r1_is_the_squared_gradient_at_real_crops() -> None:
    adversary = Adversary().eval()
    real = torch.rand(1, 1, 160, 160)
    with_penalty = adversary(real, real, real, torch.Generator().manual_seed(1), penalise=True)[0]
    crop = multiscale_crops(real, torch.Generator().manual_seed(1))[0]
    seen = crop.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(adversary.scales[0](seen).sum(), seen)
    torch.testing.assert_close(with_penalty.penalty, gradient.square().sum())
    # Against the definition, by finite differences along the gradient: f(x + εg) − f(x − εg) ≈ 2ε‖g‖².
    with torch.no_grad():
        step = 1e-3 * gradient / gradient.norm()
        slope = (adversary.scales[0](crop + step) - adversary.scales[0](crop - step)) / 2e-3
    assert float(slope) ** 2 == pytest.approx(float(with_penalty.penalty.detach()), rel=0.1)


def test_every_adversarial_loss_falls_as_its_side_wins() -> None:
    low, high = torch.tensor([-0.5, -1.0]), torch.tensor([1.0, 0.8])
    for kind in ("least_squares", "hinge", "relativistic"):
        assert discriminator_loss(high, low, kind) < discriminator_loss(low, high, kind)
        assert adversarial_loss(high, high, kind) < adversarial_loss(high, low, kind)


def test_least_squares_is_the_authors() -> None:
    real, restored = torch.tensor([0.5, 1.5]), torch.tensor([0.0, 2.0])
    assert float(discriminator_loss(real, restored, "least_squares")) == pytest.approx(0.25 + 2.0)
    assert float(adversarial_loss(real, restored, "least_squares")) == pytest.approx(1.0)
