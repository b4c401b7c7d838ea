"""What a driver implements: :class:`Instrument`, and how it says that samples came, were lost, or the beam went off.

An instrument is a simulator, a recording, or a driver for real hardware; :mod:`scancontrol.microscope.host` hosts any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.paths import ScanPath
from scancontrol.wire.framing import Part

__all__ = ["BeamOff", "Block", "Instrument", "Overrun", "TransportFaults"]


class BeamOff(Exception):
    """An instrument raises this from ``read`` or ``begin`` when its beam went off by itself, and says why.

    The frame ends with ``operator_blank`` if somebody did it on purpose (``by_operator``), otherwise with ``fault``.
    """

    def __init__(self, why: str, *, by_operator: bool = False) -> None:
        super().__init__(why)
        self.by_operator = by_operator


class Overrun(Exception):
    """An instrument raises this from ``read`` when samples were exposed and lost; the frame ends with it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples that an instrument exposed, contiguous in the path. It never writes to the array again.

    ``values`` is ``(channels, n)``, ``<u2`` or ``<f4``; ``electrons`` what the specimen got for them, overheads
    included; ``monotonic_ns`` the time of the first sample on this machine's monotonic clock.
    """

    values: NDArray[Any]
    electrons: float
    monotonic_ns: int


class Instrument(Protocol):
    """What a microscope-side server hosts. Called from one thread; any exception ends the frame with ``fault``."""

    capabilities: Capabilities

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Unblank, and expose from this sample on. It blanks by itself after the last sample of the path."""

    def read(self, max_samples: int) -> Block | None:
        """The next samples already exposed, never more than ``max_samples``.

        Waits for at most about 10 ms; None is nothing yet. After ``blank`` it returns at once, first what was
        exposed and not yet read, then None.
        """

    def blank(self) -> None:
        """Blank now; no further sample is exposed. Any number of times."""

    def close(self) -> None:
        """Blank and let go of the hardware."""


class TransportFaults(Protocol):
    """What a test puts between the server and its data socket."""

    def filter(self, parts: list[Part], now: float) -> list[tuple[float, list[Part]]]:
        """What to send instead of this message: (delay in seconds, parts) each; ``now`` is monotonic seconds."""
