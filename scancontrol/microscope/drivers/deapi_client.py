"""The thin layer over ``deapi`` under the Direct Electron driver, and what the driver needs of it."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, LinkError

__all__ = ["DeapiClient", "ScanGenerator"]

_STOP_S = 0.04  # for the answer to a stop; it is asked again where none comes


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
        """End the acquisition; from any thread, also while a call of another one is under way, and quickly."""

    def close(self) -> None:
        """Disconnect."""


class DeapiClient:
    """The real one.

    Raises:
        InvalidInput: the package is not installed.
        LinkError: no server answers.
    """

    def __init__(self, host: str, port: int, camera: str | None, package: Any = None) -> None:
        try:
            deapi = package or importlib.import_module("deapi")
        except ImportError as error:
            raise InvalidInput(
                "driver",
                "direct_electron",
                "needs the package deapi, which is not installed",
                "pip install scancontrol[de]",
            ) from error
        self._client = deapi.Client()
        self._client.usingMmf = False  # its shared memory works on Windows beside the server only
        self._address = (host, port)
        self._where = f"{host}:{port}"
        self._do(lambda: self._client.connect(host, port))
        if camera is not None:
            self._do(lambda: self._client.set_current_camera(camera))

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
