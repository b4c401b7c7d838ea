"""An instrument behind Direct Electron's scan generator, through ``deapi``: patterns of whole positions, whole frames.

The server takes a list of integer positions on a grid, visits them at its camera's frame rate, and afterwards hands
out one image per detector. So a frame's samples come when the frame is over, or was stopped; every dwell is the same;
there are no blanked moves; and a grid fine enough that no position is visited twice is chosen here. The generator has
no blanker: idle, the beam stands at its park position unless the column blanks it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel, check_detectors
from scancontrol.errors import InvalidInput, LinkError, within
from scancontrol.microscope.drivers.deapi_client import DeapiClient, ScanGenerator
from scancontrol.microscope.instrument import Block
from scancontrol.paths.path import ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["DirectElectronConfig", "DirectElectronInstrument", "grid_positions"]

log = logging.getLogger(__name__)
_FINEST = 16
_LARGEST_GRID = 8192
_POLL_S = 0.01
_BEFORE_S = 10.0  # for the frame before to be over
_SETTLE_S = 2.0  # for a stop to be confirmed
_LONGEST_DWELL_US = 1e7


class DirectElectronConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver", tag="direct_electron"
):
    """``microscope: {driver: direct_electron, …}``. ``images``: the server's name of each detector's result.

    Raises:
        InvalidInput: a value that cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 13240
    camera: str | None = None  # the first one that the server lists where null
    name: str = "Direct Electron"
    detectors: tuple[DetectorChannel, ...] = (DetectorChannel(name="virtual 0"),)
    images: tuple[str, ...] = ("virtual_image0",)
    highest_rate_khz: float = 20.0  # of the camera: one frame is the shortest dwell
    coil: CoilModel = CoilModel()
    beam_current_pa: float = 20.0
    beam_energy_kev: float = 200.0
    dose_limit_e_per_a2: float | None = None
    origin: Literal["simulation", "experiment"] = "experiment"
    patience_s: float = 10.0  # beyond the planned duration, for the server to finish

    def __post_init__(self) -> None:
        remedy = "mend the microscope's configuration"
        if not self.images or len(self.images) != len(self.detectors):
            raise InvalidInput("images", len(self.images), f"are not the {len(self.detectors)} detectors", remedy)
        check_detectors([detector.name for detector in self.detectors], remedy)
        for quantity, low, high in (("port", 1, 65535), ("highest_rate_khz", 0.001, 1e3), ("patience_s", 0.1, 3600)):
            within(quantity, getattr(self, quantity), low, high, remedy)


