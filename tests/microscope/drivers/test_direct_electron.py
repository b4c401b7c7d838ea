"""The Direct Electron driver against a generator that behaves as deapi's server does, and against deapi where it is."""

from __future__ import annotations

import types

import msgspec
import numpy as np
import pytest

from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.drivers.direct_electron import (
    DeapiClient,
    DirectElectronConfig,
    DirectElectronInstrument,
    grid_positions,
)
from scancontrol.paths import expand
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.patterns.spirals import Archimedean
from scancontrol.paths.recipe import PathRecipe
from scancontrol.paths.timing import Settle

CONFIG = DirectElectronConfig(patience_s=1.0)


class FakeGenerator:
    """Takes time for each position; then each image holds 1000·y + x where the beam was, zeros elsewhere."""

    def __init__(self):
        self.ns = 0
        self.running = self.stopped = False
        self.hangs = False

    def clock(self):
        return self.ns

    def sleep(self, seconds):
        self.ns += round(seconds * 1e9)

    def upload(self, xy, size, dwell_us):
        assert xy.dtype == np.int32
        assert xy.min() >= 0
        assert np.all(xy.max(axis=0) < size)
        self.xy, self.size, self.dwell_us = xy, size, dwell_us
        return dwell_us

    def start(self):
        self.running, self.began = True, self.ns

    def busy(self):
        return self.hangs or (self.running and self.ns - self.began < len(self.xy) * self.dwell_us * 1e3)

    def image(self, name):
        out = np.zeros(self.size[::-1], np.float32)
        out[self.xy[:, 1], self.xy[:, 0]] = 1000 * self.xy[:, 1] + self.xy[:, 0]
        return out

    def stop(self):
        self.running, self.stopped = False, True

    def close(self):
        pass


def instrument_of():
    fake = FakeGenerator()
    return DirectElectronInstrument(CONFIG, client=fake, clock_ns=fake.clock, sleep=fake.sleep), fake


def path_of(pattern, *, settle=None):
    return expand(PathRecipe(pattern=pattern, shape=(32, 32), fov_nm=20.0, dwell_us=50.0, settle=settle))


def test_samples_come_in_the_order_of_the_path_when_the_frame_is_over():
    instrument, fake = instrument_of()
    path = path_of(Archimedean(turn_spacing_px=4.0))
    instrument.begin(path, 0, 0)
    assert instrument.read(10) is None
    fake.sleep(path.duration_us * 1e-6)
    blocks = []
    while (block := instrument.read(100)) is not None:
        blocks.append(block)
    values = np.concatenate([block.values for block in blocks], axis=1)
    np.testing.assert_array_equal(values[0], 1000 * fake.xy[:, 1] + fake.xy[:, 0])
    assert len(values[0]) == path.count
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


def test_blanked_moves_and_unequal_dwells_are_refused_with_what_to_do():
    instrument, _ = instrument_of()
    with pytest.raises(InvalidInput, match="settle: null"):
        instrument.begin(path_of(JitteredGrid(points=50), settle=Settle(time_constant_us=5.0)), 0, 0)
    unequal = Points.from_array(np.array([[0.1, 0.1, 1.0], [0.2, 0.2, 2.0]]), jump_px=1e9)
    with pytest.raises(InvalidInput, match="one dwell for all"):
        instrument.begin(path_of(unequal), 0, 0)


def test_blanking_stops_the_acquisition():
    instrument, fake = instrument_of()
    instrument.begin(path_of(Archimedean(turn_spacing_px=4.0)), 0, 0)
    instrument.blank()
    assert fake.stopped
    assert instrument.read(10) is None


def test_a_server_that_never_finishes_is_one_clear_message():
    instrument, fake = instrument_of()
    fake.hangs = True
    path = path_of(Archimedean(turn_spacing_px=4.0))
    instrument.begin(path, 0, 0)
    fake.sleep(path.duration_us * 1e-6 + 1.1)
    with pytest.raises(LinkError, match="late with a frame"):
        instrument.read(10)
    assert fake.stopped


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "deapi", None)
    with pytest.raises(InvalidInput, match="pip install deapi"):
        DeapiClient(CONFIG)


def test_nobody_at_the_address_is_one_clear_message():
    class Client:
        def connect(self, host, port):
            raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(LinkError, match=r"server at 127\.0\.0\.1:9: ConnectionRefusedError"):
        DeapiClient(msgspec.structs.replace(CONFIG, port=9), types.SimpleNamespace(Client=Client))
