"""A network on its device: the precision it computes in, and recordings that say what the network says."""

from __future__ import annotations

import copy

import pytest
import torch
from training_tools import TINY

from restore.generator.generator import Generator
from restore.generator.recorded import Accounting, Recorded
from restore.generator.resident import Resident, fast_precision, measured_precision
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


@torch.inference_mode()
def test_nothing_is_recorded_while_a_frame_waits_and_what_was_prepared_is_replayed() -> None:
    network = _network()
    resident = Resident(network, "single", recorded=True, together=2)
    known, unknown = _partial(48, 64), _partial(64, 48)
    resident.prepare(*known)
    calls: list[int] = []
    record = Recorded.__call__

    def counted(self: Recorded, *given: torch.Tensor) -> object:
        calls.append(len(given[0]))
        return record(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorded, "__call__", counted)
        patch.setattr(Recorded, "__init__", lambda *_: pytest.fail("something was recorded"))
        for given in (known, unknown, tuple(torch.cat((x, x)) for x in known)):
            torch.testing.assert_close(resident(*given).frame, network(*given).frame)
        resident.prepare(*known)
    assert calls == [1, 2]


@pytest.mark.slow
@torch.inference_mode()
def test_only_the_sizes_prepared_last_stay_recorded_within_the_memory_that_is_allowed() -> None:
    network = _network()
    resident = Resident(network, "single", recorded=True, limit=1)
    alone = [resident.prepare(*_partial(rows, 64)) for rows in (48, 64)]
    assert list(resident._sizes) == [(64, 64)], "the newest stays in any case"
    assert [memory.together for memory in alone] == [(1,), (1,)]
    resident._limit = sum(memory.most for memory in alone)
    resident.prepare(*_partial(48, 64))
    assert list(resident._sizes) == [(64, 64), (48, 64)]
    assert 0 < resident.most_bytes < resident._limit, "they share what is not their fixed places"


@torch.inference_mode()
def test_as_many_frames_are_taken_at_once_as_fit_and_the_memory_of_one_is_said() -> None:
    network = _network()
    one = Resident(network, "single", together=16).prepare(*_partial(64, 64))
    assert one.together == (1, 2, 4, 8, 16)
    assert Resident(network, "single", together=5).prepare(*_partial(64, 64)).together == (1, 2, 4)
    few = Resident(network, "single", together=16, limit=int(4.5 * one.each))
    assert few.prepare(*_partial(64, 64)).together == (1, 2, 4)
    larger = Resident(network, "single", together=16).prepare(*_partial(128, 128))
    assert one.each < larger.each < 4 * one.each
    assert "128 × 128 needs" in str(larger)
    with pytest.raises(InvalidInput, match="together = 0"):
        Resident(network, "single", together=0)


def test_what_was_let_go_is_not_counted_and_what_was_there_before_is_foreign() -> None:
    weight = torch.ones(1000)
    with Accounting() as accounting:
        for _ in range(10):
            _ = (weight * 2).sum()
    assert accounting.peak == 4000 + 4
    assert [tensor.data_ptr() for tensor in accounting.foreign] == [weight.data_ptr()]
