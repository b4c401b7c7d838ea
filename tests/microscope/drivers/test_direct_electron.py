"""The Direct Electron driver against a generator that behaves as deapi's server does, and against deapi where it is."""

from __future__ import annotations

import time
import types

import numpy as np
import pytest
from fake_generator import FakeGenerator
from instrument_duties import InstrumentDuties, Stand, Timed

from scancontrol.errors import InvalidInput, LinkError
from scancontrol.files import config_file
from scancontrol.microscope.drivers.deapi_client import DeapiClient
from scancontrol.microscope.drivers.direct_electron import (
    DirectElectronConfig,
    DirectElectronInstrument,
    grid_positions,
)
from scancontrol.paths import expand
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.rasters import Raster
from scancontrol.paths.patterns.spirals import Archimedean
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import Settle
from scancontrol.plan.plan import load_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.units import ELECTRONS_PER_PA_US

CONFIG = DirectElectronConfig(patience_s=0.3)


@pytest.fixture
def made():
    """An instrument on a fake generator."""
    fake = FakeGenerator()
    instrument = DirectElectronInstrument(CONFIG, client=fake)
    yield instrument, fake
    instrument.close()


def path_of(pattern, *, settle=None, dwell_us=50.0):
    return expand(PathRecipe(pattern=pattern, shape=(32, 32), fov_nm=20.0, dwell_us=dwell_us, settle=settle))


def test_samples_come_in_the_order_of_the_path_when_the_frame_is_over(made):
    instrument, fake = made
    path = path_of(Archimedean(turn_spacing_px=4.0))
    instrument.begin(path, 0, 0)
    assert instrument.read(10) is None
    blocks = Timed(instrument).blocks(path.count, most=100)
    values = np.concatenate([block.values for block in blocks], axis=1)
    np.testing.assert_array_equal(values[0], 1000 * fake.xy[:, 1] + fake.xy[:, 0])
    assert sum(block.electrons for block in blocks) == pytest.approx(path.electrons(20.0))


def test_the_grid_is_as_fine_as_it_takes_to_keep_samples_apart():
    positions = np.array([[0.5, 0.5], [0.5, 0.516], [0.1, 0.9]])
    xy, size = grid_positions(positions, (16, 16))
    assert size == (64, 64)
    assert len(np.unique(xy, axis=0)) == 3
    np.testing.assert_allclose(xy[:, ::-1] / 64, positions, atol=1 / 64)


def test_a_path_that_comes_back_to_a_place_is_refused():
    with pytest.raises(InvalidInput, match="more than once"):
        grid_positions(np.array([[0.5, 0.5], [0.1, 0.1], [0.5, 0.5]]), (32, 32))


def test_the_plan_that_ships_for_it_is_one_that_it_takes(made):
    instrument, fake = made
    plan = load_plan(config_file("plan-direct-electron.yaml"))
    path = PlannedScan(plan, instrument.capabilities).path(0)
    instrument.begin(path, 0, 0)
    assert sum(block.values.shape[1] for block in Timed(instrument).blocks(path.count, most=1000)) == path.count
    assert len(fake.xy) == path.count


def test_blanked_moves_and_unequal_dwells_are_refused_with_what_to_do(made):
    instrument, fake = made
    instrument.begin(path_of(JitteredGrid(points=50), settle=Settle(time_constant_us=5.0)), 0, 0)
    with pytest.raises(InvalidInput, match="settle: null"):
        Timed(instrument).blocks(1)
    unequal = Points.from_array(np.array([[0.1, 0.1, 1.0], [0.2, 0.2, 2.0]]), jump_px=1e9)
    with pytest.raises(InvalidInput, match="one dwell for all"):
        instrument.begin(path_of(unequal), 0, 0)
    assert fake.started_s is None


def test_a_stopped_frame_tells_the_samples_and_the_electrons_up_to_then(made):
    instrument, fake = made
    path = path_of(Archimedean(turn_spacing_px=2.0), dwell_us=1000.0)
    timed = Timed(instrument)
    timed.begin_and_light(Stand(instrument, fake.is_lit), path)
    while time.monotonic() < fake.started_s + 0.1:
        timed.call("read", 100)
    instrument.blank()
    assert not fake.is_lit()
    lit_us = (fake.ended_s - fake.started_s) * 1e6
    blocks = timed.rest()
    done = sum(block.values.shape[1] for block in blocks)
    assert done == pytest.approx(lit_us / 1000, abs=15)
    told = sum(block.electrons for block in blocks)
    assert told == pytest.approx(lit_us * 20.0 * ELECTRONS_PER_PA_US, rel=0.15)
    values = np.concatenate([block.values for block in blocks], axis=1)[0]
    np.testing.assert_array_equal(values[:done], (1000 * fake.xy[:, 1] + fake.xy[:, 0])[:done])


def test_a_server_that_does_not_confirm_a_stop_is_asked_again(made):
    instrument, fake = made
    Timed(instrument).begin_and_light(Stand(instrument, fake.is_lit), path_of(Raster(), dwell_us=1000.0))
    fake.refuses_to_stop = True
    for _ in range(2):
        with pytest.raises(LinkError, match="did not stop"):
            instrument.blank()
    fake.refuses_to_stop = False
    instrument.blank()
    assert not fake.is_lit()


def test_a_server_that_never_finishes_is_one_clear_message_and_its_electrons_are_told(made):
    instrument, fake = made
    fake.hangs = "busy"
    fake._let_go.set()
    path = path_of(Archimedean(turn_spacing_px=4.0))
    instrument.begin(path, 0, 0)
    blocks: list = []
    with pytest.raises(LinkError, match="late with a frame"):
        Timed(instrument).blocks(path.count, into=blocks)
    assert sum(block.electrons for block in blocks) == pytest.approx(path.electrons(20.0))


class TestDuties(InstrumentDuties):
    """Against a generator whose calls take time, or hang."""

    @pytest.fixture
    def stand(self, made):
        instrument, fake = made

        def hang():
            fake.hangs = "busy"

        return Stand(instrument, fake.is_lit, hang)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "deapi", None)
    with pytest.raises(InvalidInput, match="pip install scancontrol"):
        DeapiClient("127.0.0.1", 9, None)


def test_nobody_at_the_address_is_one_clear_message():
    class Client:
        def connect(self, host, port):
            raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(LinkError, match=r"server at 127\.0\.0\.1:9: ConnectionRefusedError"):
        DeapiClient("127.0.0.1", 9, None, types.SimpleNamespace(Client=Client))
