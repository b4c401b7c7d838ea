"""What an operator may ask of the beam, and when it is refused: scans, pauses, aborts and the blanker."""

from __future__ import annotations

from scancontrol.processes.printable import printable
from scancontrol.wire import messages as m
from scancontrol.wire.registry import PathRegistry
from scancontrol.wire.scanner import Scanner
from scancontrol.wire.transitions import Event, State

__all__ = ["BeamRequest", "carry_out"]

BeamRequest = m.Scan | m.Pause | m.Resume | m.Abort | m.SetBlanker
"""Every request of the operator but :class:`~scancontrol.wire.messages.Register`, which moves nothing."""

_ASKED_FOR: dict[type[m.Message], Event] = {m.Pause: Event.PAUSE, m.Resume: Event.RESUME, m.Abort: Event.ABORT}


def carry_out(
    message: BeamRequest, name: str, scanner: Scanner, paths: PathRegistry, queued_scans: int, now_ns: int
) -> m.Refused | None:
    """Do what the operator called ``name`` asks of the beam; None, or why not.

    Args:
        message: what is asked.
        name: of the operator, for the log of whoever else listens.
        scanner: has the beam.
        paths: those that a scan may name.
        queued_scans: as many may wait, see :class:`~scancontrol.wire.messages.Limits`.
        now_ns: monotonic time.

    Raises:
        InvalidInput: the scan cannot be, or would pass a dose limit.
        LocalProtocolError: the scanner's table has no such step now.
    """
    request = message.request
    if scanner.state is State.HELD and isinstance(message, m.Scan | m.Resume | m.Pause):
        return m.Refused(
            request=request, code="beam_held", message="the beam is held blanked", remedy="set the blanker to auto"
        )
    if isinstance(message, m.SetBlanker):
        if message.state == "blank":
            scanner.step(Event.HOLD, f"{name} blanked the beam", now_ns)
        elif message.state == "unblank" and not scanner.beam_on:
            return m.Refused(
                request=request,
                code="not_now",
                remedy="start a scan; it unblanks by itself",
                message="the beam is never on while nothing is collected",
            )
        elif message.state == "auto" and message.hold not in (None, scanner.blanks):
            return m.Refused(
                request=request,
                code="beam_held",
                message="somebody blanked the beam after this was asked for",
                remedy="start again if the scan is still wanted",
            )
        elif message.state == "auto" and scanner.state is State.HELD:
            scanner.step(Event.RELEASE, "", now_ns)
        return None
    if not isinstance(message, m.Scan):
        text = printable(message.reason) if isinstance(message, m.Abort) else ""
        scanner.step(_ASKED_FOR[type(message)], text, now_ns)
        return None
    path = paths.get(message.path_id)
    if path is None:
        return m.Refused(
            request=request,
            code="unknown_path",
            remedy="register its recipe",
            message=f"no path {message.path_id} is registered",
        )
    if len(scanner.queue) >= queued_scans:
        return m.Refused(
            request=request,
            code="queue_full",
            remedy="wait for an end",
            message=f"{len(scanner.queue)} scans wait already",
        )
    asked = (message.series_unique_id, message.frame)
    if any((scan.request.series_unique_id, scan.request.frame) == asked for scan in scanner.open_scans):
        return m.Refused(
            request=request,
            code="not_now",
            remedy="wait for its end",
            message=f"frame {message.frame} of this series is open already",
        )
    scanner.enqueue(message, path, now_ns)
    return None
