"""Why an acquisition ended, in one sentence that says what to do: the same on page and terminal and in the log."""

from __future__ import annotations

__all__ = ["explanation"]

_SAID = {
    "completed": ("all frames are recorded", ""),
    "aborted": ("ended by the operator", "what was exposed is recorded; start again when ready"),
    "operator_blank": ("ended by a blank", "what was exposed is recorded; Start lifts the hold"),
    "dose_limit": ("a dose limit was reached", "move to a fresh area, or lower dwell or coverage"),
    "overrun": ("the microscope lost samples", "raise the dwell, or see in its log what held it up; then start again"),
    "fault": ("the microscope failed", "mend what failed (the microscope's log says more), then start again"),
    "heartbeat_lost": ("the microscope had not heard from us in time", "it goes on by itself, as configured"),
    "shutdown": ("the microscope's server was ended", "start it again; it goes on by itself, as configured"),
    "recording": ("the disk does not take the samples", "make room or mend the disk; it goes on by itself then"),
    "link": ("the microscope does not answer", "see network and server; it goes on by itself once it answers"),
    "planning": ("the plan cannot go on", "mend the plan"),
    "interrupted": ("it was cut off, and is ended here", "what was exposed is recorded; start again when ready"),
}


def explanation(reason: str, message: str) -> str:
    """One sentence from a finish reason and what was said of it. A message that names its own remedy keeps it."""
    lead, remedy = _SAID.get(reason, (reason.replace("_", " "), ""))
    said = f"{lead}: {message}" if message else lead
    return said if not remedy or "; " in message else f"{said}; {remedy}"
