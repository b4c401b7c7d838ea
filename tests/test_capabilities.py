"""What a microscope states of itself is refused by name where it cannot be, at the edge of whoever states it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.microscope.drivers.direct_electron import DirectElectronConfig
from scancontrol.microscope.drivers.nidaq_config import NidaqConfig
from scancontrol.microscope.drivers.nidaq_tasks import AxisWiring, Wiring
from scancontrol.microscope.drivers.obi import ObiConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig

AXIS = AxisWiring(channel="Dev1/ao0", volts_per_field=6.0, lowest_volts=-3.0, highest_volts=3.5, park_volts=3.5)
WIRING = Wiring(x=AXIS, y=AXIS, inputs=("Dev1/ai0",))
NAMES = [".", "..", "a/b", "", " ", "x" * 81, "a\0b", "a\nb", "a\u202eb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_that_no_file_can_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"detectors\.name = .* is not of 1 to 80 printable letters"):
        Capabilities(name="m", detectors=(DetectorChannel(name=name),))


def test_two_detectors_of_one_name_are_refused() -> None:
    detectors = (DetectorChannel(name="BF"), DetectorChannel(name="BF"))
    with pytest.raises(InvalidInput, match="'BF' is given twice"):
        Capabilities(name="m", detectors=detectors)


@pytest.mark.parametrize("name", [".", "a/b"])
@pytest.mark.parametrize(
    "stand",
    [
        lambda name: ObiConfig(detector=DetectorChannel(name=name)),
        lambda name: NidaqConfig(wiring=WIRING, detectors=(DetectorChannel(name=name),)),
        lambda name: DirectElectronConfig(detectors=(DetectorChannel(name=name),)),
        lambda name: SimulatorConfig(detectors=(DetectorConfig(name=name),)),
    ],
    ids=["obi", "nidaq", "direct_electron", "simulator"],
)
def test_every_driver_and_the_simulator_refuse_it_before_anything_is_opened(
    name: str, stand: Callable[[str], Any]
) -> None:
    with pytest.raises(InvalidInput, match=r"detectors\.name = .* mend the (microscope|simulator)'s configuration"):
        stand(name)


@pytest.mark.parametrize("name", ["HAADF", "ADF 1", "β-detector", "v1.2", "(BF)", "1"])
def test_names_that_people_give_are_taken(name: str) -> None:
    assert Capabilities(name="m", detectors=(DetectorChannel(name=name),)).detector(name).name == name
