"""A network on its device: the precision it computes in, and recordings that say what the network says."""

from __future__ import annotations

import copy

import pytest
import torch
from training_tools import TINY

from restore.generator.generator import Generator
from restore.generator.resident import Recorded, Resident, fast_precision, measured_precision
from scancontrol.errors import InvalidInput

CPU = torch.device("cpu")


def _network() -> Generator:
    torch.manual_seed(3)
    network = Generator(TINY)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def _partial(rows: int, cols: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    weight = (torch.rand(1, 1, rows, cols, generator=draw) < 0.1).float()
    mean = torch.randn(1, 1, rows, cols, generator=draw) * weight
    return mean, weight, torch.rand(1, 1, rows, cols, generator=draw), torch.tensor([0.1])


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_computes_in_bfloat16_only_if_it_has_instructions_for_it(
    capabilities: dict[str, bool], precision: torch.dtype
) -> None:
    assert fast_precision(CPU, capabilities) is precision


@pytest.mark.parametrize(("slow", "faster"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_the_precision_that_is_measured_to_be_faster_is_taken(
    slow: torch.dtype, faster: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restore.generator.resident.fast_precision", lambda device: torch.bfloat16)
    network, now = _network(), [0.0]

    def clock() -> float:
        now[0] += 5.0 if network.outer.stem.weight.dtype is slow else 1.0
        return now[0]

    assert measured_precision(network, clock) is faster


def test_this_machines_own_precision_is_one_that_it_restores_in() -> None:
    resident = Resident(_network())
    assert resident.network.outer.stem.weight.dtype in (torch.float32, fast_precision(CPU))
    assert bool(torch.isfinite(resident(*_partial(64, 64)).frame).all())


@torch.inference_mode()
def test_in_single_precision_the_network_itself_is_called() -> None:
    network, given = _network(), _partial(50, 66)
    assert torch.equal(Resident(copy.deepcopy(network), "single")(*given).frame, network(*given).frame)


@pytest.mark.slow
@torch.inference_mode()
def test_bfloat16_moves_the_frame_by_less_than_the_correction_needs() -> None:
    network, given = _network(), _partial(96, 96)
    exact = network(*given)
    rough = Resident(copy.deepcopy(network), "bfloat16")(*given)
    assert rough.frame.dtype == rough.log_scale.dtype == torch.float32
    correction = (exact.frame - Generator(TINY).eval()(*given).frame).std()
    assert 0 < float((rough.frame - exact.frame).std()) < 0.02 * float(correction)
    torch.testing.assert_close(rough.log_scale, exact.log_scale, atol=0.05, rtol=0)


def test_an_unknown_precision_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="single"):
        Resident(_network(), "double")  # type: ignore[arg-type]


@pytest.mark.slow
@torch.inference_mode()
def test_a_recording_says_what_the_network_says_of_frame_after_frame_and_keeps_the_inputs_apart() -> None:
    network = _network()
    first = _partial(64, 48, 0)
    recorded = Recorded(network, *first)
    for seed in (1, 2, 0):
        given = _partial(64, 48, seed)
        before = [x.clone() for x in given]
        torch.testing.assert_close(recorded(*given).frame, network(*given).frame)
        assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


@pytest.mark.slow
@torch.inference_mode()
def test_frames_of_many_sizes_take_turns_and_only_the_last_few_stay_recorded() -> None:
    network = _network()
    resident = Resident(network, "single", recorded=True)
    for size in (48, 64, 80, 96, 112, 48, 64):
        given = _partial(size, 64)
        torch.testing.assert_close(resident(*given).frame, network(*given).frame)
    assert [shape[2] for shape in resident._recordings] == [96, 112, 48, 64]
