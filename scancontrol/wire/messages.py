"""Everything that can be said between a microscope and its client: one frozen value per message.

Read this file first; :mod:`~scancontrol.wire.server` and :mod:`~scancontrol.wire.client` say when each message
may be sent. Control messages travel on one connection and data messages on another, so that an abort never
waits behind samples. ``start``, ``chunk`` and ``end``, ``series_id`` and ``series_unique_id`` mean what they
mean in DECTRIS Stream V2. Times are integer nanoseconds; lists have bounds that the decoder enforces.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import msgspec

from scancontrol.capabilities import Capabilities
from scancontrol.errors import within

__all__ = [
    "MAX_DATA_BYTES",
    "PIECES_AT_ONCE",
    "PIECE_BYTES",
    "PROTOCOL_VERSION",
    "Abort",
    "Acknowledge",
    "Attach",
    "Attached",
    "Blank",
    "ChunkHeader",
    "ClientControl",
    "ClientData",
    "Done",
    "End",
    "EndReason",
    "Goodbye",
    "Have",
    "Heartbeat",
    "Hello",
    "Limits",
    "Message",
    "Notice",
    "Pause",
    "Piece",
    "Refused",
    "Register",
    "Resend",
    "Resume",
    "Scan",
    "ServerControl",
    "ServerData",
    "SetBlanker",
    "Start",
    "Status",
    "Wanted",
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


Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
Token = Annotated[str, msgspec.Meta(min_length=16, max_length=64, pattern="^[0-9a-f]+$")]
PathId = Annotated[str, msgspec.Meta(min_length=32, max_length=32, pattern="^[0-9a-f]+$")]
Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e30)]  # neither infinite nor NaN
MaybeAmount = Annotated[float, msgspec.Meta(ge=0, le=1e30)] | None

MAX_DATA_BYTES = 96 << 20  # of one path: 2²² positions, each with a dwell
PIECE_BYTES = 48 << 10
PIECES_AT_ONCE = 8

EndReason = Literal[
    "completed", "aborted", "dose_limit", "overrun", "fault", "operator_blank", "heartbeat_lost", "shutdown"
]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; ``type`` on the wire names the class."""


# -- control, client to microscope ---------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a connection; answered by :class:`Welcome` or :class:`Refused`."""

    protocol_version: int
    software: Name  # name and version of the client program, for the other end's log
    name: Name  # who operates, or looks on
    role: Literal["operator", "observer"]
    session: Token | None = None  # the session to take up again after a lost connection
    features: Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)] = ()  # unknown ones are ignored


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Says that the client lives and collects; answered by :class:`Status`."""

    session: Token
    number: Sequence
    client_ns: Time  # the client's monotonic clock when this left; echoed for the clock offset


class Register(Message, frozen=True, kw_only=True, tag="register"):
    """Makes a path known under the hash of its recipe; the microscope expands it.

    Where the recipe's pattern carries positions, so many that they would make the message long, they are left out and
    ``data_bytes`` says how many there are; the microscope fetches them with :class:`Wanted`.
    """

    request: Sequence
    path_id: PathId
    recipe: dict[str, Any]  # scancontrol.paths.PathRecipe, validated when it is converted
    data_bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_DATA_BYTES)] = 0


class Piece(Message, frozen=True, kw_only=True, tag="piece"):
    """A stretch of what a :class:`Register` left out, from byte ``offset`` on."""

    path_id: PathId
    offset: Index
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=PIECE_BYTES)]


class Scan(Message, frozen=True, kw_only=True, tag="scan"):
    """Asks for one frame along a registered path; a few may wait in the microscope's queue."""

    request: Sequence
    series_id: Number
    series_unique_id: Name
    frame: Number
    path_id: PathId
    first_index: Index = 0  # the first sample to expose: above 0 where an interrupted frame goes on
    area: Name = ""  # which area of the specimen (specimen and stage position), for the dose per area
    most_electrons: MaybeAmount = None  # whatever is counted; what the daemon's own limits leave for this scan
    heard: Sequence = 0  # data messages before this one were taken by whoever asks; what they said is known to them


class Pause(Message, frozen=True, kw_only=True, tag="pause"):
    """Blanks, and keeps the frame open."""

    request: Sequence


class Resume(Message, frozen=True, kw_only=True, tag="resume"):
    """Goes on at the next unexposed sample."""

    request: Sequence


class Abort(Message, frozen=True, kw_only=True, tag="abort"):
    """Blanks and ends the running frame and every queued one."""

    request: Sequence
    reason: Text = ""


class Blank(Message, frozen=True, kw_only=True, tag="blank"):
    """Emergency: blanks and holds the beam blanked. Accepted from anybody who is connected."""

    request: Sequence
    name: Name = ""


class SetBlanker(Message, frozen=True, kw_only=True, tag="blanker"):
    """``auto`` lets scans unblank, ``blank`` holds the beam blanked, ``unblank`` is refused without a scan."""

    request: Sequence
    state: Literal["blank", "unblank", "auto"]
    hold: Sequence | None = None  # auto: refused unless this is still the count of blanks, see :class:`Status`


