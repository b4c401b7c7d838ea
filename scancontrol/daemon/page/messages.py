"""The messages between the page and the daemon: JSON text both ways; images travel as in :mod:`.frames`.

Every message is a frozen value with a ``type`` tag. What a browser sends is bounded before it is parsed and
typed before it is used; anything else raises :class:`~scancontrol.errors.RemoteProtocolError` and changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import RemoteProtocolError

__all__ = [
    "MAX_COMMAND_BYTES",
    "PAGE_PROTOCOL",
    "Abort",
    "Acknowledge",
    "Command",
    "EmergencyBlank",
    "Hello",
    "Notice",
    "Pause",
    "Record",
    "Refusal",
    "Resume",
    "ShowChannel",
    "Start",
    "decode_from_page",
    "encode_text",
]

PAGE_PROTOCOL = "scancontrol.daemon.page.1"  # WebSocket subprotocol; its last figure is the version
MAX_COMMAND_BYTES = 4096  # the longest honest message, Start, is under 300

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _FromPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of everything a browser may say."""


Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]  # ``orders.number`` of the status that the browser had seen


class Start(_FromPage, frozen=True, tag="start"):
    """Begin the acquisition of one of the plans that the status offers. Taken once for each ``number``."""

    plan: Name
    number: Number


class Pause(_FromPage, frozen=True, tag="pause"):
    """Blank and hold at the next chunk; the frame can go on."""


class Resume(_FromPage, frozen=True, tag="resume"):
    """Go on from the next unexposed sample. Refused if anything was ordered since the browser saw ``number``."""

    number: Number


class Abort(_FromPage, frozen=True, tag="abort"):
    """End the acquisition; what was recorded is kept."""


class EmergencyBlank(_FromPage, frozen=True, tag="emergency_blank"):
    """Blank the beam now. Accepted from observers too: it can only make the specimen safer."""


class Record(_FromPage, frozen=True, tag="record"):
    """Ask that what follows be kept in a recording (``on``), or that recording end."""

    on: bool


class ShowChannel(_FromPage, frozen=True, tag="show_channel"):
    """Show and restore another of the detectors that are recorded, from the next samples on."""

    channel: Name


class Acknowledge(_FromPage, frozen=True, tag="ack"):
    """The browser has drawn the image with this sequence number and can take another."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


Command = Start | Pause | Resume | Abort | EmergencyBlank | Record | ShowChannel
_decoder: msgspec.json.Decoder[Command | Acknowledge] = msgspec.json.Decoder(Command | Acknowledge)


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message to a browser: who it is talking to, and what it may do."""

    protocol: str
    server: str
    role: Literal["operator", "observer"]


class Notice(msgspec.Struct, frozen=True, tag_field="type", tag="notice"):
    """One line for the operator, most often the answer to a command."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    utc_ms: int | None = None  # the hub fills it in


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """A browser's message that was not taken, and why. Nothing else happened."""

    code: Literal["malformed", "read_only", "busy"]
    text: str


def decode_from_page(text: str | bytes) -> Command | Acknowledge:
    """Return the message in ``text``.

    Raises:
        RemoteProtocolError: it is binary, longer than :data:`MAX_COMMAND_BYTES` characters, malformed, of an unknown
            type, or has unknown or ill-typed fields.
    """
    if not isinstance(text, str):
        raise RemoteProtocolError("the page sent a binary message; commands are JSON text")
    if len(text) > MAX_COMMAND_BYTES:
        raise RemoteProtocolError(f"the page's message has {len(text)} characters, above {MAX_COMMAND_BYTES}")
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:  # lone surrogates are not JSON
        raise RemoteProtocolError(f"the page's message is not understood: {error}") from error


def encode_text(message: Hello | Notice | Refusal | Snapshot) -> str:
    """Return ``message`` as JSON text; infinities and NaN become null."""
    return msgspec.json.encode(message).decode()
