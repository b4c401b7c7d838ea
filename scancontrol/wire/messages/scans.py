"""Messages that ask for scans and steer the beam: paths made known, frames asked for, paused, aborted, blanked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from scancontrol.wire.messages.fields import Index, MaybeAmount, Message, Name, Number, PathId, Sequence, Text

__all__ = [
    "MAX_DATA_BYTES",
    "PIECES_AT_ONCE",
    "PIECE_BYTES",
    "Abort",
    "Blank",
    "Pause",
    "Piece",
    "Register",
    "Resume",
    "Scan",
    "SetBlanker",
    "Wanted",
]

MAX_DATA_BYTES = 96 << 20  # of one path: 2²² positions, each with a dwell
PIECE_BYTES = 48 << 10
PIECES_AT_ONCE = 8


class Register(Message, frozen=True, kw_only=True, tag="register"):
    """Makes a path known under the hash of its recipe; the microscope expands it.

    Where the recipe's pattern carries positions, so many that they would make the message long, they are left out and
    ``data_bytes`` says how many there are; the microscope fetches them with :class:`Wanted`.
    """

    request: Sequence
    path_id: PathId
    recipe: dict[str, Any]  # scancontrol.paths.PathRecipe, validated when it is converted
    data_bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_DATA_BYTES)] = 0


class Wanted(Message, frozen=True, kw_only=True, tag="wanted"):
    """Asks for the next :data:`PIECES_AT_ONCE` pieces of a path, from byte ``offset`` on."""

    path_id: PathId
    offset: Index


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
