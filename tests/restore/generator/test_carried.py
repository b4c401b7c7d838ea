"""What networks said moves with the specimen; they look at one of three frames, and where it has changed again."""

from __future__ import annotations

import pytest
import torch
from training_tools import TINY

from restore.estimate.torus import MARGIN
from restore.generator.carried import Carried, shifted
from restore.generator.generator import Generator
from restore.restorer import Movement


def _network() -> Generator:
    torch.manual_seed(3)
    network = Generator(TINY)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def _frame(seed: int) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    weight = (torch.rand(1, 1, 64, 64, generator=draw) < 0.2).float()
    smooth = torch.nn.functional.interpolate(torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(9)), 64)
    return smooth * weight, weight, torch.rand(1, 1, 64, 64, generator=draw), torch.tensor([0.1])


def test_an_image_is_shifted_between_pixels_and_its_edges_are_repeated() -> None:
    image = torch.arange(5.0).expand(1, 1, 4, 5)
    assert shifted(image, 0.0, 1.0)[0, 0, 0].tolist() == [0, 0, 1, 2, 3]
    assert shifted(image, 2.0, -0.25)[0, 0, 3].tolist() == [0.25, 1.25, 2.25, 3.25, 4]


@torch.inference_mode()
def test_the_networks_look_at_one_frame_of_three_and_what_they_said_moves_in_between() -> None:
    network = _network()
    looked: list[int] = []
    network.outer.register_forward_hook(lambda *_: looked.append(number))
    said = carried = None
    for number in range(7):
        before = None if carried is None else carried.moved(Movement(0.0, 1.0))
        found = network(*_frame(number), before)
        carried = found.carried
        assert carried is not None
        if said is not None and number % 3:
            torch.testing.assert_close(found.log_scale[..., 1:], said[..., :-1])
        said = found.log_scale
    assert looked == [0, 3, 6]


@torch.inference_mode()
def test_where_something_has_changed_the_networks_look_and_begin_with_a_fill_of_the_new_samples() -> None:
    mean, weight, *rest = _frame(0)
    network = _network()
    carried = network(mean, weight, *rest).carried
    assert carried is not None
    changed = torch.zeros(64, 64, dtype=torch.bool)
    changed[10:24, 30:44] = True
    new = mean + 5 * changed * weight
    still, begun = (each.moved(Movement(0.0, 0.0)) for each in (carried, carried.refilled(new, weight, changed)))
    assert not still.looks
    assert begun.looks
    before, after = (_half_size(each) for each in (still, begun))
    assert (after - before)[6:11, 16:21].min() > 3
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[5:12, 15:22] = False
    torch.testing.assert_close(after[outside], before[outside], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_where_little_has_changed_nothing_that_the_networks_said_there_is_believed() -> None:
    mean, weight, *rest = _frame(0)
    carried = _network()(mean, weight, *rest).carried
    assert carried is not None
    changed = torch.zeros(64, 64, dtype=torch.bool)
    changed[10:14, 30:36] = True
    begun = carried.refilled(mean, weight, changed)
    assert not begun.moved(Movement(0.0, 0.0)).looks
    correction, log_scale = begun.said()
    assert not correction[..., changed].any()
    assert float(log_scale[..., changed].min()) == float(carried.log_scale.max())
    assert torch.equal(correction[..., ~changed], carried.correction[..., ~changed])


def _half_size(carried: Carried) -> torch.Tensor:
    """The estimate that is carried, of a frame of 64 × 64 pixels."""
    learnt = carried.process.half
    field: torch.Tensor = torch.fft.irfft2(learnt.spectrum, s=(learnt.spectrum.shape[-2], learnt.width), norm="forward")
    return field[0, MARGIN : MARGIN + 32, MARGIN : MARGIN + 32]


@torch.inference_mode()
def test_one_frame_of_twenty_four_begins_anew() -> None:
    carried, followed = _network()(*_frame(0)).carried, 0
    assert carried is not None
    while not carried.ends:
        carried, followed = carried.moved(Movement(0.0, 0.0)), followed + 1
    assert followed == 23


@pytest.mark.parametrize("gain", [0.5, 4.0])
@torch.inference_mode()
def test_a_gain_of_the_samples_is_one_of_the_correction(gain: float) -> None:
    carried = _network()(*_frame(0)).carried
    assert carried is not None
    correction, log_scale = carried.moved(Movement(0.0, 0.0, gain=gain)).said()
    torch.testing.assert_close(correction, gain * carried.correction)
    torch.testing.assert_close(log_scale.exp(), gain * carried.log_scale.exp())
