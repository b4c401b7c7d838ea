"""Everything that can be said between a microscope and its client: one frozen value per message.

Read this file first; :mod:`~scancontrol.wire.server` and :mod:`~scancontrol.wire.client` say when each message
may be sent. Control messages travel on one connection and data messages on another, so that an abort never
waits behind samples. ``start``, ``chunk`` and ``end``, ``series_id`` and ``series_unique_id`` mean what they
mean in DECTRIS Stream V2. Times are integer nanoseconds; lists have bounds that the decoder enforces.
"""

from __future__ import annotations

from scancontrol.wire.messages.fields import Message
from scancontrol.wire.messages.samples import (
    Acknowledge,
    Attach,
    Attached,
    ChunkHeader,
    End,
    EndReason,
    Have,
    Resend,
    Start,
)
from scancontrol.wire.messages.scans import (
    MAX_DATA_BYTES,
    PIECE_BYTES,
    PIECES_AT_ONCE,
    Abort,
    Blank,
    Pause,
    Piece,
    Register,
    Resume,
    Scan,
    SetBlanker,
    Wanted,
)
from scancontrol.wire.messages.session import (
    PROTOCOL_VERSION,
    Done,
    Goodbye,
    Heartbeat,
    Hello,
    Limits,
    Notice,
    Refused,
    Status,
    Welcome,
    software,
)

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

ClientControl = Hello | Heartbeat | Register | Piece | Scan | Pause | Resume | Abort | Blank | SetBlanker | Goodbye
ServerControl = Welcome | Wanted | Done | Refused | Status | Notice
ServerData = Start | ChunkHeader | End | Attached | Refused
ClientData = Attach | Acknowledge | Resend
