"""The Open Beam Interface's gateware as a state machine: commands in, pixels and the time they took out.

It reproduces what a client can observe of the gateware: the raster scanner's 8.8 fixed-point accumulators, the
supersampler that averages only the first power of two of a dwell's cycles, sync frames that are 16-bit in every
output mode, blanking with the next pixel or after the last, and the stalls (a raster pixel without a region left
waits for ever: the executor takes no further command, so neither ``Abort`` nor ``RasterRegion`` can end it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scancontrol.microscope.obi.commands import (
    CODES,
    CYCLE_US,
    Abort,
    Array,
    Beam,
    BeamSelect,
    Blank,
    Command,
    CommandParser,
    Delay,
    ExternalCtrl,
    Flush,
    Opcode,
    OutputMode,
    RasterPixel,
    RasterPixelFill,
    RasterPixelFreeRun,
    RasterPixelRun,
    RasterRegion,
    Synchronize,
    VectorPixel,
    VectorPixelMinDwell,
)
from scancontrol.microscope.obi.replies import encode_pixels, sync_frame

__all__ = ["Column", "Loopback", "ObiDevice", "Pixels", "Step"]

_STEP_PIXELS = 8192
_STEP_CYCLES = round(2000 / CYCLE_US)  # 2 ms: the longest that a blanking command waits inside one step
_ACCUMULATOR = (1 << 22) - 1


@dataclass(frozen=True, eq=False)
class Pixels:
    """Consecutive pixels as they leave the scanner. ``x``, ``y``: DAC codes; ``cycles``: dwell in ADC cycles;
    ``lit``: whether the beam reaches the specimen; ``dwell_echo``: loopback returns the dwell, not x."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    cycles: NDArray[np.int64]
    lit: NDArray[np.bool_]
    dwell_echo: bool = False


class Column(Protocol):
    """What hangs between the DACs and the ADC."""

    def expose(self, pixels: Pixels) -> NDArray[np.uint16]:
        """The averaged 14-bit ADC code of every pixel."""

    def wait(self, duration_us: float, *, lit: bool) -> None:
        """Nothing moves for a while; a lit beam goes on burning its last position."""


class Loopback:
    """The gateware built with ``--loopback``: a pixel's x code comes back (for RasterPixel its dwell code)."""

    def expose(self, pixels: Pixels) -> NDArray[np.uint16]:
        """x, or dwell, of every pixel."""
        value = pixels.cycles - 1 if pixels.dwell_echo else pixels.x
        return (value & (CODES - 1)).astype(np.uint16)

    def wait(self, duration_us: float, *, lit: bool) -> None:
        """There is no specimen to burn."""


@dataclass(frozen=True)
class Step:
    """A piece of work done: the reply bytes and the device time. ``flush``: hand out what was held back."""

    reply: bytes = b""
    duration_us: float = 0.0
    flush: bool = False


