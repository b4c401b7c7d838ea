"""Messages of a session: hello and welcome, the heartbeat and its status, answers and refusals, goodbye."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import msgspec

from scancontrol.capabilities import Capabilities
from scancontrol.errors import within
from scancontrol.wire.messages.fields import Amount, Index, Message, Name, Number, Sequence, Text, Time, Token

__all__ = [
    "PROTOCOL_VERSION",
    "Done",
    "Goodbye",
    "Heartbeat",
    "Hello",
    "Limits",
    "Notice",
    "Refused",
    "Status",
    "Welcome",
    "software",
]

PROTOCOL_VERSION = 3
"""Raised whenever a message changes meaning; both ends must state the same number."""


@cache
def software() -> str:
    """Name and version of this program, for the other end's log."""
    try:
        return f"scancontrol {version('scancontrol')}"
    except PackageNotFoundError:
        return "scancontrol, not installed"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds that the microscope's server works within, told to the client.

    Raises:
        InvalidInput: bounds that would not be safe, or with which nothing would move.
    """

    queued_scans: Number = 4
    registered_paths: Number = 64
    chunk_samples: Number = 65536  # most samples in one chunk
    window_chunks: Number = 64  # most credit that is honoured
    retained_bytes: Sequence = 256 << 20  # unacknowledged samples kept; when full the beam blanks and waits
    heartbeat_ms: Number = 40  # how often a heartbeat is due
    dead_man_ms: Number = 180  # silence after which the beam blanks; leaves 70 ms to act
    lease_ms: Number = 1000  # silence after which another operator may take over

    def __post_init__(self) -> None:
        for quantity, low, high in (
            ("queued_scans", 1, 1024),
            ("registered_paths", 1, 4096),
            ("chunk_samples", 1, 1 << 24),
            ("window_chunks", 1, 4096),
            ("retained_bytes", 4 * self.chunk_samples, 1 << 40),
            ("dead_man_ms", 60, 210),
            ("heartbeat_ms", 5, self.dead_man_ms // 3),
            ("lease_ms", self.dead_man_ms, 60_000),
        ):
            within(quantity, getattr(self, quantity), low, high, "mend the server's limits")


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a connection; answered by :class:`Welcome` or :class:`Refused`."""

    protocol_version: int
    software: Name  # name and version of the client program, for the other end's log
    name: Name  # who operates, or looks on
    role: Literal["operator", "observer"]
    session: Token | None = None  # the session to take up again after a lost connection
    features: Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)] = ()  # unknown ones are ignored


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The answer to :class:`Hello`: who the microscope is, what it can, and where its data come from."""

    protocol_version: int
    software: Name
    server_id: Token  # differs after every restart of the microscope's server
    session: Token
    resumed: bool  # whether the session asked for was still there
    data_address: Name
    capabilities: Capabilities
    limits: Limits
    features: Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)] = ()


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Says that the client lives and collects; answered by :class:`Status`."""

    session: Token
    number: Sequence
    client_ns: Time  # the client's monotonic clock when this left; echoed for the clock offset


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """The answer to :class:`Heartbeat`: one frozen snapshot of the microscope's side."""

    number: Sequence  # echoed
    client_ns: Time  # echoed
    monotonic_ns: Time
    utc_ns: Time
    server_id: Token
    state: Name
    blanker: Literal["blank", "unblank", "auto"]
    beam_on: bool  # or may be on: see beam_fault
    operator: Name | None
    series_id: Number | None
    frame: Number | None
    next_index: Index
    queued_scans: Number
    next_sequence: Sequence  # of the data message that will be made next
    retained_bytes: Sequence
    session_electrons: Amount
    starved: Sequence = 0  # times that the beam waited, blanked, for credit or for room
    blanks: Sequence = 0  # times that somebody had the beam blanked and held since the server began
    beam_fault: Text = ""  # why the beam may be on although it was told to go off


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """A request was carried out."""

    request: Sequence


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """A request, or a message, changed nothing; says why, and what would do."""

    request: Sequence | None  # None where the message could not be read that far
    code: Literal[
        "malformed",
        "version",
        "lease_held",
        "no_session",
        "not_attached",
        "not_operator",
        "not_now",
        "unknown_path",
        "path_mismatch",
        "invalid",
        "queue_full",
        "beam_held",
        "dose_limit",
    ]
    message: Text
    quantity: Name = ""
    value: Text = ""
    limit: Text = ""
    remedy: Text = ""
    holder: Name = ""  # lease_held: who operates the microscope
    holder_silent_ms: Sequence = 0  # lease_held: how long since the holder was heard
    protocol_version: int = PROTOCOL_VERSION


class Notice(Message, frozen=True, kw_only=True, tag="notice"):
    """Something that happened without being asked for."""

    kind: Literal["blanked", "starved", "lease_expired", "discarded", "link_lost", "link_restored", "restarted"]
    message: Text


class Goodbye(Message, frozen=True, kw_only=True, tag="goodbye"):
    """Ends the session; an operator's lease is free at once."""

    session: Token
