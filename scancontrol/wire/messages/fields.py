"""What every message is made of: the base class, and the bounds of each kind of field, which the decoder enforces."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Amount", "Index", "MaybeAmount", "Message", "Name", "Number", "PathId", "Sequence", "Text", "Time", "Token"]

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


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; ``type`` on the wire names the class."""
