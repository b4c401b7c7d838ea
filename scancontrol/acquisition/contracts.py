"""What an acquisition asks of others: of the link, and of those who want the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from scancontrol.paths import PathRecipe, ScanPath
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Notice, Start

__all__ = [
    "DoseAccount",
    "FrameEnd",
    "FrameStart",
    "MicroscopeLike",
    "NoAccount",
    "Permit",
    "Sink",
    "Stop",
    "Unlimited",
]


class MicroscopeLike(Protocol):
    """The client's end of the wire, used by one thread; :class:`scancontrol.link.link.MicroscopeLink` is one.

    Every accepted ``start`` is answered by exactly one ``End``; one made up by the link itself, because the microscope
    is gone, has a ``utc_ns`` of 0. ``drained`` is whether the microscope exposes nothing and everything that it had to
    say was received.

    Raises:
        LinkError: the microscope is gone for good.
    """

    @property
    def server_id(self) -> str: ...
    @property
    def drained(self) -> bool: ...
    @property
    def lost_samples(self) -> int: ...
    def register(self, recipe: PathRecipe) -> str: ...
    def start(
        self,
        path_id: str,
        series_id: int,
        frame: int,
        first_index: int = 0,
        *,
        series_unique_id: str = "",
        area: str = "",
        most_electrons: float | None = None,
    ) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self, reason: str = "") -> None: ...
    def receive(self, timeout_s: float = 0.0) -> Start | Chunk | End | Notice | None: ...
    def acknowledge(self, series_id: int, frame: int, next_index: int) -> None: ...


@dataclass(frozen=True)
class FrameStart:
    """A frame begins, or goes on at ``first_index`` after an interruption."""

    series_id: int
    frame: int
    path: ScanPath
    first_index: int
    monotonic_ns: int
    utc_ns: int


@dataclass(frozen=True)
class FrameEnd:
    """A frame ended. ``received`` samples of its path are on the disk."""

    series_id: int
    frame: int
    path: ScanPath
    reason: str
    received: int
    complete: bool
    monotonic_ns: int
    last_sample_ns: int | None = None  # the instrument's stamp of the last samples; None without any


class Sink(Protocol):
    """Who gets samples, after they are on the disk and acknowledged: the restorer's client, the page.

    Called from the acquisition's thread, so every method returns at once; what takes longer goes behind a
    :class:`~scancontrol.acquisition.sinks.Background`. A sink that raises is left out from then on.
    """

    def frame_started(self, start: FrameStart) -> None: ...

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None: ...

    def frame_ended(self, end: FrameEnd) -> None: ...


@dataclass(frozen=True)
class Stop:
    """Somebody wants no more light. ``reason`` is the finish reason of what that ends."""

    reason: Literal["operator_blank", "aborted"]
    message: str


class Permit(Protocol):
    """Leave to light the beam. It may be taken back at any moment, and is looked at before each frame is asked for."""

    @property
    def stopped(self) -> Stop | None:
        """Why it was taken back; None while it stands."""


class Unlimited:
    """Leave that nobody takes back."""

    @property
    def stopped(self) -> Stop | None:
        """Never."""
        return None


class DoseAccount(Protocol):
    """Who keeps account of the dose. Called from the acquisition's thread, in this order for every scan."""

    def ask(self, frame: int, path: ScanPath, first_index: int) -> float | None:
        """A scan is about to be asked for; the most electrons that it may spend, None where nothing limits them.

        Raises:
            InvalidInput: it must not be.
        """

    def counted(self, chunk: Chunk) -> None:
        """Samples came.

        Raises:
            DoseLimitPassed: the scan must not go on.
        """

    def refused(self, frame: int) -> None:
        """The microscope would not do it: nothing of it is exposed."""

    def ended(self, end: End) -> None:
        """It ended; the message says what was spent."""


class NoAccount:
    """Keeps none."""

    def ask(self, frame: int, path: ScanPath, first_index: int) -> float | None:
        """See :class:`DoseAccount`."""
        return None

    def counted(self, chunk: Chunk) -> None:
        """See :class:`DoseAccount`."""

    def refused(self, frame: int) -> None:
        """See :class:`DoseAccount`."""

    def ended(self, end: End) -> None:
        """See :class:`DoseAccount`."""
