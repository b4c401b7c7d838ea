"""The exceptions that scancontrol raises on purpose.

::

    ScanControlError
    ├── InvalidInput        a value from a user, a file or a peer is outside its limit
    │   └── DoseLimitPassed what is asked for would give the specimen more than a limit
    ├── StorageError        the disk or the operating system does not take or give what is to be kept
    │   └── LedgerInUse     another process keeps this specimen's dose ledger
    ├── OrderRefused        what the operator asked for was done already, or something came after it
    ├── ScanEnded           a scan that a script waits for did not come to its end
    ├── LinkError           a peer cannot be reached, or is gone
    │   ├── VersionMismatch a peer speaks another version of the protocol
    │   └── RequestRefused  the microscope will not do what it was asked
    │       └── LeaseHeld   somebody else operates it
    ├── ProtocolError       a message that the protocol does not allow
    │   ├── LocalProtocolError   this end called wrongly
    │   └── RemoteProtocolError  the peer misbehaved
    └── RecordingError      a recording cannot be written or read
        └── RecordingInUse  another process is writing it

The command line turns each of them into one message and exit code 2.
"""

from __future__ import annotations

import math

__all__ = [
    "DoseLimitPassed",
    "InvalidInput",
    "LeaseHeld",
    "LedgerInUse",
    "LinkError",
    "LocalProtocolError",
    "OrderRefused",
    "ProtocolError",
    "RecordingError",
    "RecordingInUse",
    "RemoteProtocolError",
    "RequestRefused",
    "ScanControlError",
    "ScanEnded",
    "StorageError",
    "VersionMismatch",
    "within",
]


_LONGEST_PART = 800  # characters of each part of a message that come from a file or a peer


def _sentence(quantity: str, value: object, limit: str, remedy: str) -> str:
    """A message that can be read, whatever a damaged file or a hostile peer put into its parts."""
    return f"{_short(quantity)} = {_short(value)} {_short(limit)}; {_short(remedy)}"


def _short(part: object) -> str:
    text = str(part)
    if len(text) <= _LONGEST_PART:
        return text
    half = _LONGEST_PART // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


class ScanControlError(Exception):
    """Base of every error that scancontrol raises on purpose."""


class _OfAQuantity(ScanControlError):
    """Names a quantity, its value, the limit that it passes, and the remedy."""

    def __init__(self, quantity: str, value: object, limit: str, remedy: str) -> None:
        super().__init__(_sentence(quantity, value, limit, remedy))
        self.quantity = quantity
        self.value = value
        self.limit = limit
        self.remedy = remedy


class InvalidInput(_OfAQuantity, ValueError):
    """A quantity is outside what is possible; says what would be possible.

    The message reads ``quantity = value limit; remedy``, for example
    ``dwell_us = 0.05 is below the microscope's shortest dwell, 0.125; raise it to 0.125 or more``.
    """


def within(quantity: str, value: float, low: float, high: float, remedy: str = "give a value between them") -> None:
    """Refuse a number that is not finite, or outside ``low`` to ``high``.

    Raises:
        InvalidInput: it is one of them.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInput(quantity, value, f"is outside {low:g} to {high:g}", remedy)


class DoseLimitPassed(InvalidInput):
    """What is asked for would give the specimen more electrons than a limit; says by how much and what would fit."""


class StorageError(_OfAQuantity):
    """The disk or the operating system does not take or give what is to be kept; waiting may help.

    The message reads ``quantity = value limit; remedy`` as that of :class:`InvalidInput`, for example
    ``dose ledger = runs/dose/a/journal.jsonl cannot be written (No space left on device); make room``.
    """


class LedgerInUse(StorageError):
    """Another process keeps this specimen's dose ledger."""


class OrderRefused(ScanControlError):
    """What the operator asked for was done already, or something was ordered after it; nothing has changed."""


class ScanEnded(ScanControlError):
    """A scan did not come to its end; what was exposed is recorded.

    ``reason`` is the finish reason, such as ``aborted``; ``recording`` names the file, None if none was begun.
    """

    def __init__(self, reason: str, message: str, recording: str | None = None) -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.recording = recording


class LinkError(ScanControlError):
    """A peer cannot be reached, or stopped answering."""


class VersionMismatch(LinkError):
    """The peer speaks another version of the protocol."""


class RequestRefused(LinkError):
    """The microscope will not do what it was asked; ``code`` says why in one word of the wire protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LeaseHeld(RequestRefused):
    """Somebody else operates the microscope; ``holder`` says who."""

    def __init__(self, holder: str, message: str) -> None:
        super().__init__("lease_held", message)
        self.holder = holder


class ProtocolError(ScanControlError):
    """A message that the protocol does not allow at this point."""


class LocalProtocolError(ProtocolError):
    """This end asked for something that the protocol does not allow now."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something malformed, or out of turn."""


class RecordingError(ScanControlError):
    """A recording cannot be written, or cannot be read."""


class RecordingInUse(RecordingError):
    """Another process is writing the recording."""
