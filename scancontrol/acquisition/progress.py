"""How far an acquisition has come: its phase, its counts and why it ends, told as one consistent snapshot."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scancontrol.acquisition.phases import AcquisitionStatus, Event, Phase, step
from scancontrol.acquisition.reasons import explanation
from scancontrol.paths import ScanPath
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Start

__all__ = ["Progress"]

log = logging.getLogger(__name__)
_FRAMES_IN_RATE = 32


class Progress:
    """Counts what the microscope sends and what of it is on the disk. Written by one thread; ``status`` is for any.

    ``on_status`` hears of every step of the phase and of every frame that ends.
    """

    def __init__(
        self,
        status: AcquisitionStatus,
        on_status: Callable[[AcquisitionStatus], None] = lambda status: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.status = status
        self.failure: tuple[str, str] | None = None  # the finish reason to come, and why; None while all is well
        self._on_status, self._clock = on_status, clock
        self._ended_at: deque[float] = deque(maxlen=_FRAMES_IN_RATE)

    @property
    def phase(self) -> Phase:
        """Where it is in the table of phases."""
        return self.status.phase

    def step(self, event: Event) -> None:
        """Take a step of the table.

        Raises:
            LocalProtocolError: the table has no such step.
        """
        self._update(phase=step(self.status.phase, event))
        self._on_status(self.status)

    def failed(self, reason: str, message: str) -> None:
        """Note the finish reason; the first one stays."""
        if self.failure is None:
            self.failure = (reason, message)
            log.info("acquisition ends: %s: %s", reason, message)
        self._update(message=self.failure[1])

    def finish(self, completed_as: tuple[str, str], *, owed: bool) -> None:
        """It is over: with the failure, or (reason, message) as it is ``completed_as``.

        ``owed`` is whether the microscope has not said how far every frame came.
        """
        reason, message = self.failure or completed_as
        self._update(
            phase=step(self.status.phase, Event.FINISH),
            finish_reason=reason,
            message=message,
            explanation=explanation(reason, message),
            owed=owed,
        )
        self._on_status(self.status)

    def began(self, start: Start, path: ScanPath) -> None:
        """The microscope scans a frame along ``path``, or goes on with it."""
        self._update(frame=start.frame, sample_count=path.count, next_index=start.first_index)

    def kept(self, chunk: Chunk, before: int, following: int) -> None:
        """The disk has all samples below ``following`` of the chunk's frame, and had those below ``before``."""
        self._update(
            next_index=following,
            samples_received=self.status.samples_received + following - before,
            samples_duplicate=self.status.samples_duplicate + max(0, before - chunk.first_index),
            chunks_out_of_turn=self.status.chunks_out_of_turn + (following < chunk.first_index),
            electrons=max(self.status.electrons, chunk.session_electrons),
        )

    def interrupted(self) -> None:
        """The microscope ended a frame that will go on."""
        self._update(interruptions=self.status.interruptions + 1)

    def already_complete(self, frame: int) -> None:
        """All of a resumed recording's frame is on the disk."""
        self._update(frames_completed=self.status.frames_completed + 1)

    def ended(self, end: End, *, complete: bool, lost: int) -> None:
        """The microscope ended a frame for good, and ``lost`` samples that it exposed are not on the disk."""
        self._ended_at.append(self._clock())
        self._update(
            frames_ended=self.status.frames_ended + 1,
            frames_completed=self.status.frames_completed + complete,
            samples_exposed=self.status.samples_exposed + end.samples,
            samples_lost=self.status.samples_lost + lost,
            frame_rate_hz=self._rate_hz(),
        )

    def tell(self) -> None:
        """Have the listener hear of the present status."""
        self._on_status(self.status)

    def _rate_hz(self) -> float:
        times = self._ended_at
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    def _update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