class _Scanner:
    """The raster scanner: where the next raster pixel is."""

    def __init__(self) -> None:
        self.region = RasterRegion(0, 0, 0, 0, 0, 0)
        self.left = 0
        self._next = 0

    def load(self, region: RasterRegion) -> None:
        self.region = region
        # counts are 14-bit registers holding count − 1, so a count of 0 means 16384
        self._columns = ((region.x_count - 1) & (CODES - 1)) + 1
        self.left = self._columns * (((region.y_count - 1) & (CODES - 1)) + 1)
        self._next = 0

    def stop(self) -> None:
        self.left = 0

    def take(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row, column = np.divmod(np.arange(self._next, self._next + count), self._columns)
        self._next += count
        self.left -= count
        x = ((self.region.x_start & (CODES - 1)) * 256 + column * self.region.x_step) & _ACCUMULATOR
        y = ((self.region.y_start & (CODES - 1)) * 256 + row * self.region.y_step) & _ACCUMULATOR
        return x >> 8, y >> 8


class ObiDevice:
    """Executes commands in order. Powers up blanked, without external control, with 16-bit output."""

    def __init__(self, column: Column, *, relay_ms: float = 0.0) -> None:
        self._column = column
        self._relay_us = relay_ms * 1e3
        self._scanner = _Scanner()
        self._inline_blank: bool | None = None
        self._free_run: RasterPixelFreeRun | None = None
        self._rebuild = CommandParser().build
        self.output = OutputMode.SIXTEEN_BIT
        self.blank_enable = True
        self.external = False
        self.beam = Beam.NONE
        self.stalled = False
        self.pixels_done = 0

    @property
    def lit(self) -> bool:
        """Whether the beam is on the specimen. Without external control the blanking lines are released."""
        return not self.external or (self.beam != Beam.NONE and not self.blank_enable)

    @property
    def free_running(self) -> bool:
        """Whether pixels go on without further commands."""
        return self._free_run is not None

    def reset_pipe(self) -> None:
        """A client left: its unexecuted commands are gone and a stall with them. The blanker stays as it is."""
        self.stalled = False
        self._free_run = None
        self._scanner.stop()

    def execute(self, command: Command) -> Iterator[Step]:
        """Do one command, in steps of at most 8192 pixels and about 2 ms. A stall ends the steps and sets
        :attr:`stalled`; nothing may be executed after it."""
        if self._free_run is not None:  # the next command ends a free run, whatever it is
            self._free_run = None
            self._scanner.stop()
        if isinstance(command, Array) and command.of in (Opcode.VECTOR_PIXEL, Opcode.VECTOR_PIXEL_MIN_DWELL):
            words = command.payload.astype(np.int64)
            cycles = words[:, 2] + 1 if command.of == Opcode.VECTOR_PIXEL else np.ones(len(words), np.int64)
            yield from self._vector(words[:, 0], words[:, 1], cycles)
        elif isinstance(command, Array):
            if command.of not in set(Opcode):
                self.stalled = True  # the executor knows no such command and never returns to fetch another
                return
            for words in command.payload:
                yield from self.execute(self._rebuild(command.of, tuple(int(word) for word in words)))
                if self.stalled:
                    return
        elif isinstance(command, (VectorPixel, VectorPixelMinDwell)):
            dwell = command.dwell if isinstance(command, VectorPixel) else 0
            yield from self._vector(np.array([command.x]), np.array([command.y]), np.array([dwell + 1]))
        elif isinstance(command, (RasterPixel, RasterPixelRun, RasterPixelFill)):
            yield from self._raster(command)
        elif isinstance(command, RasterPixelFreeRun):
            self._free_run = command
            self._scanner.load(self._scanner.region)
        else:
            yield self._control(command)

    def run_free(self) -> Step:
        """A piece of the free run that is going on."""
        assert self._free_run is not None  # noqa: S101 - the caller asked free_running
        if self._scanner.left == 0:
            self._scanner.load(self._scanner.region)
        count = min(self._scanner.left, self._slice(self._free_run.dwell + 1))
        return self._pixels(*self._scanner.take(count), np.full(count, self._free_run.dwell + 1))

    def idle(self, duration_us: float) -> None:
        """No command came for a while: a beam that is not blanked stays where it was."""
        self._column.wait(duration_us, lit=self.lit)

    def _control(self, command: Command) -> Step:
        duration_us, reply = 0.0, b""
        if isinstance(command, Synchronize):
            reply, self.output = sync_frame(command.cookie), command.output
        elif isinstance(command, Abort):
            self._scanner.stop()
        elif isinstance(command, RasterRegion):
            self._scanner.load(command)
        elif isinstance(command, ExternalCtrl):
            self.external, duration_us = command.enable, self._relay_us
        elif isinstance(command, BeamSelect):
            self.beam = command.beam
        elif isinstance(command, Delay):
            duration_us = command.duration_us
        elif isinstance(command, Blank) and command.inline:
            self._inline_blank = command.enable
        elif isinstance(command, Blank):
            self.blank_enable = command.enable
        if duration_us:
            self._column.wait(duration_us, lit=self.lit)
        return Step(reply, duration_us, flush=isinstance(command, (Synchronize, Abort, Flush)))

    @staticmethod
    def _slice(cycles: int) -> int:
        return max(1, min(_STEP_PIXELS, _STEP_CYCLES // cycles))

    def _raster(self, command: RasterPixel | RasterPixelRun | RasterPixelFill) -> Iterator[Step]:
        if isinstance(command, RasterPixelFill):
            wanted = self._scanner.left
        else:
            wanted = command.count if isinstance(command, RasterPixelRun) else 1
        cycles = command.dwell + 1
        while wanted:
            count = min(wanted, self._scanner.left, self._slice(cycles))
            if count == 0:
                self.stalled = True
                return
            x, y = self._scanner.take(count)
            yield self._pixels(x, y, np.full(count, cycles), dwell_echo=isinstance(command, RasterPixel))
            wanted -= count

    def _vector(self, x: NDArray[np.int64], y: NDArray[np.int64], cycles: NDArray[np.int64]) -> Iterator[Step]:
        ends = np.cumsum(cycles)
        start = 0
        while start < len(x):
            before = ends[start - 1] if start else 0
            fits = int(np.searchsorted(ends, before + _STEP_CYCLES, side="right"))
            stop = min(max(fits, start + 1), start + _STEP_PIXELS)
            yield self._pixels(x[start:stop] & (CODES - 1), y[start:stop] & (CODES - 1), cycles[start:stop])
            start = stop

    def _pixels(
        self, x: NDArray[np.int64], y: NDArray[np.int64], cycles: NDArray[np.int64], *, dwell_echo: bool = False
    ) -> Step:
        if self._inline_blank is not None:
            self.blank_enable, self._inline_blank = self._inline_blank, None
        adc = self._column.expose(Pixels(x, y, cycles, np.full(len(x), self.lit), dwell_echo))
        self.pixels_done += len(x)
        return Step(encode_pixels(adc, self.output), int(cycles.sum()) * CYCLE_US)
