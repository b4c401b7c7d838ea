"""An instrument behind the Open Beam Interface: the bytes of :mod:`scancontrol.microscope.obi.commands` over TCP.

The device executes commands strictly in order and has neither a way round its queue nor a dead man of its own. So
the driver never commands more than ``in_flight_ms`` of beam ahead of what came back, and every stretch of commands
ends blanked: when the host falls silent, for whatever reason, the beam is off that much later.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel, check_detectors
from scancontrol.errors import InvalidInput, LinkError, RemoteProtocolError, ScanControlError, within
from scancontrol.microscope.drivers.obi_connection import ObiConnection
from scancontrol.microscope.drivers.obi_stretches import MAX_SAMPLES, Stretch, cycles_of, encode, field_codes
from scancontrol.microscope.instrument import Block
from scancontrol.microscope.obi import commands as obi
from scancontrol.microscope.obi.commands import CYCLE_US, MAX_RUN, Beam, OutputMode
from scancontrol.paths.path import PathChunk, ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["ObiConfig", "ObiInstrument"]

log = logging.getLogger(__name__)
_PATH_PIECE = 1 << 16
_READ_WAIT_S = 0.01


class ObiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver", tag="obi"):
    """``microscope: {driver: obi, address: tcp://…}`` and what the device cannot say about itself.

    Raises:
        InvalidInput: a value that cannot be.
    """

    address: str = "tcp://127.0.0.1:2224"
    name: str = "Open Beam Interface"
    detector: DetectorChannel = DetectorChannel(name="detector")
    coil: CoilModel = CoilModel()
    beam_current_pa: float = 20.0
    beam_energy_kev: float = 20.0
    dose_limit_e_per_a2: float | None = None
    origin: Literal["simulation", "experiment"] = "experiment"
    beam: Literal["electron", "ion"] = "electron"
    output: Literal["16-bit", "8-bit"] = "16-bit"
    averaging: Literal["hardware", "split"] = "split"  # what to do with a dwell that is no power of two of 125 ns
    full_field_nm: float | None = None  # width covered by the DACs' full range; None: each plan's field fills it
    latency_ms: float = 2.0  # device time in one stretch of commands
    in_flight_ms: float = 8.0  # device time commanded ahead of what came back
    answer_timeout_s: float = 2.0
    release_on_close: bool = False  # gives the column back at the end; the device then also lets go of its blanker

    def __post_init__(self) -> None:
        for name, low, high in (("latency_ms", 0.05, 100), ("in_flight_ms", 0.05, 200), ("answer_timeout_s", 0.01, 60)):
            within(name, getattr(self, name), low, high, "mend the microscope's configuration")
        check_detectors([self.detector.name], "mend the microscope's configuration")
        if self.full_field_nm is not None and not (math.isfinite(self.full_field_nm) and self.full_field_nm > 0):
            raise InvalidInput("full_field_nm", self.full_field_nm, "is not above 0", "give it in nanometres")


@dataclass
class _Owed:
    """A stretch that was sent and has not come back whole."""

    first_index: int
    stretch: Stretch
    start_ns: int
    samples_done: int = 0
    replies_done: int = 0


class ObiInstrument:
    """See :class:`~scancontrol.microscope.instrument.Instrument`. Connects when made, and anew when a frame begins.

    Args:
        config: the device's address and what it cannot say itself.
        clock_ns: monotonic nanoseconds.
        random_cookie: the first cookie, even.
    Raises:
        InvalidInput: the configuration cannot be.
        LinkError: nobody answers at the address, or not as OBI does.
    """

    def __init__(
        self, config: ObiConfig, *, clock_ns: Callable[[], int] = time.monotonic_ns, random_cookie: int | None = None
    ) -> None:
        self._config = config
        self._clock_ns = clock_ns
        self._mode = OutputMode.EIGHT_BIT if config.output == "8-bit" else OutputMode.SIXTEEN_BIT
        self._beam = Beam.ELECTRON if config.beam == "electron" else Beam.ION
        cookie = random.randrange(0, 0xFFF0, 2) if random_cookie is None else random_cookie
        self._device = ObiConnection(config.address, config.answer_timeout_s, cookie, clock_ns)
        self._owed: deque[_Owed] = deque()
        self._path: ScanPath | None = None
        self._frame = -1
        self._next = 0
        self._blanks = -1  # of the device, when the scan began: one more, and nothing more is commanded
        self._failure: ScanControlError | None = None  # to be raised once what was exposed is told
        self.capabilities = Capabilities(
            name=config.name,
            detectors=(config.detector,),
            dac_bits=14,
            sample_clock_mhz=1 / CYCLE_US,
            shortest_dwell_us=CYCLE_US,
            longest_dwell_us=MAX_RUN * CYCLE_US,
            coil=config.coil,
            beam_current_pa=config.beam_current_pa,
            beam_energy_kev=config.beam_energy_kev,
            dose_limit_e_per_a2=config.dose_limit_e_per_a2,
            origin=config.origin,
        )
        try:
            self._device.open(self._beam, self._mode)
            self._settle()
        except ScanControlError:
            self._device.close()
            raise

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Start exposing ``path`` at ``first_index``, as soon as the device is in step.

        Samples that the device had already exposed when it was blanked are kept if the frame goes on with them,
        and dropped (the stream is synchronised again) if not.

        Raises:
            InvalidInput: the path asks for what the device cannot do.
            LinkError: nobody can be reached; the next ``begin`` tries again.
        """
        blanks = self._device.blanks
        piece = path.chunk(first_index, min(_PATH_PIECE, path.count - first_index))
        self._check(path, piece)
        self._failure = None
        goes_on = (
            self._path is not None
            and self._path.path_id == path.path_id
            and self._frame == frame
            and bool(self._owed)
            and first_index == self._owed[0].first_index + self._owed[0].samples_done
        )
        if not self._device.is_open:
            self._owed.clear()
            self._next = first_index
            self._device.open(self._beam, self._mode)
        elif not goes_on:
            owed_us = sum(owed.stretch.device_us for owed in self._owed)
            self._device.synchronise(self._mode, self._owed_values(), owed_us)
            self._owed.clear()
            self._next = first_index
        self._path, self._frame, self._piece, self._blanks = path, frame, piece, blanks

    def read(self, max_samples: int) -> Block | None:
        """See :class:`~scancontrol.microscope.instrument.Instrument`.

        After :meth:`blank` the samples already commanded are still exposed by the device: until they have come,
        blocks without samples say so.

        Raises:
            LinkError: the device is gone, or silent; the connection is closed.
            RemoteProtocolError: it is out of step.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        try:
            return self._next_block(max_samples)
        except ScanControlError as error:
            lost = sum(float(owed.stretch.exposed_us[owed.samples_done :].sum()) for owed in self._owed)
            self._disconnect()
            if lost == 0:
                raise
            self._failure = error  # what was commanded was exposed, and nobody will ever see its samples
            return self._nothing(lost)

    def _next_block(self, max_samples: int) -> Block | None:
        if not self._device.is_open:
            return None
        if self._device.synchronising:
            self._device.turn(_READ_WAIT_S)
            return None
        self._command()
        if not self._owed:
            return None
        if not self._ready():
            self._device.turn(_READ_WAIT_S)
            self._account()
            self._watch()
        block = self._collect(max_samples)
        if block is None and self._blanks != self._device.blanks:
            return self._nothing(0.0)
        return block

    def blank(self) -> None:
        """Command nothing more and blank, from any thread; the beam is off ``in_flight_ms`` from now at the latest.

        Raises:
            LinkError: the device does not take it yet.
        """
        self._device.blank()

    def close(self) -> None:
        """Blank, give the column back if so configured, and disconnect. Idempotent."""
        if not self._device.is_open:
            return
        try:
            self._device.blank()
            before = obi.ExternalCtrl(enable=False).encode() if self._config.release_on_close else b""
            owed_us = sum(owed.stretch.device_us for owed in self._owed)
            self._device.synchronise(OutputMode.SIXTEEN_BIT, self._owed_values(), owed_us, before)
            self._owed.clear()
            self._settle()
        except ScanControlError as error:
            log.error("the device did not confirm that it is blanked: %s", error)
        self._disconnect()

    def _settle(self) -> None:
        """Wait until the device has answered; when made and at the end alone."""
        while self._device.synchronising:
            self._device.turn(_READ_WAIT_S)

    def _nothing(self, exposed_us: float) -> Block:
        electrons = exposed_us * self._config.beam_current_pa * ELECTRONS_PER_PA_US
        return Block(np.empty((1, 0), "<u2"), electrons, self._clock_ns())

    # -- what is commanded --------------------------------------------------------------------------------

    def _check(self, path: ScanPath, piece: PathChunk) -> None:
        field_codes(piece.positions[:1], path.shape, path.fov_nm, self._config.full_field_nm)
        cycles = cycles_of(piece.dwell_us, "dwell_us")
        if cycles.max() > MAX_RUN:
            raise InvalidInput("dwell_us", piece.dwell_us.max(), f"is above {MAX_RUN * CYCLE_US:g}", "lower it")
        lost = 1 - obi.averaged_cycles(cycles).sum() / cycles.sum()
        if lost > 0 and self._config.averaging == "hardware":
            log.warning(
                "%.0f %% of the dose will not be measured: the device averages only the first power of two of a "
                "dwell's 125 ns cycles; choose such a dwell, or averaging: split",
                100 * lost,
            )
        off = np.abs(cycles * CYCLE_US / piece.dwell_us - 1).max()
        if off > 1e-3:
            log.warning("dwells change by up to %.1f %% on the device's grid of 125 ns", 100 * off)

    def _command(self) -> None:
        """Send further stretches, as far as the time in flight allows."""
        path = self._path
        in_flight_us = sum(owed.stretch.device_us for owed in self._owed)
        while path is not None and self._next < path.count and self._blanks == self._device.blanks:
            if self._owed and in_flight_us >= self._config.in_flight_ms * 1e3:
                return
            stretch, count = self._stretch(path)
            now = self._clock_ns()
            last = self._owed[-1] if self._owed else None
            start = now if last is None else max(now, last.start_ns + round(last.stretch.device_us * 1e3))
            self._owed.append(_Owed(self._next, stretch, start))
            if not self._device.command(stretch.data, self._blanks):
                self._owed.pop()
                return
            self._next += count
            in_flight_us += stretch.device_us

    def _stretch(self, path: ScanPath) -> tuple[Stretch, int]:
        at = self._next - self._piece.first_index
        if not 0 <= at < len(self._piece):
            self._piece = path.chunk(self._next, min(_PATH_PIECE, path.count - self._next))
            at = 0
        part = slice(at, at + MAX_SAMPLES)
        dwell = cycles_of(self._piece.dwell_us[part], "dwell_us")
        move = np.ceil(self._piece.move_us[part] / CYCLE_US - 1e-9).astype(np.int64)
        spent_us = np.cumsum(dwell + move) * CYCLE_US
        count = max(1, int(np.searchsorted(spent_us, self._config.latency_ms * 1e3, side="right")))
        codes = field_codes(self._piece.positions[at : at + count], path.shape, path.fov_nm, self._config.full_field_nm)
        return encode(codes, dwell[:count], move[:count], split=self._config.averaging == "split"), count

    # -- what comes back ----------------------------------------------------------------------------------

    def _ready(self) -> bool:
        head = self._owed[0]
        return head.replies_done + self._device.reader.available() >= int(head.stretch.reply_end[head.samples_done])

    def _collect(self, max_samples: int) -> Block | None:
        head = self._owed[0]
        ends = head.stretch.reply_end
        have = head.replies_done + self._device.reader.available()
        done = min(int(np.searchsorted(ends, have, side="right")), head.samples_done + max_samples)
        first, count = head.samples_done, done - head.samples_done
        if count <= 0:
            return None
        replies = self._device.reader.take(int(ends[done - 1]) - head.replies_done)
        exposed = head.stretch.exposed_us
        before_us = head.stretch.device_us * first / len(ends)
        head.samples_done, head.replies_done = done, int(ends[done - 1])
        if done == len(ends):
            self._owed.popleft()
        return Block(
            values=head.stretch.values(replies, first, count)[np.newaxis].astype("<u2"),
            electrons=float(exposed[first:done].sum()) * self._config.beam_current_pa * ELECTRONS_PER_PA_US,
            monotonic_ns=head.start_ns + round(before_us * 1e3),
        )

    def _watch(self) -> None:
        """Look whether the device still answers.

        Raises:
            LinkError: it owes an answer, and has been silent for too long.
        """
        head = self._owed[0]
        due_ns = max(self._device.heard_ns, head.start_ns) + head.stretch.device_us * 1e3
        if self._clock_ns() > due_ns + self._config.answer_timeout_s * 1e9:
            raise LinkError(
                f"the OBI device at {self._config.address} owes samples from {head.first_index + head.samples_done} on "
                f"and has been silent for {self._config.answer_timeout_s:g} s; check its USB link, then start again"
            )

    def _owed_values(self) -> int:
        return sum(owed.stretch.replies - owed.replies_done for owed in self._owed)

    def _account(self) -> None:
        """Count the values that came against those that are owed.

        Raises:
            RemoteProtocolError: there are more than were asked for.
        """
        come, owed = self._device.reader.available(), self._owed_values()
        if come > owed:
            raise RemoteProtocolError(
                f"the peer at {self._config.address} sent {come} values where {owed} were owed; "
                "it is no OBI device, or somebody else drives it"
            )

    def _disconnect(self) -> None:
        self._device.close()
        self._path = None
        self._owed.clear()
