"""The OBI driver against the simulated device, over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from instrument_duties import InstrumentDuties, Stand, Timed
from instrument_tools import path_of, read_all

from benchmarks.chaos.relay import RELAY_HOST, Relay
from scancontrol.errors import InvalidInput, LinkError, RemoteProtocolError
from scancontrol.microscope.drivers.obi import ObiConfig, ObiInstrument
from scancontrol.microscope.drivers.obi_stretches import encode, field_codes
from scancontrol.microscope.obi.commands import averaged_cycles
from scancontrol.microscope.obi.replies import sync_frame
from scancontrol.paths.patterns.jittered import JitteredGrid
from scancontrol.paths.patterns.points import Points
from scancontrol.paths.timing import Settle
from scancontrol.units import ELECTRONS_PER_PA_US


def x_counts(path):
    return field_codes(path.positions, path.shape, path.fov_nm, None)[:, 0] * 4


class Recorder:
    """A column that counts every ADC cycle and keeps what was lit; the ADC is a ramp in time."""

    def __init__(self):
        self.cycles = 0
        self.lit_cycles = 0
        self.pixels = []

    def expose(self, pixels):
        starts = self.cycles + np.cumsum(pixels.cycles) - pixels.cycles
        self.cycles += int(pixels.cycles.sum())
        self.lit_cycles += int(pixels.cycles[pixels.lit].sum())
        self.pixels += list(zip(pixels.x.tolist(), pixels.cycles.tolist(), pixels.lit.tolist(), strict=True))
        return ((starts + (averaged_cycles(pixels.cycles) - 1) / 2) % 16384).astype(np.uint16)

    def wait(self, duration_us, *, lit):
        pass


@pytest.mark.parametrize("output", ["16-bit", "8-bit"])
def test_a_frame_comes_back_sample_for_sample_in_loopback(obi_server, output):
    address, _ = obi_server()
    instrument = ObiInstrument(ObiConfig(address=address, output=output))
    path = path_of(shape=(64, 64))
    instrument.begin(path, 0, 0)
    values, electrons = read_all(instrument, path.count)
    expected = x_counts(path) if output == "16-bit" else x_counts(path) & 0xFF00
    np.testing.assert_array_equal(values, expected)
    assert electrons == pytest.approx(path.electrons(20.0))
    instrument.close()


def test_frames_follow_one_another_and_a_frame_can_begin_in_the_middle(obi_server):
    address, _ = obi_server()
    instrument = ObiInstrument(ObiConfig(address=address))
    path = path_of()
    for frame, first in ((0, 0), (1, 300), (2, 0)):
        instrument.begin(path, first, frame)
        values, _ = read_all(instrument, path.count - first)
        np.testing.assert_array_equal(values, x_counts(path)[first:])
        assert instrument.read(10) is None
    instrument.close()


def test_blanked_moves_are_made_without_beam_and_their_values_are_left_out(obi_server):
    column = Recorder()
    address, device = obi_server(column)
    settle = Settle(time_constant_us=2.0, tolerance_px=0.25)
    path = path_of(JitteredGrid(points=64, seed=3), settle=settle)
    assert np.count_nonzero(path.move_us) > 10
    instrument = ObiInstrument(ObiConfig(address=address))
    instrument.begin(path, 0, 0)
    values, electrons = read_all(instrument, path.count)
    assert len(values) == path.count
    assert column.lit_cycles == round(path.exposure_us * 8)
    assert column.cycles - column.lit_cycles == np.ceil(path.move_us * 8 - 1e-9).sum()
    assert electrons == pytest.approx(path.electrons(20.0))
    instrument.close()
    assert not device.lit


def test_a_dwell_of_eleven_cycles_is_measured_whole_when_split_and_in_part_by_the_hardware(obi_server):
    results = {}
    for averaging in ("split", "hardware"):
        column = Recorder()
        address, _ = obi_server(column)
        instrument = ObiInstrument(ObiConfig(address=address, averaging=averaging))
        path = path_of(dwell_us=11 / 8, shape=(8, 8))
        instrument.begin(path, 0, 0)
        results[averaging], _ = read_all(instrument, path.count)
        assert column.lit_cycles == 11 * path.count
        instrument.close()
    first_cycle = 11 * np.arange(64)
    np.testing.assert_allclose(results["split"], 4 * (first_cycle + 5), atol=3)  # the mean of 0 … 10
    np.testing.assert_allclose(results["hardware"], 4 * (first_cycle + 3.5), atol=2.1)  # the mean of 0 … 7


def test_the_hardware_average_is_announced_with_the_dose_it_loses(obi_server, caplog):
    address, _ = obi_server()
    instrument = ObiInstrument(ObiConfig(address=address, averaging="hardware"))
    instrument.begin(path_of(dwell_us=11 / 8), 0, 0)
    assert "27 % of the dose will not be measured" in caplog.text
    instrument.close()


def test_after_blanking_exposed_samples_are_handed_out_and_the_frame_goes_on_without_a_second_exposure(obi_server):
    column = Recorder()
    address, device = obi_server(column, realtime=True)
    instrument = ObiInstrument(ObiConfig(address=address, latency_ms=0.5, in_flight_ms=2))
    path = path_of(dwell_us=8.0, shape=(64, 64))
    instrument.begin(path, 0, 0)
    done, _ = read_all(instrument, 100)
    instrument.blank()
    while (block := instrument.read(1000)) is not None:
        done = np.concatenate([done, block.values[0]])
    assert not device.lit
    assert len(done) < path.count
    exposed = column.lit_cycles
    assert exposed == len(done) * 64
    instrument.begin(path, len(done), 0)
    rest, _ = read_all(instrument, 200)
    instrument.blank()
    instrument.close()
    ramp = np.concatenate([done, rest])[:300]
    np.testing.assert_array_equal(ramp, (np.arange(300) * 64 + 31) % 16384 * 4)


@pytest.mark.slow
def test_the_beam_is_off_within_the_time_in_flight_when_the_host_falls_silent(obi_server):
    column = Recorder()
    address, device = obi_server(column, realtime=True)
    instrument = ObiInstrument(ObiConfig(address=address, latency_ms=1, in_flight_ms=4))
    path = path_of(dwell_us=100.0, shape=(64, 64))
    instrument.begin(path, 0, 0)
    instrument.read(10)  # commands the first stretches; then the host sends nothing more
    deadline = time.monotonic() + 2
    while (device.lit or not column.pixels) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert not device.lit
    assert column.lit_cycles * 0.125 <= 5000
    instrument.close()


def test_another_frame_drops_what_was_in_flight_and_stays_in_step(obi_server):
    address, _ = obi_server()
    instrument = ObiInstrument(ObiConfig(address=address, output="8-bit"))
    path = path_of(shape=(64, 64))
    instrument.begin(path, 0, 0)
    read_all(instrument, 10)
    instrument.blank()
    other = path_of(Points.from_array(np.array([[0.9, 0.999], [0.2, 0.999], [0.3, 0.001]])))
    instrument.begin(other, 0, 1)
    values, _ = read_all(instrument, 3)
    assert values.tolist() == (x_counts(other) & 0xFF00).tolist()
    instrument.close()


def test_the_field_of_a_wide_frame_fills_the_dacs_and_keeps_square_pixels():
    codes = field_codes(np.array([[0.0, 0.0], [0.5, 0.5]]), (32, 64), 20.0, None)
    assert codes.tolist() == [[0, 4096], [8192, 8192]]


def test_a_field_larger_than_the_dacs_cover_is_refused():
    with pytest.raises(InvalidInput, match="above the field that the DACs cover, 10"):
        field_codes(np.zeros((1, 2)), (32, 32), 20.0, 10.0)


def test_a_long_move_takes_several_pixels_and_one_sample():
    stretch = encode(np.array([[1, 2], [3, 4]]), np.array([4, 4]), np.array([0, 70000]), split=True)
    assert stretch.reply_end.tolist() == [1, 4]
    assert stretch.weight.tolist() == [4, 0, 0, 4]
    assert stretch.device_us == (4 + 70000 + 4) / 8
    assert stretch.values(np.array([8, 9, 9, 16], np.uint16), 0, 2).tolist() == [8, 16]


def test_shortest_dwells_travel_in_four_bytes_a_point():
    n = 1000
    stretch = encode(np.zeros((n, 2), np.int64), np.ones(n, np.int64), np.zeros(n, np.int64), split=True)
    assert len(stretch.data) == 4 + 4 * n + 2


class Peer:
    """A listener that plays a device which misbehaves: ``script(connection)`` runs in a thread."""

    def __init__(self, script):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(script,))
        self._thread.start()

    def _run(self, script):
        connection, _ = self._listener.accept()
        with connection:
            try:
                script(connection)
                self._done.wait(5)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._done.set()
        self._thread.join()
        self._listener.close()


def answer_syncs(connection, times=2):
    """Answer ``times`` Synchronize commands as a device does."""
    data = b""
    answered = 0
    while answered < times:
        data += connection.recv(4096)
        for at in range(len(data) - 3):  # the driver sends a Flush, 0x20, after each
            if data[at] in (0, 2) and data[at + 3] == 0x20:
                connection.sendall(sync_frame(int.from_bytes(data[at + 1 : at + 3], "big")))
                data = data[at + 4 :]
                answered += 1
                break


def test_a_device_that_goes_away_in_mid_frame_leaves_its_electrons_told(obi_server):
    address, _ = obi_server(realtime=True)
    instrument = ObiInstrument(ObiConfig(address=address))
    host, port = address.removeprefix("tcp://").split(":")
    path = path_of(dwell_us=100.0)
    instrument.begin(path, 0, 0)
    timed = Timed(instrument)
    done = sum(block.values.shape[1] for block in timed.blocks(20))
    with socket.create_connection((host, int(port))):
        blocks: list = []
        with pytest.raises(LinkError, match=r"closed the connection|lost the OBI device"):
            timed.blocks(path.count, into=blocks)
    more = sum(block.values.shape[1] for block in blocks)
    assert done + more < path.count
    told = sum(block.electrons for block in blocks)
    of_samples = float(path.chunk(done, more).dwell_us.sum()) * 20.0 * ELECTRONS_PER_PA_US
    assert told > of_samples + 100.0 * 20.0 * ELECTRONS_PER_PA_US  # of samples that were commanded and will never come


class TestDuties(InstrumentDuties):
    """Against the simulated device in real time, through a relay that can be cut."""

    @pytest.fixture
    def stand(self, obi_server):
        address, device = obi_server(realtime=True)
        port = int(address.rsplit(":", 1)[1])
        with closing(Relay()) as relay:
            relay.listen({port})
            instrument = ObiInstrument(ObiConfig(address=f"tcp://{RELAY_HOST}:{port}", answer_timeout_s=1.0))
            yield Stand(instrument, lambda: device.lit, relay.stall, lambda path: x_counts(path)[None])
            relay.mend()
            instrument.close()


CONFIG = {"answer_timeout_s": 0.1}


def test_nobody_at_the_address_is_one_clear_message():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(LinkError, match=r"no OBI server at tcp://127\.0\.0\.1:\d+ \(Connection refused\)"):
        ObiInstrument(ObiConfig(address=address, **CONFIG))


def test_an_address_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match="tcp://HOST:PORT"):
        ObiInstrument(ObiConfig(address="localhost:2224"))


@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"\xff\xff\x12"])
def test_a_peer_that_never_answers_the_sync_is_named(garbage):
    with Peer(lambda connection: connection.sendall(garbage)) as peer, pytest.raises(LinkError, match="did not answer"):
        ObiInstrument(ObiConfig(address=peer.address, **CONFIG))


def test_a_peer_that_closes_in_the_middle_of_a_sync_frame_is_named():
    def script(connection):
        connection.sendall(b"\xff\xff")
        connection.shutdown(socket.SHUT_RDWR)

    with Peer(script) as peer, pytest.raises(LinkError, match=r"closed the connection|lost the OBI device"):
        ObiInstrument(ObiConfig(address=peer.address, **CONFIG))


@pytest.mark.parametrize(
    ("after", "error", "message"),
    [
        (b"", LinkError, "has been silent"),
        (b"\x00\x05", RemoteProtocolError, "0x0005"),
        (bytes(200_000), RemoteProtocolError, "values where"),
    ],
)
def test_a_device_that_misbehaves_in_mid_frame_ends_the_frame_with_one_error(after, error, message):
    def script(connection):
        answer_syncs(connection, 3)
        connection.recv(1)
        connection.sendall(after)

    with Peer(script) as peer:
        instrument = ObiInstrument(ObiConfig(address=peer.address, answer_timeout_s=1.0))
        instrument.begin(path_of(), 0, 0)
        with pytest.raises(error, match=message):
            read_all(instrument, 10)
        instrument.blank()  # nothing is left to be blanked, and nothing is raised
        instrument.close()


def test_the_driver_connects_again_when_the_next_frame_begins(obi_server):
    address, _ = obi_server()
    instrument = ObiInstrument(ObiConfig(address=address))
    host, port = address.removeprefix("tcp://").split(":")
    path = path_of()
    with socket.create_connection((host, int(port))):  # a second client takes the first one's place
        instrument.begin(path, 0, 0)
        with pytest.raises(LinkError, match=r"closed the connection|lost the OBI device"):
            read_all(instrument, path.count)
    instrument.begin(path, 0, 1)
    values, _ = read_all(instrument, path.count)
    np.testing.assert_array_equal(values, x_counts(path))
    instrument.close()
