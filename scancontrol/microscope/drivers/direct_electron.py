"""An instrument behind Direct Electron's scan generator, through ``deapi``: patterns of whole positions, whole frames.

The server takes a list of integer positions on a grid, visits them at its camera's frame rate, and afterwards hands
out one image per detector. So a frame's samples come when the frame is over; every dwell is the same; there are no
blanked moves; and a grid fine enough that no position is visited twice is chosen here. The generator has no blanker:
idle, the beam stands at its park position unless the column blanks it.
"""

from __future__ import annotations

import importlib
import logging
import math
import socket
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.microscope.instrument import Block
from scancontrol.paths.path import ELECTRONS_PER_PA_US, ScanPath

__all__ = ["DeapiClient", "DirectElectronConfig", "DirectElectronInstrument", "ScanGenerator", "grid_positions"]

_log = logging.getLogger(__name__)
_STOP_S = 1.0
_FINEST = 16
_LARGEST_GRID = 8192


class DirectElectronConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="driver", tag="direct_electron"
):
    """``microscope: {driver: direct_electron, …}``. ``images``: the server's name of each detector's result."""

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

    def check(self) -> None:
        """Raise :class:`InvalidInput` for a value that cannot be."""
        remedy = "mend the microscope's configuration"
        if not self.images or len(self.images) != len(self.detectors):
            raise InvalidInput("images", len(self.images), f"are not the {len(self.detectors)} detectors", remedy)
        for quantity, low, high in (("port", 1, 65535), ("highest_rate_khz", 0.001, 1e3), ("patience_s", 0.1, 3600)):
            value = getattr(self, quantity)
            if not (math.isfinite(value) and low <= value <= high):
                raise InvalidInput(quantity, value, f"is outside {low} to {high}", remedy)


class ScanGenerator(Protocol):
    """What the driver needs of the server; every failure is a :class:`LinkError`."""

    def upload(self, xy: NDArray[np.int32], size: tuple[int, int], dwell_us: float) -> float:
        """Set the pattern ``xy`` (n, 2) on a (width, height) grid; returns the dwell that the server made of it."""

    def start(self) -> None:
        """Visit the pattern once."""

    def busy(self) -> bool:
        """Whether the acquisition goes on."""

    def image(self, name: str) -> NDArray[np.float32]:
        """One detector's result: (height, width)."""

    def stop(self) -> None:
        """End the acquisition."""

    def close(self) -> None:
        """Disconnect."""


