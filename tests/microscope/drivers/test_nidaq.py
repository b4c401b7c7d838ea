"""The NI-DAQ driver against a card that behaves as NI-DAQmx does; the vendor's driver is not needed."""

from __future__ import annotations

import types

import msgspec
import numpy as np
import pytest
from fake_card import FakeCard
from instrument_duties import InstrumentDuties, Stand, Timed

from scancontrol.capabilities import DetectorChannel
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.drivers.nidaq import NidaqInstrument
from scancontrol.microscope.drivers.nidaq_config import NidaqConfig
from scancontrol.microscope.drivers.nidaq_tasks import AxisWiring, NidaqmxTasks, Wiring
from scancontrol.microscope.instrument import Overrun
from scancontrol.paths import expand
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import Settle
from scancontrol.units import ELECTRONS_PER_PA_US

AXIS = AxisWiring(channel="Dev1/ao0", volts_per_field=6.0, lowest_volts=-3.0, highest_volts=3.5, park_volts=3.5)
WIRING = Wiring(x=AXIS, y=msgspec.structs.replace(AXIS, channel="Dev1/ao1", park_volts=0.0), inputs=("Dev1/ai0",))
CONFIG = NidaqConfig(wiring=WIRING, rate_khz=500.0, buffer_ms=20.0)


@pytest.fixture
def made():
    """Make instruments on fake cards; they are closed at the end."""
    instruments = []

    def make(config=CONFIG, **card):
        fake = FakeCard(config.wiring, **card)
        instrument = NidaqInstrument(config, tasks=fake)
        instruments.append(instrument)
        return instrument, fake

    yield make
    for instrument in instruments:
        instrument.close()


def path_of(pattern=None, *, shape=(16, 16), dwell_us=4.0, settle=None):
    return expand(
        PathRecipe(
            pattern=pattern or Raster(), shape=shape, fov_nm=20.0, dwell_us=dwell_us, settle=settle, clock_mhz=0.5
        )
    )


def read_all(instrument, count, most=50):
    blocks = Timed(instrument).blocks(count, most)
    return np.concatenate([b.values for b in blocks], axis=1), blocks


def volts_of(counts):
    return (counts / 32767.5 - 1) * 10


@pytest.mark.parametrize("generation", ["finite", "continuous"])
@pytest.mark.parametrize("moves", [False, True])
def test_every_sample_carries_the_voltage_of_its_own_position(made, generation, moves):
    instrument, card = made(msgspec.structs.replace(CONFIG, generation=generation))
    settle = Settle(time_constant_us=5.0) if moves else None
    path = path_of(JitteredGrid(points=100, seed=1) if moves else None, settle=settle)
    instrument.begin(path, 0, 0)
    values, blocks = read_all(instrument, path.count)
    np.testing.assert_allclose(volts_of(values[0]), (path.positions[:, 1] - 0.5) * 6, atol=2e-4)
    assert sum(block.electrons for block in blocks) == pytest.approx(path.electrons(20.0))
    assert instrument.read(10) is None
    assert card.exposed_ticks == round(path.exposure_us * 0.5)
    assert card.at_rest == (3.5, 0.0)


def test_a_frame_begins_in_the_middle(made):
    instrument, _ = made()
    path = path_of()
    instrument.begin(path, 100, 0)
    values, _ = read_all(instrument, path.count - 100)
    np.testing.assert_allclose(volts_of(values[0]), (path.positions[100:, 1] - 0.5) * 6, atol=2e-4)


def test_the_clock_is_the_one_that_the_timebase_allows_and_the_planner_is_told(made):
    instrument, _ = made(msgspec.structs.replace(CONFIG, rate_khz=700.0))
    assert instrument.capabilities.sample_clock_mhz == pytest.approx(100 / 143)
    assert instrument.capabilities.shortest_dwell_us == pytest.approx(1.43)
    assert instrument.capabilities.dac_bits == 14  # 6 V of ±10 V at 16 bits


