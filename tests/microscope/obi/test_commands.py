"""The OBI byte protocol: golden bytes for every opcode, both ways, and what a reader makes of a bad stream."""

from __future__ import annotations

import numpy as np
import pytest

from scancontrol.errors import InvalidInput, RemoteProtocolError
from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import CommandParser, OutputMode
from scancontrol.microscope.obi.replies import ReplyReader, encode_pixels, sync_frame

GOLDEN = [
    (obi.Synchronize(0x1234, OutputMode.SIXTEEN_BIT, raster=True), "01 12 34"),
    (obi.Synchronize(0x1234, OutputMode.EIGHT_BIT), "02 12 34"),
    (obi.Synchronize(0x1234, OutputMode.NONE), "04 12 34"),
    (obi.Abort(), "10"),
    (obi.Flush(), "20"),
    (obi.ExternalCtrl(enable=True), "31"),
    (obi.ExternalCtrl(enable=False), "30"),
    (obi.BeamSelect(obi.Beam.ELECTRON), "41"),
    (obi.BeamSelect(obi.Beam.NONE), "40"),
    (obi.Blank(enable=True), "51"),
    (obi.Blank(enable=False, inline=True), "52"),
    (obi.Delay(960), "60 03 c0"),
    (obi.RasterPixelFill(7), "90 00 07"),
    (obi.RasterRegion(0, 2048, 2048, 0, 2048, 2048), "a0 0000 0800 0800 0000 0800 0800"),
    (obi.RasterPixel(7), "b0 00 07"),
    (obi.RasterPixelRun(65536, 7), "c0 ff ff 00 07"),
    (obi.RasterPixelFreeRun(7), "d0 00 07"),
    (obi.VectorPixel(16383, 1, 7), "e0 3f ff 00 01 00 07"),
    (obi.VectorPixelMinDwell(16383, 1), "f0 3f ff 00 01"),
]


@pytest.mark.parametrize(("command", "text"), GOLDEN, ids=lambda value: getattr(value, "__class__", value).__name__)
def test_every_opcode_has_its_golden_bytes_in_both_directions(command, text):
    data = bytes.fromhex(text)
    assert command.encode() == data
    assert list(CommandParser().feed(data)) == [command]


def test_an_array_of_three_vector_pixels_has_its_golden_bytes_in_both_directions():
    payload = np.array([[1, 2, 3], [16383, 0, 65535], [7, 8, 9]], np.uint16)
    data = bytes.fromhex("8e 00 02 000100020003 3fff0000ffff 000700080009")
    assert obi.Array(obi.Opcode.VECTOR_PIXEL, payload).encode() == data
    (array,) = CommandParser().feed(data)
    assert array.of == obi.Opcode.VECTOR_PIXEL
    np.testing.assert_array_equal(array.payload, payload)


def test_an_array_of_shortest_pixels_takes_four_bytes_a_point():
    payload = np.arange(20, dtype=np.uint16).reshape(10, 2)
    assert len(obi.Array(obi.Opcode.VECTOR_PIXEL_MIN_DWELL, payload).encode()) == 3 + 10 * 4


def test_the_parser_reads_the_same_commands_one_byte_at_a_time():
    stream = b"".join(command.encode() for command, _ in GOLDEN)
    parser, found = CommandParser(), []
    for byte in stream:
        found += parser.feed(bytes([byte]))
    assert found == [command for command, _ in GOLDEN]


def test_an_array_is_handed_out_as_its_points_arrive():
    payload = np.arange(12, dtype=np.uint16).reshape(4, 3)
    data = obi.Array(obi.Opcode.VECTOR_PIXEL, payload).encode()
    parser = CommandParser()
    pieces = [piece for k in range(0, len(data), 5) for piece in parser.feed(data[k : k + 5])]
    assert len(pieces) > 1
    np.testing.assert_array_equal(np.concatenate([piece.payload for piece in pieces]), payload)
    assert list(parser.feed(b"\x20")) == [obi.Flush()]


def test_the_unassigned_opcode_is_passed_over_byte_by_byte():
    parser = CommandParser()
    assert list(parser.feed(b"\x70\x7f\x20")) == [obi.Flush()]
    assert parser.ignored_bytes == 2


@pytest.mark.parametrize("command", [obi.VectorPixel(1 << 16, 0, 0), obi.RasterPixelRun(0, 1), obi.Delay(-1)])
def test_a_field_that_does_not_fit_its_word_is_refused(command):
    with pytest.raises(InvalidInput, match="does not fit 16 bits"):
        command.encode()


def test_a_raster_step_below_65_pixels_does_not_fit():
    assert obi.raster_step(2048) == 2048
    assert obi.raster_step(65) <= 0xFFFF
    with pytest.raises(InvalidInput, match="65 or more"):
        obi.raster_step(64)


def test_only_the_largest_power_of_two_of_a_dwell_is_averaged():
    cycles = np.array([1, 2, 3, 4, 7, 8, 11, 65535, 65536])
    np.testing.assert_array_equal(obi.averaged_cycles(cycles), [1, 2, 2, 4, 4, 8, 8, 32768, 65536])


def test_pixels_are_shifted_by_two_big_endian_or_their_high_byte():
    codes = np.array([1, 0x3FFF])
    assert encode_pixels(codes, OutputMode.SIXTEEN_BIT) == bytes.fromhex("0004 fffc")
    assert encode_pixels(codes, OutputMode.EIGHT_BIT) == bytes.fromhex("00 ff")
    assert encode_pixels(codes, OutputMode.NONE) == b""


def test_a_sync_frame_is_found_in_a_stream_whose_past_is_unknown():
    reader = ReplyReader()
    reader.expect_sync(0x7BEA, OutputMode.SIXTEEN_BIT, None)
    stream = encode_pixels(np.arange(300), OutputMode.SIXTEEN_BIT)[:-1] + bytes.fromhex("ff ff 7b ea 00 04")
    for byte in stream:
        reader.feed(bytes([byte]))
    assert not reader.synchronising
    assert reader.discarded_bytes == 599
    assert reader.take(10).tolist() == [4]


def test_in_8_bit_mode_owed_bytes_are_counted_so_that_pixels_never_look_like_a_sync_frame():
    reader = ReplyReader()
    reader.expect_sync(2, OutputMode.EIGHT_BIT, 0)
    reader.feed(sync_frame(2))
    reader.expect_sync(0x0102, OutputMode.SIXTEEN_BIT, 4)
    reader.feed(b"\xff\xff\x01\x02")  # four saturated or dark pixels
    assert reader.synchronising
    reader.feed(sync_frame(0x0102))
    assert not reader.synchronising


def test_half_a_sync_frame_keeps_the_reader_waiting():
    reader = ReplyReader()
    reader.expect_sync(0x1234, OutputMode.SIXTEEN_BIT, 0)
    reader.feed(b"\xff\xff\x12")
    assert reader.synchronising
    reader.feed(b"\x34")
    assert not reader.synchronising


def test_anything_else_where_the_sync_frame_must_be_is_an_error():
    reader = ReplyReader()
    reader.expect_sync(0x1234, OutputMode.SIXTEEN_BIT, 0)
    with pytest.raises(RemoteProtocolError, match="sync frame ff ff 12 34"):
        reader.feed(b"HTTP")


def test_a_16_bit_pixel_with_low_bits_set_is_an_error():
    reader = ReplyReader()
    reader.feed(bytes.fromhex("0004 0005"))
    with pytest.raises(RemoteProtocolError, match="0x0005"):
        reader.take(2)
