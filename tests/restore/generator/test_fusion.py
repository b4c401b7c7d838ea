"""Chains of operations are compiled where that is faster and says the same; whatever goes wrong, all runs as before."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from restore.estimate.fused import chain
from restore.estimate.steps import advanced, curved, turned
from restore.generator.fusion import Fusion
from restore.generator.generator import Estimate
from restore.generator.recorded import Recorded

pytestmark = pytest.mark.slow


def _step(pairs: Tensor) -> Tensor:
    """A step of conjugate gradients of an operator that is a real factor."""
    least = torch.full((1, 1, 1), 1e-20)
    found, along = pairs.repeat(2, 1, 1, 1, 1), pairs.repeat(2, 1, 1, 1, 1)
    curvature = curved(along, pairs * 0.5, pairs.abs(), least)
    steps, energy = advanced(found, along, curvature, torch.ones_like(pairs)[None], least)
    return turned(along, steps, energy, pairs.abs())


def _network(pairs: Tensor) -> Estimate:
    frame = _step(pairs)
    return Estimate(frame, frame, None)


def _pairs(rows: int = 12) -> Tensor:
    return torch.randn(1, rows, 7, 2, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("compiled", [1.0, 3.0])
def test_the_faster_of_two_recordings_is_kept(compiled: float) -> None:
    readings = [reading for lasting in (2.0, compiled) for _ in range(5) for reading in (0.0, lasting)]
    fusion = Fusion("aot_eager", iter(readings).__next__)
    pairs = _pairs()
    plain = Recorded(_network, pairs)
    kept = fusion.better(plain, _network, pairs)
    assert (kept is plain) == (compiled > 2)
    torch.testing.assert_close(kept(pairs).frame, _step(pairs))
    assert fusion.works


def test_what_a_compiler_cannot_do_runs_as_it_is_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    @chain
    def reads(x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x  # of which no chain is made

    def network(x: Tensor) -> Estimate:
        return Estimate(reads(x), x, None)

    fusion, x = Fusion("aot_eager"), torch.ones(3)
    plain = Recorded(network, x)
    with caplog.at_level(logging.WARNING):
        assert fusion.better(plain, network, x) is plain
        assert fusion.better(plain, network, x) is plain
    assert not fusion.works
    assert len([record for record in caplog.records if "not compiled" in record.message]) == 1


def test_what_says_something_else_when_it_is_compiled_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    @chain
    def doubtful(x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_compiling() else x

    def network(x: Tensor) -> Estimate:
        return Estimate(doubtful(x), x, None)

    x = torch.ones(3)
    plain = Recorded(network, x)
    with caplog.at_level(logging.WARNING):
        assert Fusion("aot_eager").better(plain, network, x) is plain
    assert "something else" in caplog.text
