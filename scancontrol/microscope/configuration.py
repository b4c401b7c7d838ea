"""Which real instrument a configuration names. Libraries of vendors are imported only when one is opened.

``microscope: {driver: obi | nidaq | direct_electron, …}``; the instrument is then hosted by
:func:`scancontrol.microscope.host.serve` like the simulator, and nothing above the wire can tell which it is.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from scancontrol.files import load_yaml
from scancontrol.microscope.drivers.direct_electron import DirectElectronConfig, DirectElectronInstrument
from scancontrol.microscope.drivers.nidaq import NidaqConfig, NidaqInstrument
from scancontrol.microscope.drivers.obi import ObiConfig, ObiInstrument
from scancontrol.microscope.instrument import Instrument
from scancontrol.transport.keys import ServerSecurity
from scancontrol.transport.options import server_security

__all__ = ["DriveConfig", "load_drive", "open_instrument"]

AnyDriver = ObiConfig | NidaqConfig | DirectElectronConfig


class DriveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hosted instrument. ``address``: where clients connect; off loopback it needs the keys of both sides."""

    microscope: AnyDriver
    address: str = "tcp://127.0.0.1:5556"
    secret_key: Path | None = None  # this server's own
    clients: Path | None = None  # folder of the public keys that may connect

    def security(self, base: Path) -> ServerSecurity | None:
        """The keys, with paths relative to ``base``.

        Raises:
            InvalidInput: half of them is missing, or cannot be used.
        """
        secret_key, clients = (None if file is None else base / file for file in (self.secret_key, self.clients))
        return server_security(secret_key, clients, "secret_key and clients")


def load_drive(path: Path) -> DriveConfig:
    """Read one configuration.

    Raises:
        InvalidInput: it cannot be read, or says something impossible.
    """
    return load_yaml(path, DriveConfig)


def open_instrument(config: DriveConfig) -> Instrument:
    """Connect to the hardware.

    Raises:
        InvalidInput: the configuration cannot be, or a library is missing. LinkError: the hardware does not answer.
    """
    microscope = config.microscope
    if isinstance(microscope, ObiConfig):
        return ObiInstrument(microscope)
    if isinstance(microscope, NidaqConfig):
        return NidaqInstrument(microscope)
    return DirectElectronInstrument(microscope)
