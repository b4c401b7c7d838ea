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

__all__ = ["LONGEST_CALL_S", "BeamOff", "Block", "Instrument", "Overrun", "TransportFaults"]


LONGEST_CALL_S = 0.05
"""The longest that any call of an instrument may take; what takes longer belongs on a thread of the driver's own."""


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

    ``values`` is ``(channels, n)`` of the type that the capabilities state; ``electrons`` what the specimen got for
    them, overheads included; ``monotonic_ns`` the time of the first sample on this machine's monotonic clock. With
    ``n`` = 0 it tells electrons alone, of a sample that was cut off or lost, or that more is still to come.
    """

    values: NDArray[Any]
    electrons: float
    monotonic_ns: int


class Instrument(Protocol):
    """What a microscope-side server hosts: five names, none of whose calls takes longer than ``LONGEST_CALL_S``.

    ``begin``, ``read`` and ``close`` are called from one thread. ``blank`` is called from another, at any moment, also
    while one of the others is running. Any exception ends the frame with ``fault``.
    """

    capabilities: Capabilities

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Expose from this sample on, as soon as the hardware is ready. Blanks by itself after the path's last sample.

        Where ``blank`` comes while this runs, the beam stays off.
        """

    def read(self, max_samples: int) -> Block | None:
        """The next samples already exposed, never more than ``max_samples``; None is nothing yet.

        Waits for at most about 10 ms. After ``blank`` it returns, block by block, what was exposed before, the
        electrons of a sample that was cut off among it, and then None: there is nothing more of this scan.
        """

    def blank(self) -> None:
        """Blank now: no further sample is exposed. Waits for nobody; works any number of times.

        An exception says that the beam may still be on: it is called again until it returns.
        """

    def close(self) -> None:
        """Let go of the hardware, blanked."""


class TransportFaults(Protocol):
    """What a test puts between the server and its data socket."""

    def filter(self, parts: list[Part], now: float) -> list[tuple[float, list[Part]]]:
        """What to send instead of this message: (delay in seconds, parts) each; ``now`` is monotonic seconds."""
