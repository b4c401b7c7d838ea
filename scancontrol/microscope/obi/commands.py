"""The Open Beam Interface's byte protocol downwards: commands as bytes and as values. No sockets, no clocks.

The link is a raw byte pipe without framing. Commands go down: one byte ``opcode << 4 | flags``, then unsigned
16-bit big-endian words; every length is sent as count − 1. Pixels come back in the order of the commands, one
value each. :class:`CommandParser` reads the downward direction as the gateware's parser does (including what it
does with bytes that mean nothing); :mod:`scancontrol.microscope.obi.replies` has the upward direction.

Source: the gateware and host software of nanographs/Open-Beam-Interface (0BSD or Apache-2.0), modules
``command_parser``, ``supersampler``, ``CommandExecutor`` and ``ImageSerializer``, read and not copied.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput

__all__ = [
    "CODES",
    "CYCLE_US",
    "MAX_RUN",
    "Abort",
    "Array",
    "Beam",
    "BeamSelect",
    "Blank",
    "Command",
    "CommandParser",
    "Delay",
    "ExternalCtrl",
    "Flush",
    "Opcode",
    "OutputMode",
    "RasterPixel",
    "RasterPixelFill",
    "RasterPixelFreeRun",
    "RasterPixelRun",
    "RasterRegion",
    "Synchronize",
    "VectorPixel",
    "VectorPixelMinDwell",
    "averaged_cycles",
    "raster_step",
]

CODES = 1 << 14
"""A DAC or ADC code is 0 to ``CODES − 1``."""
CYCLE_US = 0.125
"""One ADC cycle: six of the 48 MHz clock's."""
MAX_RUN = 1 << 16
"""Pixels in one array or run at most: the length field holds count − 1."""
_DELAY_CYCLE_US = 1 / 48


class Opcode(enum.IntEnum):
    """The upper four bits of a command's first byte. 7 is not assigned."""

    SYNCHRONIZE = 0x0
    ABORT = 0x1
    FLUSH = 0x2
    EXTERNAL_CTRL = 0x3
    BEAM_SELECT = 0x4
    BLANK = 0x5
    DELAY = 0x6
    ARRAY = 0x8
    RASTER_PIXEL_FILL = 0x9
    RASTER_REGION = 0xA
    RASTER_PIXEL = 0xB
    RASTER_PIXEL_RUN = 0xC
    RASTER_PIXEL_FREE_RUN = 0xD
    VECTOR_PIXEL = 0xE
    VECTOR_PIXEL_MIN_DWELL = 0xF


class OutputMode(enum.IntEnum):
    """How pixels come back: big-endian ``adc << 2``, its high byte alone, or not at all."""

    SIXTEEN_BIT = 0
    EIGHT_BIT = 1
    NONE = 2


class Beam(enum.IntEnum):
    """Which column is under external control; the others are blanked."""

    NONE = 0
    ELECTRON = 1
    ION = 2


@dataclass(frozen=True)
class Command:
    """One command; :meth:`encode` refuses a field that does not fit its word with :class:`InvalidInput`."""

    opcode: ClassVar[int]

    def flags(self) -> int:
        """The low four bits of the first byte."""
        return 0

    def words(self) -> tuple[int, ...]:
        """The 16-bit words that follow."""
        return astuple(self)

    def encode(self) -> bytes:
        """The bytes of this command."""
        words = self.words()
        for word in words:
            if not 0 <= word <= 0xFFFF:
                raise InvalidInput(f"a field of {type(self).__name__}", word, "does not fit 16 bits", "give 0 to 65535")
        return struct.pack(f">B{len(words)}H", self.opcode << 4 | self.flags(), *words)


@dataclass(frozen=True)
class Synchronize(Command):
    """Wait until no pixel is in flight, answer ``FF FF`` and the cookie, then change the output mode."""

    cookie: int
    output: OutputMode = OutputMode.SIXTEEN_BIT
    raster: bool = False  # ignored by the gateware, which takes the mode from each command
    opcode = Opcode.SYNCHRONIZE

    def flags(self) -> int:
        return int(self.raster) | self.output << 1

    def words(self) -> tuple[int, ...]:
        return (self.cookie,)


@dataclass(frozen=True)
class Abort(Command):
    """End the current raster region."""

    opcode = Opcode.ABORT


