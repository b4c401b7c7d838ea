"""What an acquisition may do next: one table, and one frozen snapshot of where it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from scancontrol.errors import LocalProtocolError

__all__ = ["TRANSITIONS", "AcquisitionStatus", "Event", "Phase", "step"]


class Phase(enum.Enum):
    """Where an acquisition is."""

    IDLE = "idle"
    ARMING = "arming"  # the first path is being expanded and registered
    SCANNING = "scanning"
    PAUSED = "paused"  # beam blanked, frame open
    ABORTING = "aborting"  # beam blanked; what was exposed is still coming in
    ENDED = "ended"  # with a finish reason


class Event(enum.Enum):
    """What can happen to it."""

    ARM = "arm"
    BEGIN = "begin"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    FINISH = "finish"


_P, _E = Phase, Event

TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    _P.IDLE: {_E.ARM: _P.ARMING, _E.FINISH: _P.ENDED},
    _P.ARMING: {_E.BEGIN: _P.SCANNING, _E.ABORT: _P.ABORTING, _E.FINISH: _P.ENDED},
    _P.SCANNING: {_E.PAUSE: _P.PAUSED, _E.ABORT: _P.ABORTING, _E.FINISH: _P.ENDED},
    _P.PAUSED: {_E.RESUME: _P.SCANNING, _E.ABORT: _P.ABORTING, _E.FINISH: _P.ENDED},
    _P.ABORTING: {_E.FINISH: _P.ENDED},
    _P.ENDED: {},
}


def step(phase: Phase, event: Event) -> Phase:
    """Where ``event`` leads.

    Raises:
        LocalProtocolError: the table has no such step.
    """
    following = TRANSITIONS[phase].get(event)
    if following is None:
        raise LocalProtocolError(f"cannot {event.value} an acquisition that is {phase.value}")
    return following


@dataclass(frozen=True)
class AcquisitionStatus:
    """One consistent snapshot. Samples are counted per channel."""

    phase: Phase = Phase.IDLE
    finish_reason: str | None = None  # completed, aborted, the microscope's reason, recording, link or planning
    message: str = ""
    explanation: str = ""  # why it ended, in one sentence with the remedy
    series_id: int = 0
    series_unique_id: str = ""
    frame: int | None = None  # the one that is scanned now, or was last
    frames_planned: int | None = None
    frames_completed: int = 0
    frames_ended: int = 0
    next_index: int = 0  # in this frame: all samples before it are on the disk
    sample_count: int = 0  # of this frame's path
    samples_received: int = 0
    samples_exposed: int = 0  # of the frames that ended, as the microscope says
    samples_lost: int = 0  # exposed and not on the disk
    samples_duplicate: int = 0  # sent again and recognised
    chunks_out_of_turn: int = 0  # arrived before what comes before them, and not taken
    interruptions: int = 0  # frames that the microscope ended and that went on afterwards
    electrons: float = 0.0  # in the microscope's session, as it says
    frame_rate_hz: float = 0.0
    recording: str | None = None  # the file, by name
    owed: bool = False  # it ended before the microscope had said how far it came: samples may be kept there

    @property
    def resumable(self) -> bool:
        """Whether the recording is best left open, to go on with later."""
        return self.finish_reason in ("recording", "link", "heartbeat_lost", "shutdown")
