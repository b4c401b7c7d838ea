"""The NI-DAQ driver against a card that behaves as NI-DAQmx does; the vendor's driver is not needed."""

from __future__ import annotations

import types

import msgspec
import numpy as np
import pytest
from fake_card import FakeCard

from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.drivers.nidaq import NidaqConfig, NidaqInstrument
from scancontrol.microscope.drivers.nidaq_tasks import AxisWiring, NidaqmxTasks, Wiring
from scancontrol.microscope.instrument import Overrun
from scancontrol.paths import expand
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import Settle

AXIS = AxisWiring(channel="Dev1/ao0", volts_per_field=6.0, lowest_volts=-3.0, highest_volts=3.5, park_volts=3.5)
WIRING = Wiring(x=AXIS, y=msgspec.structs.replace(AXIS, channel="Dev1/ao1", park_volts=0.0), inputs=("Dev1/ai0",))
CONFIG = NidaqConfig(wiring=WIRING, rate_khz=500.0, buffer_ms=20.0)


class Time:
    """A clock that moves when the driver sleeps, and when a test says so."""

    def __init__(self):
        self.ns = 10**9

    def __call__(self):
        return self.ns

    def sleep(self, seconds):
        self.ns += round(seconds * 1e9)


def instrument_of(config=CONFIG, **card):
    clock = Time()
    fake = FakeCard(config.wiring, clock, **card)
    return NidaqInstrument(config, tasks=fake, clock_ns=clock, sleep=clock.sleep), fake, clock


def path_of(pattern=None, *, shape=(16, 16), dwell_us=4.0, settle=None):
    return expand(
        PathRecipe(
            pattern=pattern or Raster(), shape=shape, fov_nm=20.0, dwell_us=dwell_us, settle=settle, clock_mhz=0.5
        )
    )


def read_all(instrument, count, most=50):
    blocks = []
    for _ in range(20 * count):
        block = instrument.read(most)
        if block is not None:
            assert block.values.shape[1] <= most
            blocks.append(block)
        if sum(b.values.shape[1] for b in blocks) == count:
            break
    return np.concatenate([b.values for b in blocks], axis=1), blocks


def volts_of(counts):
    return (counts / 32767.5 - 1) * 10


@pytest.mark.parametrize("generation", ["finite", "continuous"])
@pytest.mark.parametrize("moves", [False, True])
def test_every_sample_carries_the_voltage_of_its_own_position(generation, moves):
    instrument, card, _ = instrument_of(msgspec.structs.replace(CONFIG, generation=generation))
    settle = Settle(time_constant_us=5.0) if moves else None
    path = path_of(JitteredGrid(points=100, seed=1) if moves else None, settle=settle)
    instrument.begin(path, 0, 0)
    values, blocks = read_all(instrument, path.count)
    np.testing.assert_allclose(volts_of(values[0]), (path.positions[:, 1] - 0.5) * 6, atol=2e-4)
    assert sum(block.electrons for block in blocks) == pytest.approx(path.electrons(20.0))
    assert card.exposed_ticks == round(path.exposure_us * 0.5)
    assert card.at_rest == (3.5, 0.0)
    assert instrument.read(10) is None


def test_a_frame_begins_in_the_middle():
    instrument, _, _ = instrument_of()
    path = path_of()
    instrument.begin(path, 100, 0)
    values, _ = read_all(instrument, path.count - 100)
    np.testing.assert_allclose(volts_of(values[0]), (path.positions[100:, 1] - 0.5) * 6, atol=2e-4)


def test_the_clock_is_the_one_that_the_timebase_allows_and_the_planner_is_told():
    instrument, _, _ = instrument_of(msgspec.structs.replace(CONFIG, rate_khz=700.0))
    assert instrument.capabilities.sample_clock_mhz == pytest.approx(100 / 143)
    assert instrument.capabilities.shortest_dwell_us == pytest.approx(1.43)
    assert instrument.capabilities.dac_bits == 14  # 6 V of ±10 V at 16 bits


def test_a_host_that_comes_too_late_ends_the_frame_as_overrun_blanked_and_parked():
    instrument, card, clock = instrument_of()
    instrument.begin(path_of(shape=(128, 128)), 0, 0)
    clock.sleep(0.1)  # the buffer holds 20 ms
    with pytest.raises(Overrun, match="too late"):
        instrument.read(100)
    assert card.at_rest == (3.5, 0.0)
    assert not card.armed


def test_blanking_stops_at_once_and_hands_out_what_was_exposed():
    instrument, card, clock = instrument_of()
    path = path_of(shape=(64, 64))
    instrument.begin(path, 0, 0)
    clock.sleep(0.004)
    instrument.blank()
    instrument.blank()
    assert card.rests == 2  # when it was made, and now
    block = instrument.read(10**6)
    assert block.values.shape[1] == 999  # 4 ms at 4 us, less what the converter had not seen
    assert instrument.read(10) is None


def test_no_plan_can_leave_the_limits():
    bad = msgspec.structs.replace(WIRING, x=msgspec.structs.replace(AXIS, volts_per_field=7.0))
    with pytest.raises(InvalidInput, match=r"wiring.x = -3.5 V is outside -3 to 3.5 V"):
        instrument_of(msgspec.structs.replace(CONFIG, wiring=bad))
    instrument, _, _ = instrument_of(msgspec.structs.replace(CONFIG, full_field_nm=10.0))
    with pytest.raises(InvalidInput, match="above the full field, 10"):
        instrument.begin(path_of(), 0, 0)


def test_detectors_and_inputs_must_be_as_many():
    with pytest.raises(InvalidInput, match="are not 1 inputs"):
        instrument_of(msgspec.structs.replace(CONFIG, detectors=(DetectorChannel(name="a"), DetectorChannel(name="b"))))


def fake_package(error):
    """The names of nidaqmx that are reached before the first task."""

    def task():
        raise error

    errors = {name: type(name, (Exception,), {}) for name in ("DaqNotFoundError", "DaqError")}
    return types.SimpleNamespace(Task=task, **errors)


def test_a_missing_package_says_what_to_install():
    with pytest.raises(InvalidInput, match="pip install nidaqmx"):
        NidaqmxTasks(WIRING)


def test_a_missing_driver_is_one_clear_message():
    package = fake_package(None)
    package.Task = lambda: (_ for _ in ()).throw(package.DaqNotFoundError("Could not find an installation"))
    with pytest.raises(LinkError, match="NI-DAQmx driver is not installed"):
        NidaqmxTasks(WIRING, package)


def test_an_absent_card_is_one_clear_message():
    package = fake_package(None)
    error = package.DaqError("Device identifier is invalid. Device Specified: Dev1. Status Code: -200220")
    package.Task = lambda: (_ for _ in ()).throw(error)
    with pytest.raises(LinkError, match="NI-DAQmx: Device identifier is invalid"):
        NidaqmxTasks(WIRING, package)