@dataclass(frozen=True)
class Flush(Command):
    """Send what the device holds back for a fuller packet."""

    opcode = Opcode.FLUSH


@dataclass(frozen=True)
class ExternalCtrl(Command):
    """Take or return control of the column; the relay needs its time before the next command."""

    enable: bool
    opcode = Opcode.EXTERNAL_CTRL

    def flags(self) -> int:
        return int(self.enable)

    def words(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class BeamSelect(Command):
    """Choose the beam that blanking and scanning act upon."""

    beam: Beam
    opcode = Opcode.BEAM_SELECT

    def flags(self) -> int:
        return int(self.beam)

    def words(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Blank(Command):
    """Blank or unblank: once the pixels before are done, or (``inline``) together with the next pixel."""

    enable: bool
    inline: bool = False
    opcode = Opcode.BLANK

    def flags(self) -> int:
        return int(self.enable) | int(self.inline) << 1

    def words(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Delay(Command):
    """Do nothing for ``cycles`` of the 48 MHz clock."""

    cycles: int
    opcode = Opcode.DELAY

    @property
    def duration_us(self) -> float:
        """How long that is."""
        return self.cycles * _DELAY_CYCLE_US


@dataclass(frozen=True)
class RasterRegion(Command):
    """Starts and counts in DAC codes and pixels; steps in 1/256 of a code (see :func:`raster_step`)."""

    x_start: int
    x_count: int
    x_step: int
    y_start: int
    y_count: int
    y_step: int
    opcode = Opcode.RASTER_REGION


@dataclass(frozen=True)
class RasterPixel(Command):
    """The next pixel of the region, for ``dwell + 1`` ADC cycles."""

    dwell: int
    opcode = Opcode.RASTER_PIXEL


@dataclass(frozen=True)
class RasterPixelRun(Command):
    """The next ``count`` (1 to 65536) pixels of the region."""

    count: int
    dwell: int
    opcode = Opcode.RASTER_PIXEL_RUN

    def words(self) -> tuple[int, ...]:
        return (self.count - 1, self.dwell)


@dataclass(frozen=True)
class RasterPixelFill(Command):
    """Every remaining pixel of the region."""

    dwell: int
    opcode = Opcode.RASTER_PIXEL_FILL


@dataclass(frozen=True)
class RasterPixelFreeRun(Command):
    """The region again and again until the next command, after which both ends must synchronise."""

    dwell: int
    opcode = Opcode.RASTER_PIXEL_FREE_RUN


@dataclass(frozen=True)
class VectorPixel(Command):
    """One pixel at DAC code ``(x, y)`` for ``dwell + 1`` ADC cycles."""

    x: int
    y: int
    dwell: int
    opcode = Opcode.VECTOR_PIXEL


@dataclass(frozen=True)
class VectorPixelMinDwell(Command):
    """One pixel for the shortest dwell, one ADC cycle."""

    x: int
    y: int
    opcode = Opcode.VECTOR_PIXEL_MIN_DWELL


@dataclass(frozen=True, eq=False)
class Array(Command):
    """Many commands of one kind without their first bytes: ``payload`` is ``(n, words)``, 1 ≤ n ≤ 65536.

    The flags of the repeated command are zero. The parser hands an array out in pieces, as its bytes arrive.
    """

    of: int
    payload: NDArray[np.uint16]
    opcode = Opcode.ARRAY

    def encode(self) -> bytes:
        count = len(self.payload)
        if not 1 <= count <= MAX_RUN:
            raise InvalidInput("commands in one array", count, f"is outside 1 to {MAX_RUN}", "split the array")
        return struct.pack(">BH", self.opcode << 4 | self.of, count - 1) + self.payload.astype(">u2").tobytes()


_WORDS = {
    **dict.fromkeys(Opcode, 0),
    Opcode.SYNCHRONIZE: 1,
    Opcode.DELAY: 1,
    Opcode.ARRAY: 1,
    Opcode.RASTER_PIXEL_FILL: 1,
    Opcode.RASTER_REGION: 6,
    Opcode.RASTER_PIXEL: 1,
    Opcode.RASTER_PIXEL_RUN: 2,
    Opcode.RASTER_PIXEL_FREE_RUN: 1,
    Opcode.VECTOR_PIXEL: 3,
    Opcode.VECTOR_PIXEL_MIN_DWELL: 2,
}
_BUILD: dict[int, Callable[[int, tuple[int, ...]], Command]] = {
    Opcode.SYNCHRONIZE: lambda f, w: Synchronize(w[0], OutputMode(min(f >> 1 & 3, 2)), bool(f & 1)),
    Opcode.ABORT: lambda f, w: Abort(),
    Opcode.FLUSH: lambda f, w: Flush(),
    Opcode.EXTERNAL_CTRL: lambda f, w: ExternalCtrl(bool(f & 1)),
    Opcode.BEAM_SELECT: lambda f, w: BeamSelect(Beam(f & 3 if f & 3 < 3 else 0)),
    Opcode.BLANK: lambda f, w: Blank(bool(f & 1), bool(f & 2)),
    Opcode.DELAY: lambda f, w: Delay(*w),
    Opcode.RASTER_PIXEL_FILL: lambda f, w: RasterPixelFill(*w),
    Opcode.RASTER_REGION: lambda f, w: RasterRegion(*w),
    Opcode.RASTER_PIXEL: lambda f, w: RasterPixel(*w),
    Opcode.RASTER_PIXEL_RUN: lambda f, w: RasterPixelRun(w[0] + 1, w[1]),
    Opcode.RASTER_PIXEL_FREE_RUN: lambda f, w: RasterPixelFreeRun(*w),
    Opcode.VECTOR_PIXEL: lambda f, w: VectorPixel(*w),
    Opcode.VECTOR_PIXEL_MIN_DWELL: lambda f, w: VectorPixelMinDwell(*w),
}


class CommandParser:
    """Bytes in, commands out, in whatever pieces the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._array_of = 0
        self._array_left = 0
        self.ignored_bytes = 0  # first bytes with opcode 7, which the gateware passes over

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Command]:
        """The commands completed by ``data``; the rest waits for more."""
        self._buffer += data
        while (command := self._next()) is not None:
            yield command

    def build(self, of: int, words: tuple[int, ...]) -> Command:
        """One command of an array, whose flags are zero."""
        return _BUILD[of](0, words)

    def _next(self) -> Command | None:
        if self._array_left:
            return self._array_piece()
        while self._buffer and self._buffer[0] >> 4 not in _WORDS:
            del self._buffer[0]
            self.ignored_bytes += 1
        if not self._buffer:
            return None
        first = self._buffer[0]
        opcode, flags = first >> 4, first & 0xF
        if opcode == Opcode.ARRAY:
            # an array of arrays becomes, in the gateware, an array of opcode 0 with the inner length
            nested = flags == Opcode.ARRAY
            size = 5 if nested else 3
            if len(self._buffer) < size:
                return None
            self._array_of = 0 if nested else flags
            self._array_left = int.from_bytes(self._buffer[size - 2 : size], "big") + 1
            del self._buffer[:size]
            return self._array_piece()
        count = _WORDS[Opcode(opcode)]
        if len(self._buffer) < 1 + 2 * count:
            return None
        words = struct.unpack_from(f">{count}H", self._buffer, 1)
        del self._buffer[: 1 + 2 * count]
        return _BUILD[opcode](flags, words)

    def _array_piece(self) -> Array | None:
        width = _WORDS[Opcode(self._array_of)] if self._array_of in _WORDS else 0
        ready = self._array_left if width == 0 else min(self._array_left, len(self._buffer) // (2 * width))
        if ready == 0:
            return None
        size = ready * 2 * width
        words = np.frombuffer(bytes(self._buffer[:size]), ">u2").astype(np.uint16).reshape(ready, width)
        del self._buffer[:size]
        self._array_left -= ready
        return Array(self._array_of, words)


def raster_step(pixels: int) -> int:
    """The step in 1/256 DAC codes with which ``pixels`` fill the field; it fits 16 bits from 65 pixels on."""
    step = int(CODES / pixels * 256)
    if not 0 < step <= 0xFFFF:
        raise InvalidInput("pixels per line", pixels, "needs a step that does not fit 8.8 bits", "give 65 or more")
    return step


def averaged_cycles(cycles: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of a dwell's first cycles are averaged: the largest power of two in ``cycles`` (all ≥ 1).

    The supersampler divides by shifting; the cycles after that power of two expose the specimen and are lost.
    """
    return np.int64(1) << (np.frexp(np.asarray(cycles, dtype=np.float64))[1].astype(np.int64) - 1)