class DeapiClient:
    """The real one. Raises :class:`InvalidInput` without the package, :class:`LinkError` without a server."""

    def __init__(self, config: DirectElectronConfig, package: Any = None) -> None:
        try:
            deapi = package or importlib.import_module("deapi")
        except ImportError as error:
            raise InvalidInput(
                "driver", "direct_electron", "needs the package deapi, which is not installed", "pip install deapi"
            ) from error
        self._client = deapi.Client()
        self._client.usingMmf = False  # its shared memory works on Windows beside the server only
        self._address = (config.host, config.port)
        self._where = f"{config.host}:{config.port}"
        self._do(lambda: self._client.connect(config.host, config.port))
        if config.camera is not None:
            self._do(lambda: self._client.set_current_camera(config.camera))

    def upload(self, xy: NDArray[np.int32], size: tuple[int, int], dwell_us: float) -> float:
        """See :class:`ScanGenerator`."""
        for name, value in (
            ("Scan - Enable", "On"),
            ("Scan - Camera Frames Per Point", 1),
            ("Scan - Points Per Camera Frame", 1),
            ("Scan - Repeats", 1),
            ("Frames Per Second", 1e6 / dwell_us),
        ):
            self._set(name, value)
        if self._do(lambda: self._client.set_xy_array(xy, width=size[0], height=size[1])) is False:
            raise LinkError(f"the Direct Electron server at {self._where} refused the scan pattern")
        return 1e6 / float(self._do(lambda: self._client.get_property("Frames Per Second")))

    def _set(self, name: str, value: object) -> None:
        self._do(lambda: self._client.set_property(name, value))

    def start(self) -> None:
        """See :class:`ScanGenerator`."""
        self._do(lambda: self._client.start_acquisition(1))

    def busy(self) -> bool:
        """See :class:`ScanGenerator`."""
        return bool(self._do(lambda: self._client.get_property("Acquisition Status")) == "Acquiring")

    def image(self, name: str) -> NDArray[np.float32]:
        """See :class:`ScanGenerator`."""
        return np.asarray(self._do(lambda: self._client.get_result(name, "FLOAT32"))[0], np.float32)

    def stop(self) -> None:
        """See :class:`ScanGenerator`. What ``deapi.Client.stop_acquisition`` does, which waits without end."""

        def ask() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
                stopper.settimeout(_STOP_S)
                stopper.sendto(b"PyClientStopAcq", self._address)
                return stopper.recv(32)

        answer: bytes = self._do(ask)
        if b"Stopped" not in answer:
            raise LinkError(f"the Direct Electron server at {self._where} did not stop; blank the beam at the column")

    def close(self) -> None:
        """See :class:`ScanGenerator`."""
        self._do(self._client.disconnect)

    def _do(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # deapi raises whatever its sockets and its parser do
            raise LinkError(f"the Direct Electron server at {self._where}: {type(error).__name__}: {error}") from error


class DirectElectronInstrument:
    """See :class:`scancontrol.microscope.instrument.Instrument`. Samples come when the frame is over."""

    def __init__(
        self,
        config: DirectElectronConfig,
        *,
        client: ScanGenerator | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        config.check()
        self._config, self._clock_ns, self._sleep = config, clock_ns, sleep
        self._client: ScanGenerator = DeapiClient(config) if client is None else client
        shortest_us = 1e3 / config.highest_rate_khz
        self.capabilities = Capabilities(
            name=config.name,
            detectors=config.detectors,
            coil=config.coil,
            origin=config.origin,
            dac_bits=13,
            sample_clock_mhz=1000.0,
            shortest_dwell_us=shortest_us,
            longest_dwell_us=1e7,
            beam_current_pa=config.beam_current_pa,
            beam_energy_kev=config.beam_energy_kev,
            dose_limit_e_per_a2=config.dose_limit_e_per_a2,
            samples_per_path_limit=_LARGEST_GRID**2,
        )
        self.capabilities.check()
        self._scanning = False
        self._values: NDArray[np.float32] | None = None
        _log.warning("Direct Electron's scan generator does not blank: between frames the column must")

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Upload the pattern and start. Raises InvalidInput for what the generator cannot do; LinkError."""
        self.blank()
        part = path.chunk(first_index, path.count - first_index)
        if np.any(part.move_us > 0):
            raise InvalidInput(
                "settle",
                "blanked moves",
                "are not possible with Direct Electron's generator",
                "plan with settle: null, or along a continuous path",
            )
        if np.ptp(part.dwell_us) > 1e-6 * part.dwell_us[0]:
            raise InvalidInput(
                "dwell_us",
                f"{part.dwell_us.min():g} to {part.dwell_us.max():g}",
                "differs along the path",
                "plan one dwell for all samples",
            )
        self._xy, size = grid_positions(part.positions, path.shape)
        self._dwell_us = self._client.upload(self._xy, size, float(part.dwell_us[0]))
        if abs(self._dwell_us / part.dwell_us[0] - 1) > 0.01:
            _log.warning("the server made a dwell of %g us of %g us", self._dwell_us, part.dwell_us[0])
        self._client.start()
        self._scanning, self._values, self._next = True, None, 0
        self._start_ns = self._clock_ns()

    def read(self, max_samples: int) -> Block | None:
        """See :class:`scancontrol.microscope.instrument.Instrument`. Raises LinkError when the server is late."""
        if self._scanning:
            late_s = (self._clock_ns() - self._start_ns) * 1e-9 - len(self._xy) * self._dwell_us * 1e-6
            if self._client.busy():
                if late_s > self._config.patience_s:
                    self.blank()
                    raise LinkError(f"the Direct Electron server is {late_s:.1f} s late with a frame; look at it")
                self._sleep(0.01)
                return None
            self._scanning = False
            images = [self._client.image(name) for name in self._config.images]
            wanted = self._xy.max(axis=0)
            for name, image in zip(self._config.images, images, strict=True):
                if image.ndim != 2 or image.shape[1] <= wanted[0] or image.shape[0] <= wanted[1]:
                    raise LinkError(f"the Direct Electron server sent {name} as {image.shape}, too small")
            self._values = np.stack([image[self._xy[:, 1], self._xy[:, 0]] for image in images])
        if self._values is None or self._next >= len(self._xy):
            return None
        first, last = self._next, min(self._next + max_samples, len(self._xy))
        self._next = last
        return Block(
            values=self._values[:, first:last].astype("<f4"),
            electrons=(last - first) * self._dwell_us * self._config.beam_current_pa * ELECTRONS_PER_PA_US,
            monotonic_ns=self._start_ns + round(first * self._dwell_us * 1e3),
        )

    def blank(self) -> None:
        """Stop the acquisition; the beam goes to the generator's park position. Its samples are lost."""
        if self._scanning:
            self._scanning = False
            self._client.stop()

    def close(self) -> None:
        """Stop, and disconnect."""
        try:
            self.blank()
        finally:
            self._client.close()


def grid_positions(positions: NDArray[np.float64], shape: tuple[int, int]) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Whole positions ``(n, 2)`` as (x, y), and the (width, height) of the coarsest grid that visits none twice.

    ``positions`` (n, 2) are (y, x) in fractions of the field. Raises :class:`InvalidInput` if no grid is fine enough.
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
