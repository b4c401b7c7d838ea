"""The simulated OBI server on a socket, and the microscope behind it."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from instrument_tools import path_of, read_all

from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.drivers.obi import ObiConfig, ObiInstrument
from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import averaged_cycles
from scancontrol.units import ELECTRONS_PER_PA_US
from simulators.column.beam import BeamConfig
from simulators.column.coils import CoilConfig
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig
from simulators.obi.column import MicroscopeColumn
from simulators.obi.device import Loopback, ObiDevice, Pixels
from simulators.obi.server import ObiServer, parse_address
from simulators.specimens.library import GoldOnCarbon

QUIET = DetectorConfig(counts_per_electron=200.0, offset_counts=100.0, read_noise_counts=0.0)


def connect(address: str) -> socket.socket:
    connection = socket.create_connection(parse_address(address), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += connection.recv(count - len(data))
    return data


def test_pixels_are_held_back_until_a_packet_is_full_or_flushed(obi_server):
    address, _ = obi_server()
    pixels = obi.Array(obi.Opcode.VECTOR_PIXEL_MIN_DWELL, np.ones((300, 2), np.uint16)).encode()
    with connect(address) as connection:
        connection.sendall(pixels)
        assert len(exactly(connection, 512)) == 512
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(obi.Flush().encode())
        assert len(exactly(connection, 88)) == 88


def test_a_second_client_takes_the_first_ones_place_and_finds_the_pipe_empty(obi_server):
    address, device = obi_server()
    with connect(address) as first, connect(address) as second:
        assert first.recv(1) == b""
        second.sendall(obi.RasterPixel(0).encode() + obi.Flush().encode())  # no region: stalls
        second.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.recv(1)
        assert device.stalled
        with connect(address) as third:
            third.sendall(obi.Synchronize(8).encode())
            assert exactly(third, 4) == bytes.fromhex("ffff0008")


def test_the_device_keeps_its_own_time(obi_server):
    address, _ = obi_server(realtime=True)
    with connect(address) as connection:
        connection.sendall(obi.Synchronize(2).encode() + obi.Delay(48000).encode() * 400 + obi.Synchronize(4).encode())
        exactly(connection, 4)
        connection.settimeout(0.03)  # 400 ms of delay are not over
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        assert exactly(connection, 4) == bytes.fromhex("ffff0004")


def test_an_address_in_use_is_one_clear_message(obi_server):
    address, _ = obi_server()
    with pytest.raises(LinkError, match="cannot listen on tcp"):
        ObiServer(ObiDevice(Loopback()), address)


@pytest.mark.parametrize("address", ["127.0.0.1:2224", "tcp://127.0.0.1", "tcp://:99999", "ipc:///tmp/x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidInput, match="tcp://HOST:PORT"):
        parse_address(address)


def pixels_of(x, y, cycles, lit=True) -> Pixels:
    cycles = np.asarray(cycles)
    return Pixels(np.asarray(x), np.asarray(y), cycles, np.full(len(cycles), lit))


def column(**changes) -> MicroscopeColumn:
    config = {"specimen": GoldOnCarbon(size_nm=10.0), "beam": BeamConfig(current_pa=100.0), "detectors": (QUIET,)}
    return MicroscopeColumn(SimulatorConfig(**{**config, **changes}), field_nm=10.0)


@pytest.mark.slow
def test_the_whole_dwell_is_dose_although_only_its_first_power_of_two_is_averaged():
    microscope = column()
    cycles = np.array([11, 8, 1, 65536, 3])
    microscope.expose(pixels_of(np.full(5, 8000), np.full(5, 8000), cycles))
    assert microscope.electrons == pytest.approx(cycles.sum() * 0.125 * 100.0 * ELECTRONS_PER_PA_US, rel=1e-6)
    assert microscope.dose.electrons.sum() == pytest.approx(microscope.electrons, rel=1e-6)


@pytest.mark.slow
def test_a_blanked_pixel_gives_the_offset_and_no_dose():
    microscope = column()
    values = microscope.expose(pixels_of(np.arange(50) * 300, np.full(50, 9000), np.full(50, 8), lit=False))
    assert set(values.tolist()) == {100}
    assert microscope.electrons == 0


@pytest.mark.slow
def test_noise_falls_with_the_averaged_part_of_the_dwell_only():
    n = 4000
    spread = {}
    for dwell in (8, 15, 16):
        values = column().expose(pixels_of(np.full(n, 8192), np.full(n, 8192), np.full(n, dwell)))
        spread[dwell] = values.std()
        assert values.mean() > 150  # the beam is on something
    assert averaged_cycles(np.array([15]))[0] == 8
    assert spread[15] == pytest.approx(spread[8], rel=0.1)
    assert spread[16] == pytest.approx(spread[8] / np.sqrt(2), rel=0.1)


@pytest.mark.slow
def test_a_beam_left_on_burns_where_it_stands():
    microscope = column()
    microscope.expose(pixels_of([1000], [1000], [8]))
    microscope.wait(1000.0, lit=True)
    assert microscope.dose.electrons.max() == pytest.approx(1001 * 100 * ELECTRONS_PER_PA_US, rel=1e-6)
    microscope.wait(1000.0, lit=False)
    assert microscope.electrons == pytest.approx(1001 * 100 * ELECTRONS_PER_PA_US, rel=1e-6)


@pytest.mark.slow
def test_coils_that_lag_shift_the_image_along_the_line():
    x = np.arange(0, 16384, 64)
    y = np.full(len(x), 8192)
    images = []
    for tau_us in (0.0, 2.0):
        microscope = column(coils=CoilConfig(time_constant_us=tau_us), beam=BeamConfig(current_pa=1e4))
        microscope.expose(pixels_of([0], [8192], [64]))
        images.append(microscope.expose(pixels_of(x, y, np.full(len(x), 8))).astype(float))
    shifts = range(6)
    agreement = [np.corrcoef(images[0][: 250 - s], images[1][s:250])[0, 1] for s in shifts]
    assert int(np.argmax(agreement)) == 2  # 2 µs at 1 µs a pixel


@pytest.mark.slow
def test_the_driver_sees_the_specimen_through_the_server(obi_server):
    address, device = obi_server(column())
    instrument = ObiInstrument(ObiConfig(address=address))
    path = path_of(dwell_us=1.0, shape=(64, 64))
    instrument.begin(path, 0, 0)
    values, _ = read_all(instrument, path.count)
    image = values.reshape(64, 64) / 4
    assert image.min() >= 100
    assert image.std() > 20
    instrument.close()
    assert not device.lit