class DirectElectronInstrument:
    """See :class:`scancontrol.microscope.instrument.Instrument`. A thread of the driver's own talks to the server.

    Args:
        config: where the server is, and what it cannot say itself.
        client: the server; connected to here where None.
    Raises:
        InvalidInput: the configuration cannot be, or ``deapi`` is not installed.
        LinkError: the server does not answer.
    """

    def __init__(self, config: DirectElectronConfig, *, client: ScanGenerator | None = None) -> None:
        self._config = config
        self._client: ScanGenerator = DeapiClient(config.host, config.port, config.camera) if client is None else client
        self.capabilities = Capabilities(
            name=config.name,
            detectors=config.detectors,
            coil=config.coil,
            origin=config.origin,
            dac_bits=13,
            sample_clock_mhz=1000.0,
            shortest_dwell_us=1e3 / config.highest_rate_khz,
            longest_dwell_us=_LONGEST_DWELL_US,
            beam_current_pa=config.beam_current_pa,
            beam_energy_kev=config.beam_energy_kev,
            dose_limit_e_per_a2=config.dose_limit_e_per_a2,
            samples_per_path_limit=_LARGEST_GRID**2,
            sample_dtype="<f4",
        )
        self._frame: _Frame | None = None
        self._blanks = 0
        log.warning("Direct Electron's scan generator does not blank: between frames the column must")

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Have the pattern uploaded and started.

        Raises:
            InvalidInput: the path asks for what the generator cannot do.
        """
        blanks, before = self._blanks, self._frame
        new = _Frame(self._config, self._client, path, first_index, before)
        if before is not None:
            before.stopping.set()
        self._frame = new
        if self._blanks != blanks:
            new.stopping.set()
        new.start()

    def read(self, max_samples: int) -> Block | None:
        """See :class:`scancontrol.microscope.instrument.Instrument`.

        Raises:
            LinkError: the server is late.
        """
        frame = self._frame
        if frame is None:
            return None
        if frame.is_alive():
            frame.join(_POLL_S)
            if frame.is_alive():
                return self._nothing(0.0) if frame.stopping.is_set() else None
        block = frame.take(max_samples)
        if block is not None:
            return block
        lost_us = frame.take_lost_us()
        if lost_us:
            return self._nothing(lost_us)
        self._frame = None
        if frame.failure is not None:
            raise frame.failure
        return None

    def blank(self) -> None:
        """Stop the acquisition, from whatever thread; the beam goes to the generator's park position.

        Raises:
            LinkError: the server does not confirm it.
        """
        self._blanks += 1
        frame = self._frame
        if frame is not None:
            frame.stop()

    def close(self) -> None:
        """Stop, and disconnect."""
        frame, self._frame = self._frame, None
        try:
            if frame is not None:
                frame.stop()
                frame.join(_SETTLE_S)
        finally:
            self._client.close()

    def _nothing(self, exposed_us: float) -> Block:
        electrons = exposed_us * self._config.beam_current_pa * ELECTRONS_PER_PA_US
        return Block(np.empty((len(self._config.detectors), 0), "<f4"), electrons, time.monotonic_ns())


class _Frame(threading.Thread):
    """One frame at the server, from upload to images.

    Raises:
        InvalidInput: the path cannot be.
    """

    def __init__(
        self,
        config: DirectElectronConfig,
        client: ScanGenerator,
        path: ScanPath,
        first_index: int,
        before: _Frame | None,
    ) -> None:
        super().__init__(name="direct electron", daemon=True)
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self._config, self._client, self._path, self._first = config, client, path, first_index
        self._before = before
        self._dwell_us = float(path.chunk(first_index, 1).dwell_us[0])
        self._begun = threading.Event()  # the server was told to start, or is being told
        self._stopped = threading.Event()  # and has confirmed that it stopped
        self._start_ns = self._started_ns = 0  # when the start was asked for, and when it was confirmed
        self._halting_ns = self._stop_ns = 0  # the same of a stop
        self._xy = np.zeros((0, 2), np.int32)
        self._values: NDArray[np.float32] | None = None
        self._next = 0
        self._lost_us = 0.0
        if path.weighted:
            low, high = path.dwell_range_us
            raise InvalidInput(
                "dwell_us", f"{low:g} to {high:g}", "differs along the path", "plan one dwell for all samples"
            )

    def stop(self) -> None:
        """End the frame; from any thread.

        Raises:
            LinkError: the server does not confirm it.
        """
        self.stopping.set()
        if self._begun.is_set() and not self._stopped.is_set():
            self._halt()

    def take(self, most: int) -> Block | None:
        """The next samples, once the frame is over."""
        if self._values is None or self._next >= self._values.shape[1]:
            return None
        first, last = self._next, min(self._next + most, self._values.shape[1])
        self._next = last
        return Block(
            values=self._values[:, first:last].astype("<f4"),
            electrons=(last - first) * self._dwell_us * self._config.beam_current_pa * ELECTRONS_PER_PA_US,
            monotonic_ns=self._start_ns + round(first * self._dwell_us * 1e3),
        )

    def take_lost_us(self) -> float:
        """Time with beam whose samples were cut off or lost, once."""
        lost, self._lost_us = self._lost_us, 0.0
        return lost

    def run(self) -> None:
        """The frame."""
        if self._before is not None:
            self._before.join(_BEFORE_S)
            self._before = None
        exposed_us = 0.0
        try:
            self._scan()
            exposed_us = self._exposed_us()
            self._fetch()
        except Exception as error:
            self.failure = error
            self._stop_after(error)
            exposed_us = self._exposed_us()
        have = 0 if self._values is None else self._values.shape[1]
        self._lost_us = max(0.0, exposed_us - have * self._dwell_us)

    def _stop_after(self, error: Exception) -> None:
        """The frame failed: nothing may go on at the server."""
        if not self._begun.is_set() or self._stopped.is_set():
            return
        try:
            self._halt()
        except Exception as again:
            log.critical("after %s the server cannot be stopped (%s): blank the beam at the column", error, again)

    def _scan(self) -> None:
        part = self._path.chunk(self._first, self._path.count - self._first)
        if np.any(part.move_us > 0):
            raise InvalidInput(
                "settle",
                "blanked moves",
                "are not possible with Direct Electron's generator",
                "plan with settle: null, or along a continuous path",
            )
        self._xy, size = grid_positions(part.positions, self._path.shape)
        planned_us = self._dwell_us
        dwell_us = self._client.upload(self._xy, size, planned_us)
        if not (math.isfinite(dwell_us) and 0 < dwell_us <= 2 * _LONGEST_DWELL_US):
            raise LinkError(f"the Direct Electron server states a dwell of {dwell_us} us")
        self._dwell_us = dwell_us
        if abs(dwell_us / planned_us - 1) > 0.01:
            log.warning("the server made a dwell of %g us of %g us", dwell_us, planned_us)
        self._begun.set()  # from here on a stop reaches the server
        if self.stopping.is_set():
            return
        self._start_ns = time.monotonic_ns()
        self._client.start()
        self._started_ns = time.monotonic_ns()
        if self.stopping.is_set():  # a stop may have come before the start
            self._halt()
        self._wait()

    def _halt(self) -> None:
        self._halting_ns = self._halting_ns or time.monotonic_ns()
        self._client.stop()
        self._stop_ns = time.monotonic_ns()
        self._stopped.set()

    def _wait(self) -> None:
        """Until the server has finished, or was stopped.

        Raises:
            LinkError: it does neither in time.
        """
        seen_busy = False
        while not self.stopping.wait(_POLL_S):
            elapsed_s = (time.monotonic_ns() - self._start_ns) * 1e-9
            late_s = elapsed_s - len(self._xy) * self._dwell_us * 1e-6
            busy = self._client.busy()
            seen_busy = seen_busy or busy
            if not busy and (seen_busy or late_s >= 0):
                self._stopped.set()
                return
            if late_s > self._config.patience_s:
                self._halt()
                raise LinkError(f"the Direct Electron server is {late_s:.1f} s late with a frame; look at it")
        self._stopped.wait(_SETTLE_S)

    def _exposed_us(self) -> float:
        """How long the beam was on the path at the most."""
        if not self._start_ns:
            return 0.0
        whole_us = len(self._xy) * self._dwell_us
        if self._stopped.is_set() and not self._stop_ns:
            return whole_us
        return min(whole_us, ((self._stop_ns or time.monotonic_ns()) - self._start_ns) * 1e-3)

    def _fetch(self) -> None:
        """The samples of all positions whose dwell was surely over; a stopped server does not say how many were."""
        done = len(self._xy) if self._started_ns else 0
        if done and self._stop_ns:
            surely_us = (self._halting_ns - self._started_ns) * 1e-3
            done = max(0, min(done, int(surely_us / self._dwell_us)))
        if done == 0:
            return
        images = [self._client.image(name) for name in self._config.images]
        xy = self._xy[:done]
        wanted = self._xy.max(axis=0)
        for name, image in zip(self._config.images, images, strict=True):
            if image.ndim != 2 or image.shape[1] <= wanted[0] or image.shape[0] <= wanted[1]:
                raise LinkError(f"the Direct Electron server sent {name} as {image.shape}, too small")
        self._values = np.stack([image[xy[:, 1], xy[:, 0]] for image in images])


def grid_positions(positions: NDArray[np.float64], shape: tuple[int, int]) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Whole positions ``(n, 2)`` as (x, y), and the (width, height) of the coarsest grid that visits none twice.

    ``positions`` (n, 2) are (y, x) in fractions of the field.

    Raises:
        InvalidInput: no grid is fine enough.
    """
    for finer in range(1, _FINEST + 1):
        size = np.array(shape) * finer
        if size.max() > _LARGEST_GRID:
            break
        cells = np.clip((positions * size).astype(np.int64), 0, size - 1)
        if len(np.unique(cells[:, 0] * size[1] + cells[:, 1])) == len(cells):
            return cells[:, ::-1].astype(np.int32), (int(size[1]), int(size[0]))
    raise InvalidInput(
        "path",
        f"{len(positions)} samples",
        "visits a place more than once",
        "plan samples at least a sixteenth of a pixel apart",
    )