class Goodbye(Message, frozen=True, kw_only=True, tag="goodbye"):
    """Ends the session; an operator's lease is free at once."""

    session: Token


# -- control, microscope to client ---------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds that the microscope's server works within, told to the client."""

    queued_scans: Number = 4
    registered_paths: Number = 64
    chunk_samples: Number = 65536  # most samples in one chunk
    window_chunks: Number = 64  # most credit that is honoured
    retained_bytes: Sequence = 256 << 20  # unacknowledged samples kept; when full the beam blanks and waits
    heartbeat_ms: Number = 40  # how often a heartbeat is due
    dead_man_ms: Number = 180  # silence after which the beam blanks; leaves 70 ms to act
    lease_ms: Number = 1000  # silence after which another operator may take over

    def check(self) -> None:
        """Raise :class:`InvalidInput` for bounds that would not be safe, or with which nothing would move."""
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


class Wanted(Message, frozen=True, kw_only=True, tag="wanted"):
    """Asks for the next :data:`PIECES_AT_ONCE` pieces of a path, from byte ``offset`` on."""

    path_id: PathId
    offset: Index


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


class Notice(Message, frozen=True, kw_only=True, tag="notice"):
    """Something that happened without being asked for."""

    kind: Literal["blanked", "starved", "lease_expired", "discarded", "link_lost", "link_restored", "restarted"]
    message: Text


# -- data, microscope to client ------------------------------------------------------------------------


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """A frame begins, or an interrupted one goes on at ``first_index``."""

    sequence: Sequence
    series_id: Number
    series_unique_id: Name
    frame: Number
    path_id: PathId
    first_index: Index
    sample_count: Index  # of the whole path
    channels: Annotated[tuple[Name, ...], msgspec.Meta(max_length=64)]  # the detectors' names
    monotonic_ns: Time
    utc_ns: Time


class ChunkHeader(Message, frozen=True, kw_only=True, tag="chunk"):
    """A contiguous run of samples; the second part is the raw ``(channels, count)`` array, C order."""

    sequence: Sequence
    series_id: Number
    series_unique_id: Name
    frame: Number
    path_id: PathId
    first_index: Index
    count: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
    channels: Annotated[int, msgspec.Meta(ge=1, le=64)]
    dtype: Literal["<u2", "<f4"]
    monotonic_ns: Time  # microscope's monotonic clock at the first sample
    utc_ns: Time
    electrons: Amount  # spent on these samples, overheads included
    frame_electrons: Amount  # so far, this chunk included
    session_electrons: Amount


class End(Message, frozen=True, kw_only=True, tag="end"):
    """Comes exactly once for every accepted :class:`Scan`, with its reason and counts.

    A queued scan that never began has its ``end`` without a ``start``, and ``samples`` 0.
    """

    sequence: Sequence
    series_id: Number
    series_unique_id: Name
    frame: Number
    path_id: PathId
    reason: EndReason
    message: Text
    first_index: Index
    next_index: Index  # where the frame would go on: no sample at or after it was exposed
    samples: Index  # exposed since ``start``
    electrons: Amount
    monotonic_ns: Time
    utc_ns: Time


class Attached(Message, frozen=True, kw_only=True, tag="attached"):
    """The data connection is this session's; the next data message will have ``next_sequence``."""

    server_id: Token
    next_sequence: Sequence
    discarded_samples: Index = 0  # retained for another session, and let go because nobody asked for them
    lost_samples: Index = 0  # of the series that the client named, let go while another client was attached


# -- data, client to microscope ------------------------------------------------------------------------


class Have(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All samples of this frame below ``next_index`` are safe with the client."""

    series_unique_id: Name
    frame: Number
    next_index: Index


class Attach(Message, frozen=True, kw_only=True, tag="attach"):
    """Joins a data connection to a session and says what the client has; the rest is sent again."""

    session: Token
    next_sequence: Sequence | None = None  # same server as before: the data message that is wanted next
    have: Annotated[tuple[Have, ...], msgspec.Meta(max_length=1024)] | None = None  # after a client's restart
    credit: Sequence = 0  # data messages from the first one sent on that the client will take


class Acknowledge(Message, frozen=True, kw_only=True, tag="acknowledge"):
    """Everything before ``next_sequence`` is safe; data messages before ``credit_limit`` may be sent."""

    session: Token
    next_sequence: Sequence
    credit_limit: Sequence


class Resend(Message, frozen=True, kw_only=True, tag="resend"):
    """Data messages from ``next_sequence`` on were lost on the way."""

    session: Token
    next_sequence: Sequence


ClientControl = Hello | Heartbeat | Register | Piece | Scan | Pause | Resume | Abort | Blank | SetBlanker | Goodbye
ServerControl = Welcome | Wanted | Done | Refused | Status | Notice
ServerData = Start | ChunkHeader | End | Attached | Refused
ClientData = Attach | Acknowledge | Resend
