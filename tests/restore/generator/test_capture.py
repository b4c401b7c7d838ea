"""What a CUDA graph cannot record is in no network, told on the meta device; and how many kernels a frame launches."""

from __future__ import annotations

import msgspec
import pytest
import torch

from benchmarks._capture import Capture, ForbiddenInCapture
from restore.generator.ede2020 import Ede2020
from restore.generator.generator import Generator
from restore.generator.networks import EdeConfig
from restore.generator.presets import PRESETS
from restore.generator.recorded import Recorded
from restore.generator.texture import noise_bands

REALISTIC = msgspec.structs.replace(PRESETS["lite"], texture=True)


def _launches(network: torch.nn.Module, side: int = 512, following: bool = False) -> int:
    """Of a frame that begins anew, or of one after it that no network looks at."""
    frame = torch.empty(1, 1, side, side, device="meta")
    with torch.no_grad():  # composite operations are counted by what they are made of
        before = (network(frame, frame, frame).carried,) if following else ()
        network(frame, frame, frame, None, *before)  # constants are made once for each frame size
        with Capture() as capture:
            network(frame, frame, frame, None, *before)
    return capture.launches


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "most"),
    [(PRESETS["lite"], 1070), (PRESETS["live"], 2040), (REALISTIC, 1080)],
    ids=["lite", "live", "realistic"],
)
def test_our_networks_can_be_recorded_and_launch_no_more_kernels_than_stated(config, most: int) -> None:
    with torch.device("meta"):
        network = Generator(config).eval()
    assert _launches(network) <= most


@pytest.mark.slow
def test_a_frame_that_begins_where_the_one_before_ended_launches_a_third_of_them() -> None:
    with torch.device("meta"):
        network = Generator(PRESETS["lite"]).eval()
    assert _launches(network, following=True) <= 320


def test_the_authors_networks_can_be_recorded() -> None:
    with torch.device("meta"):
        network = Ede2020(EdeConfig()).eval()
    assert _launches(network, 64) < 1000


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.to("meta"),
        lambda x: bool((x > 0).any()),
    ],
    ids=["item", "mask", "nonzero", "to", "bool"],
)
def test_the_mode_refuses_what_a_recording_cannot_hold(forbidden) -> None:
    with Capture(), pytest.raises(ForbiddenInCapture):
        forbidden(torch.ones(3))


def test_a_recording_owns_the_constants_that_it_reads() -> None:
    network = Generator(msgspec.structs.replace(REALISTIC, widths=(8, 16), inner_blocks=(0, 1))).eval()
    frame = torch.zeros(1, 1, 64, 64)
    with torch.inference_mode():
        recorded = Recorded(network, frame, frame, frame)
    bands = noise_bands(64, 64, torch.device("cpu"))
    assert any(tensor.data_ptr() == bands.data_ptr() for tensor in recorded.owned)
    own = {value.data_ptr() for value in network.state_dict().values() if value.numel()}
    trainer = {value.data_ptr() for name, value in network.state_dict().items() if name.startswith("trainer.")}
    assert own - trainer <= {tensor.data_ptr() for tensor in recorded.owned}
