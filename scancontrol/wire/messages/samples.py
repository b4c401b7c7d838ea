"""Messages of the data connection: frames begin, samples come, frames end; what is safe is acknowledged."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scancontrol.wire.messages.fields import Amount, Index, Message, Name, Number, PathId, Sequence, Text, Time, Token

__all__ = ["Acknowledge", "Attach", "Attached", "ChunkHeader", "End", "EndReason", "Have", "Resend", "Start"]

EndReason = Literal[
    "completed", "aborted", "dose_limit", "overrun", "fault", "operator_blank", "heartbeat_lost", "shutdown"
]


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


class Attached(Message, frozen=True, kw_only=True, tag="attached"):
    """The data connection is this session's; the next data message will have ``next_sequence``."""

    server_id: Token
    next_sequence: Sequence
    discarded_samples: Index = 0  # retained for another session, and let go because nobody asked for them
    lost_samples: Index = 0  # of the series that the client named, let go while another client was attached


class Acknowledge(Message, frozen=True, kw_only=True, tag="acknowledge"):
    """Everything before ``next_sequence`` is safe; data messages before ``credit_limit`` may be sent."""

    session: Token
    next_sequence: Sequence
    credit_limit: Sequence


class Resend(Message, frozen=True, kw_only=True, tag="resend"):
    """Data messages from ``next_sequence`` on were lost on the way."""

    session: Token
    next_sequence: Sequence
