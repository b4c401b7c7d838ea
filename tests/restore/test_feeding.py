"""What is sent to a device and comes from it: on a processor at once, by the same calls as on a GPU."""

from __future__ import annotations

import pytest
import torch

from restore.feeding import CardFeeder, Coming, Feeder, feeder_of

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("name", DEVICES)
def test_values_go_there_are_computed_with_and_come_back(name: str) -> None:
    feeder = feeder_of(torch.device(name))
    values = torch.arange(1000.0)
    coming = []
    for number in range(4):
        with feeder.entering():
            there = feeder.send(values + number)
            entered = feeder.now()
        feeder.after(entered)
        found = there.square().cumsum(0)
        computed = feeder.now()
        with feeder.leaving(computed):
            coming.append(Coming(found + 1, there))
    for number, one in enumerate(coming):
        expected = values + number
        sums, same = one.here()
        assert torch.equal(same, expected)
        torch.testing.assert_close(sums, expected.square().cumsum(0) + 1)
        assert sums.device.type == "cpu"


def test_a_processor_has_one_batch_under_way_and_a_moment_there_is_past_at_once() -> None:
    feeder = feeder_of(torch.device("cpu"))
    assert type(feeder) is Feeder
    assert (feeder.under_way, CardFeeder.under_way) == (1, 2)
    assert feeder.now().past
