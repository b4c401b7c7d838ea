"""What the beam's thread, and the acquisitions that it makes, are told of the daemon's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scancontrol.transport.keys import ClientSecurity

__all__ = ["BeamSettings"]


@dataclass(frozen=True)
class BeamSettings:
    """What the beam's thread is told of the configuration."""

    address: str  # of the microscope
    operator: str  # whose lease it is
    security: ClientSecurity | None  # keys, where the address is not loopback
    output: Path  # folder of the recordings
    keep_restorations: Literal["all", "last", "none"]
    fsync: bool
    on_interrupted: Literal["resume", "end"]  # what is done with an acquisition whose disk or link failed
    connect_timeout_s: float = 5.0
    compensate_drift: bool = False  # whether paths follow the drift that is foretold
