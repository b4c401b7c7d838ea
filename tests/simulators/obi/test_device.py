"""The simulated OBI device does what a client can observe of the gateware."""

from __future__ import annotations

import numpy as np
import pytest

from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import CommandParser, OutputMode, averaged_cycles
from simulators.obi.device import Loopback, ObiDevice


def reply(device: ObiDevice, *commands: obi.Command) -> bytes:
    """Encode, parse and execute; all bytes that come back."""
    data = b"".join(command.encode() for command in commands)
    return b"".join(
        step.reply for command in CommandParser().feed(data) if not device.stalled for step in device.execute(command)
    )


def words(data: bytes) -> list[int]:
    return np.frombuffer(data, ">u2").tolist()


class Ramp:
    """An ADC that counts its own cycles, averaged as the supersampler does it; remembers what was lit."""

    def __init__(self) -> None:
        self.count = 0
        self.lit: list[bool] = []

    def expose(self, pixels):
        starts = self.count + np.cumsum(pixels.cycles) - pixels.cycles
        self.count += int(pixels.cycles.sum())
        self.lit += pixels.lit.tolist()
        return (starts + (averaged_cycles(pixels.cycles) - 1) // 2).astype(np.uint16)

    def wait(self, duration_us, *, lit):
        pass


def test_loopback_returns_the_x_code_shifted_by_two():
    points = np.array([[n, n + 1, 1] for n in range(1, 11)], np.uint16)
    data = reply(
        ObiDevice(Loopback()), obi.Synchronize(123 * 256 + 234), obi.Array(obi.Opcode.VECTOR_PIXEL, points), obi.Flush()
    )
    assert data[:4] == bytes([0xFF, 0xFF, 123, 234])
    assert words(data[4:]) == [n << 2 for n in range(1, 11)]


def test_loopback_of_a_raster_pixel_is_its_dwell_code():
    region = obi.RasterRegion(0, 5, 256, 5, 10, 256)
    assert words(reply(ObiDevice(Loopback()), region, obi.RasterPixel(9))) == [9 << 2]


def test_a_raster_run_wraps_at_the_line_and_mixes_with_vector_pixels():
    region = obi.RasterRegion(0, 5, 256, 5, 10, 256)
    run, point = obi.RasterPixelRun(7, 2), obi.VectorPixel(99, 1, 2)
    assert words(reply(ObiDevice(Loopback()), region, run, point, run)) == [
        x << 2 for x in [0, 1, 2, 3, 4, 0, 1, 99, 2, 3, 4, 0, 1, 2, 3]
    ]


def test_raster_positions_follow_the_8_8_accumulator():
    pixels = 100
    step = obi.raster_step(pixels)
    data = reply(ObiDevice(Loopback()), obi.RasterRegion(3, pixels, step, 0, 1, step), obi.RasterPixelFill(0))
    assert words(data) == [(((3 << 8) + k * step) >> 8) << 2 for k in range(pixels)]


def test_fill_ends_with_the_region_and_does_nothing_without_one():
    device = ObiDevice(Loopback())
    region = obi.RasterRegion(0, 5, 256, 0, 2, 256)
    assert len(reply(device, region, obi.RasterPixelRun(3, 0), obi.RasterPixelFill(0), obi.RasterPixelFill(0))) == 20
    assert not device.stalled


def test_a_raster_pixel_beyond_the_region_stalls_the_device_for_good():
    device = ObiDevice(Loopback())
    region = obi.RasterRegion(0, 5, 256, 0, 1, 256)
    data = reply(device, region, obi.RasterPixelRun(9, 0), obi.Abort(), region, obi.RasterPixelFill(0))
    assert len(data) == 10  # five pixels of two bytes, and nothing after
    assert device.stalled
    device.reset_pipe()
    assert len(reply(device, region, obi.RasterPixelFill(0))) == 10


def test_a_free_run_repeats_the_region_until_the_next_command():
    device = ObiDevice(Loopback())
    reply(device, obi.RasterRegion(0, 3, 256, 0, 1, 256), obi.RasterPixelFreeRun(0))
    assert device.free_running
    assert words(device.run_free().reply + device.run_free().reply) == [0, 4, 8, 0, 4, 8]
    assert reply(device, obi.Synchronize(2)) == b"\xff\xff\x00\x02"
    assert not device.free_running


@pytest.mark.parametrize(("dwell", "expected"), [(0, 0), (1, 0.5), (3, 1.5), (7, 3.5), (10, 3.5)])
def test_a_dwell_averages_its_first_power_of_two_of_cycles(dwell, expected):
    column = Ramp()
    (value,) = words(reply(ObiDevice(column), obi.VectorPixel(0, 0, dwell)))
    assert value >> 2 == int(expected)
    assert column.count == dwell + 1  # the specimen is exposed for all of them


def test_sync_frames_are_16_bit_whatever_the_mode_before_and_after():
    device = ObiDevice(Loopback())
    point = obi.VectorPixel(0x3FFF, 0, 0)
    data = reply(
        device,
        obi.Synchronize(2, OutputMode.EIGHT_BIT),
        point,
        obi.Synchronize(4, OutputMode.NONE),
        point,
        obi.Synchronize(6, OutputMode.SIXTEEN_BIT),
        point,
    )
    assert data == bytes.fromhex("ffff0002 ff ffff0004 ffff0006 fffc")


def test_inline_blanking_acts_with_the_next_pixel_and_plain_blanking_after_the_last():
    column = Ramp()
    device = ObiDevice(column)
    point = obi.VectorPixel(0, 0, 0)
    reply(device, obi.ExternalCtrl(enable=True), obi.BeamSelect(obi.Beam.ELECTRON), point)
    reply(device, obi.Blank(enable=False, inline=True))
    assert not device.lit  # nothing happens before a pixel comes
    reply(device, point, point, obi.Blank(enable=True))
    assert not device.lit
    reply(device, point)
    assert column.lit == [False, True, True, False]


def test_it_powers_up_blanked_once_control_is_taken():
    device = ObiDevice(Ramp())
    reply(device, obi.ExternalCtrl(enable=True), obi.BeamSelect(obi.Beam.ELECTRON))
    assert not device.lit


def test_an_array_of_a_command_that_does_not_exist_locks_the_executor():
    device = ObiDevice(Loopback())
    list(device.execute(next(CommandParser().feed(b"\x87\x00\x03"))))
    assert device.stalled


def test_an_array_of_delays_takes_the_time_of_each():
    device = ObiDevice(Loopback())
    (array,) = CommandParser().feed(bytes.fromhex("86 00 01 0030 0060"))
    assert sum(step.duration_us for step in device.execute(array)) == pytest.approx(3.0)


def test_a_step_never_lasts_much_longer_than_two_milliseconds():
    points = np.full((1000, 3), 799, np.uint16)  # 100 µs each
    device = ObiDevice(Loopback())
    steps = list(device.execute(obi.Array(obi.Opcode.VECTOR_PIXEL, points)))
    assert sum(step.duration_us for step in steps) == pytest.approx(100_000)
    assert max(step.duration_us for step in steps) <= 2000
