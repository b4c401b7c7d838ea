"""Thousands of commands against a packer written from the protocol's table alone; none of it is our encoder's.

First byte ``opcode << 4 | flags``, then unsigned 16-bit big-endian words; counts travel less one. The table is that of
``docs/reference/obi.md``.
"""

from __future__ import annotations

import itertools
import struct

from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import Beam, CommandParser, OutputMode

WORDS = (0, 1, 2, 127, 128, 255, 256, 0x0FFF, 0x3FFF, 0x8000, 0xFFFE, 0xFFFF)
CODES = tuple(word for word in WORDS if word < 1 << 14)


def packed(opcode: int, flags: int, *words: int) -> bytes:
    return bytes([opcode << 4 | flags]) + struct.pack(f">{len(words)}H", *words)


def vectors():
    for cookie, (mode, bits), raster in itertools.product(
        WORDS, ((OutputMode.SIXTEEN_BIT, 0), (OutputMode.EIGHT_BIT, 1), (OutputMode.NONE, 2)), (False, True)
    ):
        yield obi.Synchronize(cookie, mode, raster=raster), packed(0, bits << 1 | raster, cookie)
    yield obi.Abort(), packed(1, 0)
    yield obi.Flush(), packed(2, 0)
    for enable in (False, True):
        yield obi.ExternalCtrl(enable=enable), packed(3, enable)
    for beam, bits in ((Beam.NONE, 0), (Beam.ELECTRON, 1), (Beam.ION, 2)):
        yield obi.BeamSelect(beam), packed(4, bits)
    for enable, inline in itertools.product((False, True), repeat=2):
        yield obi.Blank(enable=enable, inline=inline), packed(5, inline << 1 | enable)
    for word in WORDS:
        yield obi.Delay(word), packed(6, 0, word)
        yield obi.RasterPixelFill(word), packed(9, 0, word)
        yield obi.RasterPixel(word), packed(11, 0, word)
        yield obi.RasterPixelFreeRun(word), packed(13, 0, word)
        for count in (1, 2, 255, 256, 257, 65535, 65536):
            yield obi.RasterPixelRun(count, word), packed(12, 0, count - 1, word)
    for x, y in itertools.product(CODES, repeat=2):
        yield obi.VectorPixelMinDwell(x, y), packed(15, 0, x, y)
        for dwell in WORDS:
            yield obi.VectorPixel(x, y, dwell), packed(14, 0, x, y, dwell)
    for words in itertools.product(CODES[:3], WORDS[-3:], WORDS[4:6], CODES[:3], WORDS[-3:], WORDS[4:6]):
        yield obi.RasterRegion(*words), packed(10, 0, *words)


VECTORS = list(vectors())


def test_every_command_is_packed_as_the_table_says():
    wrong = [(command, data) for command, data in VECTORS if command.encode() != data]
    assert wrong == []
    assert len(VECTORS) > 1512
    assert len({data[0] >> 4 for _, data in VECTORS}) == 14  # all but arrays, which hold others


def test_one_stream_of_them_all_is_read_back_alike_in_pieces_of_any_size():
    stream = b"".join(data for _, data in VECTORS)
    for size in (1, 2, 3, 7, 1000, len(stream)):
        parser, found = CommandParser(), []
        for at in range(0, len(stream), size):
            found += parser.feed(stream[at : at + size])
        assert found == [command for command, _ in VECTORS]
