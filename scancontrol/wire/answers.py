"""What the microscope's end answers, put together from what it is made of, and its refusals as errors again."""

from __future__ import annotations

from typing import Any

from scancontrol.dose.guard import DoseGuard
from scancontrol.errors import DoseLimitPassed, InvalidInput, LeaseHeld, RequestRefused, VersionMismatch
from scancontrol.wire.messages import Heartbeat, Refused, Status
from scancontrol.wire.retention import Retention
from scancontrol.wire.scanner import Scanner
from scancontrol.wire.transitions import State

__all__ = ["error_of", "refusal", "status_of"]


def status_of(
    scanner: Scanner,
    retention: Retention,
    guard: DoseGuard,
    heartbeat: Heartbeat,
    server_id: str,
    now_ns: int,
    operator: str | None,
    *,
    going_off: bool = False,
) -> Status:
    """One snapshot of the microscope's side, in answer to a heartbeat.

    A beam that was told to go off (``going_off``) and was not seen to is on.
    """
    scan = scanner.scan
    held = scanner.state in (State.HELD, State.CLOSED)
    return Status(
        number=heartbeat.number,
        client_ns=heartbeat.client_ns,
        monotonic_ns=now_ns,
        utc_ns=max(0, now_ns + scanner.utc_offset_ns),
        server_id=server_id,
        state=scanner.state.value,
        blanker="blank" if held else "unblank" if scanner.beam_on else "auto",
        beam_on=scanner.beam_on or bool(scanner.trouble) or going_off,
        beam_fault=scanner.trouble[:4000],
        operator=operator,
        series_id=None if scan is None else scan.request.series_id,
        frame=None if scan is None else scan.request.frame,
        next_index=0 if scan is None else scan.next_index,
        queued_scans=len(scanner.queue),
        next_sequence=retention.next_sequence,
        retained_bytes=retention.bytes,
        session_electrons=guard.session_electrons,
        starved=scanner.starved,
        blanks=scanner.blanks,
    )


def refusal(request: int, error: Exception | None, code: Any) -> Refused:
    """An error of this end, typed again at the other."""
    if isinstance(error, InvalidInput):
        return Refused(
            request=request,
            code="dose_limit" if isinstance(error, DoseLimitPassed) else "invalid",
            message=str(error)[:4000],
            quantity=error.quantity[:200],
            value=str(error.value)[:4000],
            limit=error.limit[:4000],
            remedy=error.remedy[:4000],
        )
    return Refused(request=request, code=code, message=str(error)[:4000])


def error_of(refused: Refused) -> Exception:
    """A refusal as the error that the client's end would have raised itself; :func:`refusal` the other way."""
    if refused.code == "version":
        return VersionMismatch(refused.message)
    if refused.code == "lease_held":
        return LeaseHeld(refused.holder, f"{refused.message}; {refused.remedy}")
    if refused.quantity:
        kind = DoseLimitPassed if refused.code == "dose_limit" else InvalidInput
        return kind(refused.quantity, refused.value, refused.limit, refused.remedy)
    text = f"the microscope refuses: {refused.message}"
    return RequestRefused(refused.code, f"{text}; {refused.remedy}" if refused.remedy else text)