def test_a_card_that_is_served_too_slowly_ends_the_frame_as_overrun_with_its_electrons_blanked_and_parked(made):
    instrument, card = made(call_s=0.03)  # a write and a read of 30 ms each, and a buffer of 20 ms
    instrument.begin(path_of(shape=(128, 128)), 0, 0)
    timed, blocks = Timed(instrument), []
    with pytest.raises(Overrun, match="too late"):
        timed.blocks(128 * 128, into=blocks)
    electrons = sum(block.electrons for block in blocks)
    assert electrons >= 0.99 * card.exposed_ticks * 2.0 * 20.0 * ELECTRONS_PER_PA_US
    assert card.at_rest == (3.5, 0.0)
    assert not card.armed


def test_a_write_that_takes_longer_than_a_tick_is_waited_for_once_a_turn_and_nothing_is_lost(made):
    instrument, _ = made(msgspec.structs.replace(CONFIG, buffer_ms=200.0), call_s=0.005)
    path = path_of(shape=(256, 256))  # 0.26 s
    instrument.begin(path, 0, 0)
    values, _ = read_all(instrument, path.count, most=10_000)
    np.testing.assert_allclose(volts_of(values[0]), (path.positions[:, 1] - 0.5) * 6, atol=2e-4)


def test_blanking_in_mid_frame_tells_every_tick_with_beam(made):
    instrument, card = made()
    path = path_of(shape=(64, 64), dwell_us=100.0)
    instrument.begin(path, 0, 0)
    blocks = Timed(instrument).blocks(20)
    instrument.blank()
    blocks += Timed(instrument).rest()
    assert card.at_rest == (3.5, 0.0)
    told = sum(block.electrons for block in blocks)
    assert told >= 0.999 * card.exposed_ticks * 2.0 * 20.0 * ELECTRONS_PER_PA_US
    assert instrument.read(10) is None


def test_a_blanker_that_fails_says_so_until_it_obeys(made):
    instrument, card = made()
    path = path_of(shape=(64, 64), dwell_us=1000.0)
    instrument.begin(path, 0, 0)
    Timed(instrument).blocks(2)
    card.refuses = 3
    for _ in range(2):
        with pytest.raises(LinkError, match="reserved"):
            instrument.blank()
        assert card.at_rest is None
    instrument.blank()
    assert card.at_rest == (3.5, 0.0)


def test_no_plan_can_leave_the_limits(made):
    bad = msgspec.structs.replace(WIRING, x=msgspec.structs.replace(AXIS, volts_per_field=7.0))
    with pytest.raises(InvalidInput, match=r"wiring.x = -3.5 V is outside -3 to 3.5 V"):
        made(msgspec.structs.replace(CONFIG, wiring=bad))
    instrument, _ = made(msgspec.structs.replace(CONFIG, full_field_nm=10.0))
    with pytest.raises(InvalidInput, match="above the full field, 10"):
        instrument.begin(path_of(), 0, 0)


class TestDuties(InstrumentDuties):
    """With the costs of real calls, a millisecond each."""

    @pytest.fixture(params=["finite", "continuous"])
    def stand(self, request, made):
        config = msgspec.structs.replace(CONFIG, generation=request.param, buffer_ms=60.0)
        instrument, card = made(config, call_s=0.001)

        def hang():
            card.hangs = "write"

        def expected(path):
            return np.rint(((path.positions[:, 1] - 0.5) * 0.6 + 1) * 32767.5)[None]

        return Stand(instrument, card.is_lit, hang, expected, tolerance=2.0)


def test_detectors_and_inputs_must_be_as_many(made):
    with pytest.raises(InvalidInput, match="are not 1 inputs"):
        made(msgspec.structs.replace(CONFIG, detectors=(DetectorChannel(name="a"), DetectorChannel(name="b"))))


def fake_package(error):
    """The names of nidaqmx that are reached before the first task."""

    def task():
        raise error

    errors = {name: type(name, (Exception,), {}) for name in ("DaqNotFoundError", "DaqError")}
    return types.SimpleNamespace(Task=task, **errors)


def test_a_missing_package_says_what_to_install():
    with pytest.raises(InvalidInput, match=r"pip install .scancontrol\[nidaq\]"):
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
