"""Positions of an operator's own path, on their way to the microscope in pieces small enough to be looked at.

A recipe with millions of positions would be a message that takes long to read. So they are left out of it, and the
microscope asks for them, a few pieces at a time, and only those who may operate it are listened to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scancontrol.errors import RemoteProtocolError
from scancontrol.wire.messages import PIECE_BYTES, PIECES_AT_ONCE, Piece, Register, Wanted

__all__ = ["Upload", "without_positions"]

_SHORT_BYTES = PIECE_BYTES // 2


def without_positions(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The recipe without its pattern's positions, and these, where they are too many for one message."""
    pattern = recipe.get("pattern")
    data = pattern.get("data") if isinstance(pattern, Mapping) else None
    if not isinstance(pattern, Mapping) or not isinstance(data, bytes) or len(data) <= _SHORT_BYTES:
        return dict(recipe), b""
    return {**recipe, "pattern": {**pattern, "data": b""}}, data


@dataclass
class Upload:
    """One path whose positions are being fetched; ``register`` is the message that announced them."""

    register: Register
    _data: bytearray = field(default_factory=bytearray)

    def wanted(self) -> Wanted:
        """What to ask for now."""
        return Wanted(path_id=self.register.path_id, offset=len(self._data))

    def take(self, piece: Piece) -> Wanted | None:
        """Take the next piece; what to ask for now, if anything. A piece that does not follow on changes nothing.

        Raises:
            RemoteProtocolError: more has come than was announced.
        """
        if piece.path_id != self.register.path_id or piece.offset != len(self._data):
            return None
        if len(self._data) + len(piece.data) > self.register.data_bytes:
            raise RemoteProtocolError(f"more than {self.register.data_bytes} bytes of positions")
        self._data += piece.data
        window = PIECES_AT_ONCE * PIECE_BYTES
        return self.wanted() if len(self._data) % window == 0 and not self.complete else None

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return len(self._data) == self.register.data_bytes

    def recipe(self) -> dict[str, Any]:
        """The recipe with its positions.

        Raises:
            RemoteProtocolError: it has no place for them.
        """
        recipe = self.register.recipe
        pattern = recipe.get("pattern")
        if not isinstance(pattern, dict):
            raise RemoteProtocolError("recipe: positions for a pattern that has none")
        return {**recipe, "pattern": {**pattern, "data": bytes(self._data)}}
