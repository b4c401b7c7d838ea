"""The networks have the sizes that they claim, and restore any frame."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from restore.estimate.process import STATISTICS, spectral_start
from restore.generator.ede2020 import Ede2020, EdeConfig, NormalisedConv, same_padding
from restore.generator.generator import Generator, consistent
from restore.generator.networks import build_network, network_config
from restore.generator.planes import FULL_CHANNELS, HALF_CHANNELS, network_planes
from restore.generator.presets import PRESETS, GeneratorConfig
from restore.generator.subnetworks import CONDITIONS, conditions_of
from restore.generator.texture import noise_bands
from scancontrol.errors import InvalidInput

SMALL = GeneratorConfig(widths=(8, 8), inner_blocks=(1, 1), outer_blocks=1, spectral_iterations=(2, 2))


def _partial(shape: tuple[int, int], share: float = 0.1, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    weight = (torch.rand(batch, 1, *shape, generator=draw) < share).float()
    mean = torch.randn(batch, 1, *shape, generator=draw) * weight
    return mean, weight, (1 - weight) * 2


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _on_paper(config: EdeConfig | None = None) -> Ede2020:
    """Shapes without the 106 M numbers."""
    with torch.device("meta"):
        return Ede2020(config)


def test_ede2020_has_the_parameters_that_its_author_counts() -> None:
    network = _on_paper()
    assert _parameters(network.inner) == 105_762_112  # 105.76 M
    assert _parameters(network.outer) == 381_218  # 0.381 M
    assert _parameters(network.trainer) == 37_570  # 0.0376 M


def test_ede2020_has_its_authors_layers() -> None:
    network = _on_paper()
    shapes = [tuple(layer.direction.shape) for layer in network.inner.encode]
    assert shapes == [(64, 2, 5, 5), (128, 64, 3, 3), (256, 128, 3, 3), (512, 256, 3, 3), (768, 512, 3, 3)]
    assert [layer.stride for layer in network.inner.encode] == [1, 2, 2, 2, 2]
    assert len(network.inner.middle) == 6
    assert all(tuple(x.direction.shape) == (768, 768, 3, 3) for block in network.inner.middle for x in block.layers)
    assert [tuple(x.direction.shape) for x in network.inner.decode] == [
        (768, 512, 3, 3),
        (512, 256, 3, 3),
        (256, 128, 3, 3),
        (128, 64, 3, 3),
    ]
    assert all(x.transposed and x.mean_only for x in network.inner.decode)
    assert network.inner.encode[0].gain is None, "with the path concatenated the first convolution is plain"
    assert network.inner.encode[0].slope == network.outer.first.slope == network.outer.second.slope == 0.1
    assert network.outer.last[1].slope is None
    without = _on_paper(EdeConfig(path_information=False))
    assert without.inner.encode[0].gain is not None
    assert without.inner.encode[0].mean_only
    assert without.outer.first.mean_only


def test_ede2020_keeps_its_authors_sizes_on_the_way() -> None:
    network = _on_paper()
    sizes: list[int] = []
    for layer in (*network.inner.encode, *network.inner.decode):
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
    features = network.inner(torch.zeros(1, 2, 256, 256, device="meta"))
    assert sizes == [256, 128, 64, 32, 16, 32, 64, 128, 256]
    assert features.shape == (1, 64, 256, 256)


def test_weight_normalised_kernels_have_the_length_of_their_gain() -> None:
    layer = NormalisedConv(4, 6)
    layer.gain.data = torch.linspace(0.5, 3, 6)
    torch.testing.assert_close(layer.weight.flatten(1).norm(dim=1), layer.gain.data)
    back = NormalisedConv(4, 6, stride=2, transposed=True)
    torch.testing.assert_close(back.weight.transpose(0, 1).flatten(1).norm(dim=1), torch.ones(6))


def test_mean_only_normalisation_leaves_the_bias_as_the_mean_and_the_spread_alone() -> None:
    layer = NormalisedConv(3, 5, mean_only=True, slope=None)
    layer.bias.data = torch.arange(5.0)
    plain = NormalisedConv(3, 5, slope=None)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 16, 16) * 4 + 1
    torch.testing.assert_close(layer(x).mean((0, 2, 3)), torch.arange(5.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(x).std((0, 2, 3)), plain(x).std((0, 2, 3)))


def test_transposed_convolution_is_the_adjoint_of_the_same_padded_one() -> None:
    """⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ with TensorFlow's SAME padding, stride 2."""
    up = NormalisedConv(3, 2, stride=2, transposed=True, slope=None)
    x, y = torch.randn(1, 2, 12, 10), torch.randn(1, 3, 6, 5)
    (top, bottom), (left, right) = same_padding(12, 3, 2), same_padding(10, 3, 2)
    forward = F.conv2d(F.pad(x, (left, right, top, bottom)), up.weight, stride=2)
    torch.testing.assert_close((forward * y).sum(), (x * up(y)).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_ede2020_restores_through_the_same_call_as_ours() -> None:
    mean, weight, distance = _partial((64, 64))
    for config in (EdeConfig(), EdeConfig(path_information=False, infill=True, extra_residuals=True)):
        with torch.device("meta"):
            network = Ede2020(config).train()
        network = network.to_empty(device="cpu")
        for parameter in network.parameters():
            parameter.data.fill_(0.01)  # 106 M random numbers would take longer than the test
        found = network(mean, weight, distance)
        assert found.frame.shape == (1, 1, 64, 64)
        assert found.half is not None
        assert found.half.shape == (1, 1, 32, 32)


@pytest.mark.parametrize(("name", "limit", "stated"), [("lite", 6.1e9, 5.95e9), ("live", 60e9, 21.2e9)])
def test_our_presets_stay_within_their_operations(name: str, limit: float, stated: float) -> None:
    with torch.device("meta"):
        network = Generator(PRESETS[name]).eval()
    # The start's FFTs are not counted by the tool; its time is a benchmark's. Count the networks on their planes.
    half, full = (torch.empty(1, channels, 128, 128, device="meta") for channels in (HALF_CHANNELS, FULL_CHANNELS))
    with FlopCounterMode(display=False) as counter:
        for networks in (network, network.first):
            if networks is not None:
                networks.outer(full, networks.inner(half, torch.empty(1, CONDITIONS, device="meta")))
    assert counter.get_total_flops() <= limit
    assert counter.get_total_flops() == pytest.approx(stated, rel=0.01), "the documents state another figure"


@pytest.mark.parametrize("shape", [(64, 64), (61, 83), (17, 130)])
def test_any_frame_size_is_restored_at_its_own_size(shape: tuple[int, int]) -> None:
    found = Generator(SMALL).train()(*_partial(shape))
    assert found.frame.shape == found.log_scale.shape == (1, 1, *shape)
    assert found.half is not None
    assert found.half.shape == (1, 1, -(-shape[0] // 2), -(-shape[1] // 2))
    assert Generator(SMALL).eval()(*_partial(shape)).half is None


def test_first_networks_correct_the_start_before_the_others_do_and_are_not_trained() -> None:
    torch.manual_seed(2)
    plain = Generator(SMALL).eval()
    twice = Generator(msgspec.structs.replace(SMALL, first=SMALL)).eval()
    mean, weight, distance = _partial((64, 96), 0.1)
    before = twice(mean, weight, distance).frame
    twice.first.outer.head.weight.data.normal_(std=0.05)
    assert not torch.equal(twice(mean, weight, distance).frame, before), "the spectrum is not learnt from their frame"
    start = spectral_start(mean, weight, iterations=SMALL.spectral_iterations)
    conditions = conditions_of(start.statistics, None)
    own = twice.first(weight, distance, start, conditions) - start.estimate
    plain.inner.load_state_dict(twice.first.inner.state_dict())
    plain.outer.load_state_dict(twice.first.outer.state_dict())
    half, full = network_planes(weight, distance, start)
    correction = plain.outer(full, plain.inner(half, conditions))[0]
    torch.testing.assert_close(own, F.avg_pool2d(correction, 2), atol=1e-6, rtol=1e-4)
    twice.train()(mean, weight, distance).frame.sum().backward()
    assert all(value.grad is None for value in twice.first.parameters())
    assert twice.outer.head.weight.grad is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spectral_iterations": (9,)}, "two rounds"),
        ({"first": GeneratorConfig(first=SMALL)}, "plain networks"),
        ({"first": GeneratorConfig(texture=True)}, "plain networks"),
    ],
)
def test_sizes_that_contradict_themselves_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        GeneratorConfig(**changes)  # type: ignore[arg-type]


def test_an_untrained_generator_is_its_spectral_start_at_full_size() -> None:
    network = Generator(SMALL).eval()
    mean, weight, distance = _partial((64, 64), 0.2)
    first = network(mean, weight, distance).frame
    start = spectral_start(mean, weight, iterations=SMALL.spectral_iterations)
    torch.testing.assert_close(first[weight == 0], start.full[weight == 0])
    for parameter in network.inner.parameters():
        parameter.data.normal_()
    torch.testing.assert_close(network(mean, weight, distance).frame, first)


def test_no_measured_pixel_is_contradicted_beyond_its_noise() -> None:
    network = Generator(SMALL).eval()
    mean, weight, distance = _partial((64, 64), 0.2)
    network.outer.head.bias.data[:16] = 100.0  # a network that has gone mad
    frame = network(mean, weight, distance).frame.detach()
    start = spectral_start(mean, weight, iterations=SMALL.spectral_iterations)
    noise = (0.5 * start.statistics[0, STATISTICS.index("log noise")]).exp()
    on_path = weight > 0
    assert float((frame - mean)[on_path].max()) <= 3 * float(noise) * 1.001
    assert float(frame[~on_path].min()) > 50


def test_the_longer_the_beam_dwelt_the_less_a_frame_may_differ_from_the_reading() -> None:
    reading, noise, weight = torch.zeros(1, 1, 1, 3), torch.tensor([0.1]), torch.tensor([[[[1.0, 4.0, 0.0]]]])
    for sign in (1, -1):
        frame = consistent(torch.full_like(reading, sign * 9.0), reading, weight, noise)
        assert frame.flatten().tolist() == pytest.approx([sign * 0.3, sign * 0.15, sign * 9.0])


def test_the_realistic_face_begins_with_noise_of_the_frames_own_strength() -> None:
    mean, weight, distance = _partial((64, 64), 0.2)
    plain, realistic = (
        Generator(msgspec.structs.replace(SMALL, texture=texture)).eval()(mean, weight, distance).frame
        for texture in (False, True)
    )
    start = spectral_start(mean, weight, iterations=SMALL.spectral_iterations)
    noise = (0.5 * start.statistics[0, STATISTICS.index("log noise")]).exp()
    added = (realistic - plain)[weight == 0]
    all_bands = noise_bands(64, 64, torch.device("cpu")).sum(1).std()
    assert float(added.detach().std()) == pytest.approx(0.5 * float(noise * all_bands), rel=0.1)


def test_the_noise_of_a_texture_is_in_bands_of_unit_variance_and_the_same_every_time() -> None:
    bands = noise_bands(128, 96, torch.device("cpu"))
    assert bands.std((2, 3)).tolist() == [pytest.approx([1.0] * 3)]
    power = torch.fft.rfft2(bands).abs().square()
    finest = power[0, :, :48, 24:].mean((1, 2)) / power.mean((0, 2, 3))
    assert finest[0] > finest[1] > finest[2], "from fine to coarse"
    noise_bands.cache_clear()
    assert torch.equal(noise_bands(128, 96, torch.device("cpu")), bands)


def test_a_noise_that_is_stated_is_told_to_the_features_and_one_that_is_not_is_not() -> None:
    statistics = torch.randn(3, len(STATISTICS))
    told = conditions_of(statistics, torch.tensor([torch.nan, 0.25, 0.0]))
    assert torch.equal(told[:, : len(STATISTICS)], statistics)
    assert told[:, -2].tolist() == [0, 1, 1]
    assert told[:, -1].tolist() == pytest.approx([0, math.log(0.25), math.log(1e-4)])
    assert torch.equal(conditions_of(statistics, None)[:, -2:], torch.zeros(3, 2))


def test_every_parameter_gets_a_gradient() -> None:
    network = Generator(SMALL).train()
    for parameter in network.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    found = network(*_partial((64, 64), batch=2))
    (found.frame.square().mean() + found.log_scale.mean() + found.half.square().mean()).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_batch_is_restored_as_its_frames_are_one_by_one() -> None:
    network = Generator(SMALL).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    mean, weight, distance = _partial((48, 64), batch=3)
    together = network(mean, weight, distance).frame
    alone = torch.cat([network(*(x[i : i + 1] for x in (mean, weight, distance))).frame for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_presets_and_sizes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidInput, match="is no preset"):
        network_config("huge")
    with pytest.raises(InvalidInput, match="one entry for each"):
        GeneratorConfig(widths=(8, 16), inner_blocks=(1,))
    assert isinstance(build_network(network_config("lite")), Generator)
